//! Another transaction keeps one row locked for longer than a statement may take: nothing else waits for it.

use std::sync::{Condvar, Mutex};

use futures_util::stream::{self, StreamExt};
use wiremock::Respond;

use super::*;
use tenterhook_engine::NoticeEndpoint;
use tenterhook_policy::signing::SigningSecret;
use tenterhook_store::Limits;

const WEBHOOKS: usize = 24;

/// Recorded attempts of all webhooks except this one.
fn of_others(webhook: &str) -> String {
    format!("attempts where webhook <> '{webhook}'")
}

/// Blocks a receiver's responses until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Respond for Gate {
    fn respond(&self, _: &wiremock::Request) -> ResponseTemplate {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(is_open, |is_open| !*is_open).unwrap());
        ResponseTemplate::new(200)
    }
}

/// A receiver that does not respond before its gate is opened.
async fn gated() -> (MockServer, Gate) {
    let (server, gate) = (MockServer::start().await, Gate::default());
    let mock = Mock::given(any()).respond_with(gate.clone());
    mock.mount(&server).await;
    (server, gate)
}

/// D6: while one health row is locked, the results of all other webhooks are settled, also later ones. The results of
/// its own webhook are kept, and settled and counted once when the lock is released.
#[tokio::test(flavor = "multi_thread")]
async fn results_of_others_are_settled_while_a_health_row_is_locked() {
    let world = impatient().await;
    let receiver = receiver(500).await;
    let ids = world.webhooks(&receiver, WEBHOOKS).await;
    let (lock, locked) = world
        .lock(&format!("webhook_health where webhook = '{}'", ids[0]))
        .await;
    assert_eq!(locked, 1);
    let others = of_others(&ids[0]);
    let of_locked = format!("attempts where webhook = '{}'", ids[0]);
    for round in 1..=3 {
        world.publish(1, json!({})).await;
        let expected = (round * (WEBHOOKS - 1)) as i64;
        realtime::eventually("the results of the others are settled", async || {
            world.rows(&others).await == expected
        })
        .await;
        assert_eq!(world.rows(&of_locked).await, 0);
    }
    lock.release().await;
    realtime::eventually("what was late is settled", async || {
        world.rows(&of_locked).await == 3
    })
    .await;
    world.settle().await;
    let counted = format!("webhook_health where webhook = '{}' and ban_counter = 3", ids[0]);
    assert_eq!(world.rows(&counted).await, 1, "each is judged once");
    assert_eq!(
        receiver.received_requests().await.unwrap().len(),
        3 * WEBHOOKS,
        "nothing is sent again"
    );
    world.assert_conserved().await;
}

/// The same for a delivery's own row: the other deliveries of its webhook are settled too.
#[tokio::test(flavor = "multi_thread")]
async fn results_of_the_same_webhook_are_settled_while_a_delivery_is_locked() {
    let world = impatient().await;
    let (receiver, gate) = gated().await;
    let ids = world.webhooks(&receiver, 2).await;
    for _ in 0..4 {
        world.publish(1, json!({})).await;
    }
    let first = format!("deliveries where webhook = '{}' order by event limit 1", ids[0]);
    let (lock, locked) = world.lock(&first).await;
    assert_eq!(locked, 1);
    gate.open();
    realtime::eventually("the results of the others are settled", async || {
        world.rows("attempts").await == 7
    })
    .await;
    assert_eq!(world.rows("deliveries").await, 1);
    lock.release().await;
    realtime::eventually("what was late is settled", async || {
        world.rows("attempts").await == 8
    })
    .await;
    world.settle().await;
    assert_eq!(world.rows("deliveries").await, 0);
    assert_eq!(receiver.received_requests().await.unwrap().len(), 8);
    world.assert_conserved().await;
}

