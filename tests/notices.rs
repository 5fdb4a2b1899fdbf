//! Notices reach the platform's endpoint signed, in order and at least once, also across crashes (R4).

use jiff::Timestamp;
use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewWebhook, Notice};
use tenterhook_harness::journal::Arrival;
use tenterhook_harness::reply::{Answer, Script};
use tenterhook_harness::signature::{Secret, Signed, Verdict};
use tenterhook_harness::world::World;

use crate::scene::{Scene, later};

const SECRET: &str = "whsec_dGVudGVyaG9vaydzIG93biBub3RpY2VzLCBzaWduZWQ=";
const NEXT_SECRET: &str = "whsec_dGVudGVyaG9vaydzIG93biBub3RpY2VzLCByb3RhdGVk";

/// A webhook whose receiver fails, in a world with an endpoint for notices.
async fn failing() -> Scene {
    let world = World::builder().notifying(&[SECRET]).start().await;
    let receiver = world.receiver(500).await;
    Scene::leading_to(world, &receiver.url()).await
}

/// The requests at the endpoint: kind of notice, attempt number, time.
fn came(world: &World) -> Vec<(String, u8, Timestamp)> {
    let arrivals = world.notice_endpoint().journal().all();
    let seen = |arrival: &Arrival| {
        let kind = arrival.json()["kind"].as_str().unwrap_or_default().to_owned();
        (kind, arrival.attempt(), arrival.at)
    };
    arrivals.iter().map(|arrival| seen(arrival)).collect()
}

fn kinds(world: &World) -> Vec<String> {
    came(world).into_iter().map(|(kind, _, _)| kind).collect()
}

/// The verdict of an endpoint that knows only this secret.
fn judged(arrival: &Arrival, secret: &str) -> Verdict {
    let signed = Signed {
        id: arrival.header("webhook-id"),
        timestamp: arrival.header("webhook-timestamp"),
        signature: arrival.header("webhook-signature"),
        body: &arrival.body,
    };
    let secret: Secret = secret.parse().expect("a secret");
    signed.verify(&[secret], arrival.at)
}

async fn told(caller: &Client, webhook: &str) -> Vec<Notice> {
    caller
        .notices(webhook)
        .await
        .expect("the caller sees the webhook")
}

async fn metric(world: &World, name: &str) -> String {
    let (_, page) = world.anonymous(0).get("/metrics").await.expect("the metrics");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in\n{page}"))
        .to_owned()
}

/// R4: each notice of a window up to its end arrives once, when it is due, in order, signed, and with the same id as in
/// the API.
#[tokio::test(flavor = "multi_thread")]
async fn every_notice_of_a_window_arrives_once_and_signed() {
    let scene = failing().await;
    scene.deliver_times(10).await;
    scene.world.advance("PT72H").await;
    let told = told(&scene.user, &scene.webhook.id).await;
    assert_eq!(told.len(), 6, "{told:#?}");
    let expected: Vec<_> = told
        .iter()
        .map(|notice| (notice.kind.clone(), 1, notice.at))
        .collect();
    assert_eq!(came(&scene.world), expected);
    let arrivals = scene.world.notice_endpoint().journal().all();
    for (arrival, notice) in arrivals.iter().zip(&told) {
        assert_eq!(judged(arrival, SECRET), Verdict::Valid);
        assert_ne!(judged(arrival, NEXT_SECRET), Verdict::Valid);
        let body = arrival.json();
        assert_eq!(arrival.header("webhook-id"), Some(notice.notice_id.as_str()));
        assert_eq!(arrival.webhook(), scene.webhook.number);
        assert_eq!(
            (arrival.method.as_str(), arrival.header("content-type")),
            ("POST", Some("application/json"))
        );
        assert_eq!(
            (&body["version"], &body["noticeId"], &body["message"]),
            (&json!("1"), &json!(notice.notice_id), &json!(notice.message))
        );
        assert_eq!(
            body["at"].as_str().and_then(|at| at.parse().ok()),
            Some(notice.at)
        );
        let webhook = json!({
            "number": scene.webhook.number, "type": "GENERAL", "name": null,
            "companyId": "1", "userId": "7", "ownerId": "7", "appId": null,
        });
        assert_eq!(body["webhook"], webhook);
    }
    let data = |place: usize| arrivals[place].json()["data"].clone();
    assert_eq!(data(0)["failedFirstTries"], 10);
    assert_ne!(data(5)["failingSince"], Value::Null);
    assert_eq!(metric(&scene.world, "tenterhook_notices_waiting").await, "0");
    scene.world.verify().await;
}

