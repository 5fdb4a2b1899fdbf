//! D13: a failure for a reason on our side is not an attempt.

use tenterhook_harness::dns_server::{Answer, NameServer};

use super::*;

const HOSTS: [&str; 3] = ["a.test", "b.test", "c.test"];
/// More failures than start a ban.
const EVENTS: usize = 11;

/// Three webhooks of one user at one receiver, each with a host name of its own.
struct Scene {
    world: World,
    names: NameServer,
    receiver: MockServer,
    ann: Token,
    webhooks: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let (names, receiver) = (NameServer::start().await, receiver(200).await);
        let world = World::with(Settings {
            dns_servers: vec![names.address()],
            ..Settings::development()
        })
        .await;
        let mut scene = Self {
            ann: world.user(1, 7),
            world,
            names,
            receiver,
            webhooks: Vec::new(),
        };
        for host in HOSTS {
            scene.names.set(host, Answer::read("127.0.0.1"));
            let url = format!("http://{}/", scene.target(host));
            let webhook = json!({ "subscriptionUrl": url });
            let id = scene.world.webhook(&scene.ann, webhook).await;
            scene.webhooks.push(id);
        }
        scene
    }

    fn target(&self, host: &str) -> String {
        format!("{host}:{}", self.receiver.address().port())
    }

    /// From now on the name server does not respond.
    fn fall_silent(&self) {
        for host in HOSTS {
            self.names.set(host, Answer::Silence);
            self.world
                .clock
                .simulation()
                .unwrap()
                .stall_target(&self.target(host));
        }
    }

    fn speak_again(&self) {
        for host in HOSTS {
            self.names.set(host, Answer::read("127.0.0.1"));
        }
        self.world.clock.simulation().unwrap().clear_stalled_targets();
    }

    async fn publish(&self) {
        for _ in 0..EVENTS {
            self.world.publish(1, json!({})).await;
        }
    }

    /// Number of recorded attempts, and the sum of the ban counters.
    async fn counted(&self) -> (usize, u64) {
        let query = "query Q($id: ID!) { webhook(id: $id) {
            health { state banCounter failingSince } deliveries(first: 20) { nodes { attempts { number } } } } }";
        let (mut attempts, mut counter) = (0, 0);
        for id in &self.webhooks {
            let read = self.world.ask(&self.ann, query, json!({ "id": id })).await;
            let nodes = read["webhook"]["deliveries"]["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), EVENTS);
            attempts += nodes
                .iter()
                .map(|node| node["attempts"].as_array().unwrap().len())
                .sum::<usize>();
            let health = &read["webhook"]["health"];
            counter += health["banCounter"].as_u64().unwrap();
            if attempts == 0 {
                assert_eq!(
                    (&health["state"], &health["failingSince"]),
                    (&json!("ACTIVE"), &Json::Null)
                );
            }
        }
        (attempts, counter)
    }

    async fn postponed(&self) -> u64 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = self.world.router.clone().oneshot(request).await.unwrap();
        let page = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let name = "tenterhook_attempts_postponed_total{lack=\"NAME_SERVERS\"} ";
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// For 15 minutes the server counts nothing and bans no webhook, and the metrics show the postponed attempts. Then
/// failures count.
#[tokio::test(flavor = "multi_thread")]
async fn d13_silent_name_servers_cause_no_ban_for_15_minutes() {
    let scene = Scene::new().await;
    scene.fall_silent();
    scene.publish().await;
    let mut before = 0;
    for _ in 0..14 {
        scene.world.advance(SignedDuration::from_mins(1)).await;
        let postponed = scene.postponed().await;
        assert!(
            postponed > before,
            "deliveries are postponed again in every minute"
        );
        before = postponed;
    }
    assert_eq!(scene.counted().await, (0, 0));
    scene.world.advance(SignedDuration::from_mins(3)).await;
    let (attempts, counter) = scene.counted().await;
    assert!(
        attempts >= 30 && counter >= 30,
        "{attempts} attempts, counters {counter}"
    );
}

/// Postponed deliveries are sent at most 30 s after the name servers respond again.
#[tokio::test(flavor = "multi_thread")]
async fn d13_postponed_deliveries_are_sent_after_the_silence() {
    let scene = Scene::new().await;
    scene.fall_silent();
    scene.publish().await;
    scene.world.advance(SignedDuration::from_mins(5)).await;
    assert!(scene.postponed().await > 0);
    scene.speak_again();
    scene.world.advance(SignedDuration::from_secs(45)).await;
    for id in &scene.webhooks {
        let fates = scene.world.fates(&scene.ann, id).await;
        assert_eq!(fates, vec!["SUCCEEDED -"; EVENTS]);
    }
    assert_eq!(scene.counted().await, (3 * EVENTS, 0), "one attempt each");
    let requests = scene.receiver.received_requests().await.unwrap();
    assert_eq!(requests.len(), 3 * EVENTS);
    assert!(
        requests
            .iter()
            .all(|request| request.headers["tenterhook-attempt"] == "1")
    );
}

/// A negative response of a name server is a response too.
#[tokio::test(flavor = "multi_thread")]
async fn d13_a_negative_dns_response_counts_as_a_failure() {
    let scene = Scene::new().await;
    scene.names.set(HOSTS[0], Answer::Failure);
    scene.publish().await;
    scene.world.settle().await;
    assert_eq!(scene.postponed().await, 0);
    let (attempts, counter) = scene.counted().await;
    assert!(
        attempts >= 2 * EVENTS + 10 && counter == 10,
        "{attempts} attempts, counters {counter}"
    );
}

/// A test delivery returns at once, and its error does not blame the receiver.
#[tokio::test(flavor = "multi_thread")]
async fn d13_a_test_delivery_without_dns_does_not_blame_the_receiver() {
    let scene = Scene::new().await;
    scene.fall_silent();
    let fields = "attempt { errorClass errorMessage delivery { status } }";
    let input = json!({ "id": scene.webhooks[0] });
    let test = scene.world.done(&scene.ann, "testWebhook", input, fields);
    let time = async {
        while scene.names.asked(HOSTS[0]) < 4 {
            tokio::task::yield_now().await;
        }
        scene.world.advance(SignedDuration::from_secs(10)).await;
    };
    let (payload, ()) = tokio::join!(test, time);
    assert_eq!(payload["attempt"]["errorClass"], "DNS");
    let message = payload["attempt"]["errorMessage"].as_str().unwrap();
    assert_eq!(
        message,
        "No name server responded to this server; the receiver was not called"
    );
    assert_eq!(scene.postponed().await, 0);
}