/// E3: of several calls that are stored together, only the one with the locked key is refused, and it can be
/// repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_key_is_locked_is_unavailable_alone() {
    const CALLS: usize = 60;
    const PUBLISH: &str = "mutation M($input: PublishEventsInput!) {
        publishEvents(input: $input) { events { duplicate } userErrors { code } } }";
    let world = impatient().await;
    let platform = world.platform();
    let call = |number: usize| {
        let event = json!({
            "companyId": (1 + number % 7).to_string(), "action": "CHANGE", "object": "deal",
            "objectId": number.to_string(), "userId": "1", "data": {}, "idempotencyKey": format!("key-{number}")
        });
        world.answer(&platform, PUBLISH, json!({ "input": { "events": [event] } }))
    };
    let duplicate = |answer: &Json| answer["data"]["publishEvents"]["events"][0]["duplicate"].clone();
    assert_eq!(duplicate(&call(0).await), false);
    let (lock, locked) = world.lock("idempotency where key = 'key-0'").await;
    assert_eq!(locked, 1);
    // The first calls are in progress when the others arrive; those wait to be stored together.
    let order = (1..=CALLS / 2).chain([0]).chain(CALLS / 2 + 1..=CALLS);
    let answers: Vec<(usize, Json)> = stream::iter(order)
        .map(|number| async move { (number, call(number).await) })
        .buffer_unordered(CALLS + 1)
        .collect()
        .await;
    for (number, answer) in &answers {
        if *number == 0 {
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "UNAVAILABLE",
                "{answer:#}"
            );
        } else {
            assert_eq!(duplicate(answer), false, "call {number}: {answer:#}");
        }
    }
    assert_eq!(world.rows("events").await, CALLS as i64 + 1);
    lock.release().await;
    assert_eq!(duplicate(&call(0).await), true);
}

/// R4: the transitions of others are written while one health row is locked, and its own when the lock is released.
#[tokio::test(flavor = "multi_thread")]
async fn transitions_of_others_are_written_while_a_health_row_is_locked() {
    let limits = Limits::of(SHORT);
    let none = None::<fn(Transport) -> NoticeEndpoint>;
    let world = World::within(limits, Settings::development(), ConnectionCaps::default(), none).await;
    let receiver = receiver(500).await;
    let ids = world.webhooks(&receiver, 3).await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!(world.rows("webhook_health where ban_open").await, 3);
    let of_locked = format!("webhook_health where webhook = '{}'", ids[0]);
    let (lock, _) = world.lock(&of_locked).await;
    world.advance(SignedDuration::from_mins(31)).await;
    let ended = "notices where kind = 2";
    assert_eq!(world.rows(ended).await, 2);
    assert_eq!(world.rows(&format!("{of_locked} and ban_open")).await, 1);
    lock.release().await;
    realtime::eventually("the end of the third ban is written", async || {
        world.rows(ended).await == 3
    })
    .await;
}

/// R4: the queues of other webhooks continue while one is locked.
#[tokio::test(flavor = "multi_thread")]
async fn notices_of_others_are_settled_while_a_queue_is_locked() {
    let (endpoint, gate) = gated().await;
    let url = endpoint.uri().parse().unwrap();
    let secrets = vec![SigningSecret::generate()];
    let notices = |transport| NoticeEndpoint {
        url,
        secrets,
        transport,
    };
    let limits = Limits::of(SHORT);
    let world = World::within(
        limits,
        Settings::development(),
        ConnectionCaps::default(),
        Some(notices),
    )
    .await;
    let receiver = receiver(500).await;
    world.webhooks(&receiver, 2).await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    let leased = "notice_queues where token = 1";
    realtime::eventually("one is leased", async || world.rows(leased).await > 0).await;
    let queue = format!("notice_queues where webhook = (select webhook from {leased} limit 1)");
    let (lock, locked) = world.lock(&queue).await;
    assert_eq!(locked, 1);
    gate.open();
    let done = "notice_queues where cardinality(notices) = 0";
    realtime::eventually("the other's notice is settled", async || {
        world.rows(done).await == 1
    })
    .await;
    lock.release().await;
}