/// R4: a recovery arrives too. For an application webhook the notice has the app.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_of_recovery_arrives() {
    let world = World::builder().notifying(&[SECRET]).start().await;
    let receiver = world.receiver(500).await;
    let crm = world.company(1).app("crm");
    let through = crm.install(7).await.unwrap();
    let create = through.create_webhook(NewWebhook::to(&receiver.url()));
    create.await.unwrap();
    world.company(1).publish().await.unwrap();
    world.settle().await;
    world.advance("PT30H").await;
    receiver.answer_with(200);
    world.company(1).publish().await.unwrap();
    world.settle().await;
    assert_eq!(kinds(&world), ["FAILING_24H", "RECOVERED"]);
    let body = world.notice_endpoint().journal().all()[1].json();
    assert_eq!(
        (&body["webhook"]["type"], &body["webhook"]["appId"]),
        (&json!("APPLICATION"), &json!("crm"))
    );
    world.verify().await;
}

/// R4: while the endpoint is down, the server retries the oldest notice of a webhook at growing intervals. Later
/// notices of that webhook wait for it; those of another webhook do not.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_comes_back_gets_everything_in_order() {
    let scene = failing().await;
    let endpoint = scene.world.notice_endpoint();
    let hung = Script::sequence([Answer::Hang, Answer::from(500), Answer::from(302)], 503);
    endpoint.answer_with(hung);
    let start = scene.world.now();
    scene.deliver_times(10).await;
    scene.world.advance("PT1M").await;
    let expected: Vec<_> = ["PT0S", "PT15S", "PT25S", "PT45S"]
        .into_iter()
        .zip(1..)
        .map(|(wait, attempt)| ("BANNED".to_owned(), attempt, later(start, wait)))
        .collect();
    assert_eq!(
        came(&scene.world),
        expected,
        "one that hangs fails after ten seconds"
    );
    scene.world.advance("PT39M").await;
    let (tries, waiting) = (came(&scene.world).len(), "tenterhook_notices_waiting");
    assert!(tries > 4 && kinds(&scene.world).iter().all(|kind| kind == "BANNED"));
    assert_eq!(metric(&scene.world, waiting).await, "2");

    let only_the_first = scene.webhook.number.clone();
    endpoint.answer_with(Script::new(move |arrival, _| {
        Answer::from(if arrival.webhook() == only_the_first {
            503
        } else {
            200
        })
    }));
    let receiver = scene.world.receiver(500).await;
    let create = scene.user.create_webhook(NewWebhook::to(&receiver.url()));
    let other = create.await.unwrap().webhook;
    for _ in 0..10 {
        scene.world.company(1).publish().await.unwrap();
        scene.world.settle().await;
    }
    let of_other = |arrival: &&std::sync::Arc<Arrival>| arrival.webhook() == other.number;
    let arrivals = endpoint.journal().all();
    assert_eq!(arrivals.iter().filter(of_other).count(), 1);

    endpoint.answer_with(200);
    scene.world.advance("PT1H").await;
    let of_first: Vec<_> = endpoint.journal().all();
    let of_first = of_first
        .iter()
        .filter(|arrival| arrival.webhook() == scene.webhook.number);
    let mut ids: Vec<_> = of_first.map(|arrival| arrival.event().to_owned()).collect();
    ids.dedup();
    let told = told(&scene.user, &scene.webhook.id).await;
    let expected: Vec<_> = told.iter().map(|notice| notice.notice_id.clone()).collect();
    assert_eq!(ids, expected, "in order, and every attempt under the notice's id");
    assert_eq!(metric(&scene.world, waiting).await, "0");
    scene.world.verify().await;
}

/// R4, D6: if a server crashes while the endpoint is down or has not responded yet, the next server delivers the
/// notice.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_delivers_the_notices_of_a_crashed_one() {
    for (answer, attempts) in [(Answer::from(503), vec![1, 2]), (Answer::Hang, vec![1, 1])] {
        let mut scene = failing().await;
        scene.world.notice_endpoint().answer_with(answer);
        scene.deliver_times(10).await;
        scene.world.notice_endpoint().journal().wait_for(1).await;
        scene.world.restart().await.unwrap();
        scene.world.notice_endpoint().answer_with(200);
        scene.world.advance("PT1M").await;
        let arrivals = scene.world.notice_endpoint().journal().all();
        let numbers: Vec<_> = arrivals.iter().map(|arrival| arrival.attempt()).collect();
        assert_eq!(numbers, attempts);
        assert_eq!(arrivals[0].event(), arrivals[1].event());
        scene.world.verify().await;
    }
}

/// R4: a server that is stopped lets the notice in flight end, and leaves later ones to another server.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_delivers_the_notices_of_a_stopped_one() {
    let mut world = World::builder().servers(2).notifying(&[SECRET]).start().await;
    world.notice_endpoint().answer_with(503);
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let create = user.create_webhook(NewWebhook::to(&receiver.url()));
    create.await.unwrap();
    let start = world.now();
    for _ in 0..10 {
        world.company(1).publish().await.unwrap();
        world.settle().await;
    }
    world.stop(0).await;
    world.notice_endpoint().answer_with(200);
    world.advance("PT1M").await;
    let expected =
        [("PT0S", 1), ("PT5S", 2)].map(|(wait, attempt)| ("BANNED".to_owned(), attempt, later(start, wait)));
    assert_eq!(came(&world), expected);
    world.verify().await;
}

/// R4: two servers deliver each notice once if nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_deliver_each_notice_once() {
    let world = World::builder().servers(2).notifying(&[SECRET]).start().await;
    let receiver = world.receiver(500).await;
    let mut expected = Vec::new();
    for company in 1..=20 {
        let user = world.company(company).user(7);
        user.create_webhook(NewWebhook::to(&receiver.url()))
            .await
            .unwrap();
    }
    for _ in 0..10 {
        for company in 1..=20 {
            let at = world.company(company).at(usize::from(company % 2 == 0));
            at.publish().await.unwrap();
        }
        world.settle().await;
    }
    world.advance("PT72H").await;
    for company in 1..=20 {
        let admin = world.company(company).admin(1);
        let answer = admin.query("{ notices(first: 100) { nodes { noticeId } } }", json!({}));
        let answer = answer.await.unwrap();
        let nodes = answer["notices"]["nodes"].as_array().unwrap().clone();
        expected.extend(
            nodes
                .into_iter()
                .map(|node| node["noticeId"].as_str().unwrap().to_owned()),
        );
    }
    let arrivals = world.notice_endpoint().journal().all();
    let mut ids: Vec<_> = arrivals
        .iter()
        .map(|arrival| arrival.event().to_owned())
        .collect();
    ids.sort();
    expected.sort();
    assert_eq!((ids.len(), ids == expected), (20 * 6, true));
    world.verify().await;
}

/// R4: the server retries a refused notice for a week. Then it gives the notice up, counts that, and continues with the
/// next.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_given_up_after_a_week_and_counted() {
    let scene = failing().await;
    scene.world.notice_endpoint().answer_with(500);
    let start = scene.world.now();
    scene.deliver_times(10).await;
    scene.world.advance("P7D").await;
    let end = later(start, "PT168H");
    let seen = came(&scene.world);
    let last_of = |kind: &str| {
        let of_kind = seen.iter().filter(|(of, _, _)| of == kind);
        of_kind.map(|(_, _, at)| *at).max()
    };
    let last = last_of("BANNED").unwrap();
    assert!(last < end && last >= later(end, "-PT1H"), "{last}");
    assert!(last_of("BAN_ENDED").unwrap() >= last);
    assert_eq!(last_of("FAILING_24H"), None);
    assert_eq!(
        metric(&scene.world, "tenterhook_server_notices_given_up_total").await,
        "1"
    );
    scene.world.advance("P1D").await;
    assert_eq!(
        metric(&scene.world, "tenterhook_server_notices_given_up_total").await,
        "3"
    );
    scene.world.notice_endpoint().answer_with(200);
    scene.world.advance("PT1H").await;
    let arrived = &kinds(&scene.world)[seen.len()..];
    assert_eq!(
        arrived[arrived.len() - 3..],
        ["FAILING_48H", "FAILING_71H", "REMOVED"]
    );
    scene.world.verify().await;
}

/// R4: during a rotation both secrets sign.
#[tokio::test(flavor = "multi_thread")]
async fn every_listed_secret_signs() {
    let world = World::builder().notifying(&[NEXT_SECRET, SECRET]).start().await;
    let receiver = world.receiver(500).await;
    let scene = Scene::leading_to(world, &receiver.url()).await;
    scene.deliver_times(10).await;
    let arrivals = scene.world.notice_endpoint().journal().wait_for(1).await;
    for secret in [SECRET, NEXT_SECRET] {
        assert_eq!(judged(&arrivals[0], secret), Verdict::Valid);
    }
    scene.world.verify().await;
}

/// R4: the server refuses to start with invalid secrets. The error has the setting's name and does not show them.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_notice_secrets_are_refused_at_start() {
    for secrets in [&["whsec_hunter2"][..], &[], &[SECRET; 5]] {
        let refused = World::builder().notifying(secrets).try_start().await.err();
        let why = format!("{:?}", refused.expect("it cannot start"));
        assert!(
            why.contains("TENTERHOOK_NOTICE_SECRET_FILE") && !why.contains("hunter2"),
            "{why}"
        );
    }
}