/// D6: a locked delivery does not cost others their lease.
#[tokio::test(flavor = "multi_thread")]
async fn leases_of_others_are_extended_while_a_delivery_is_locked() {
    let world = impatient().await;
    // The receiver accepts no connection: eight attempts run at a time, later fewer, each for its ten seconds, and
    // the others wait.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = silent.local_addr().unwrap().to_string();
    world.clock.simulation().unwrap().stall_target(&target);
    let url = format!("http://{target}/hook");
    world
        .webhook(&world.user(1, 7), json!({ "subscriptionUrl": url }))
        .await;
    for _ in 0..40 {
        world.publish(1, json!({})).await;
    }
    let last = "deliveries where event = (select max(event::text)::uuid from deliveries)";
    let (lock, locked) = world.lock(last).await;
    assert_eq!(locked, 1);
    world.advance(SignedDuration::from_secs(50)).await;
    let end = "timestamptz '2026-11-23T10:01:30Z'";
    let kept = format!("deliveries where number = 1 and owner is not null and vis_at > {end}");
    assert!(world.rows(&kept).await > 5);
    assert_eq!(world.rows(&format!("{last} and vis_at = {end}")).await, 1);
    lock.release().await;
}

/// D8: a delivery that the database does not return in time, for any reason, delays no other webhook, and other
/// deliveries of its own webhook not for long.
#[tokio::test(flavor = "multi_thread")]
async fn claims_of_others_continue_while_one_takes_too_long() {
    let world = impatient().await;
    let receiver = receiver(500).await;
    let ids = world.webhooks(&receiver, 3).await;
    for _ in 0..2 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!(world.rows("attempts").await, 6);
    world
        .sql(&format!(
            "create table slow as select event as id from deliveries where webhook = '{0}' order by event limit 1;
             alter table slow add primary key (id);
             create function wait() returns trigger language plpgsql as $$
             begin
                 if new.owner is not null and new.webhook = '{0}' and exists (select from slow where id = new.event)
                 then perform pg_sleep(600); end if;
                 return new;
             end $$;
             create trigger waits before update on deliveries for each row execute function wait()",
            ids[0]
        ))
        .await;
    world.advance(SignedDuration::from_secs(3)).await;
    let of_others = format!("{} and number = 2", of_others(&ids[0]));
    assert_eq!(world.rows(&of_others).await, 4);
    world.advance(SignedDuration::from_secs(2)).await;
    assert_eq!(world.rows("attempts where number = 2").await, 5);
    world.sql("drop trigger waits on deliveries").await;
    world.advance(SignedDuration::from_secs(60)).await;
    assert_eq!(world.rows("attempts where number = 2").await, 6);
    world.assert_conserved().await;
}

/// W8: the other webhooks of an app are removed while one's row is locked, and that one when the call is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_of_others_are_removed_while_a_health_row_is_locked() {
    let world = impatient().await;
    for company in 1..=3 {
        world.install("crm", company, 7).await;
        let url = format!("http://127.0.0.1:9/of-{company}");
        let caller = world.through("crm", company, 7);
        world.webhook(&caller, json!({ "subscriptionUrl": url })).await;
    }
    let id = world.row_id("http://127.0.0.1:9/of-2").await;
    let (lock, _) = world
        .lock(&format!("webhook_health where webhook = '{id}'"))
        .await;
    let query =
        "mutation M { removeApp(input: { appId: \"crm\" }) { removedWebhookCount userErrors { code } } }";
    let refusal = world.refusal(&world.platform(), query, json!({})).await;
    assert_eq!(refusal, "UNAVAILABLE");
    let left = "webhooks where removed_at is null";
    assert_eq!(world.rows(left).await, 1);
    assert_eq!(world.rows(&format!("{left} and url like '%/of-2'")).await, 1);
    lock.release().await;
    world.ask(&world.platform(), query, json!({})).await;
    assert_eq!(world.rows(left).await, 0);
}
