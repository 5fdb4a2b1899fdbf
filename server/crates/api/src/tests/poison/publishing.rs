//! Calls are stored in groups, and a call that cannot be stored is refused alone.

use futures_util::stream::{self, StreamExt};

use super::*;

/// The database's error for a bad event: in the statement or, if late, when the transaction commits.
const REFUSALS: [(&str, bool); 10] = [
    ("22008", false),
    ("22P05", false),
    ("23505", false),
    ("23514", false),
    ("40001", false),
    ("54000", false),
    ("P0001", false),
    ("XX000", false),
    ("23514", true),
    ("40001", true),
];
const CALLS: usize = 1_000;
const COMPANIES: usize = 100;
/// Number of concurrent calls: more than fit into one group.
const AT_ONCE: usize = 96;

const PUBLISH: &str = "mutation M($input: PublishEventsInput!) {
    publishEvents(input: $input) { events { index deliveryCount duplicate } userErrors { code path } } }";

/// Raises the error that the event names.
const TRIGGER: &str = "
create function refuse() returns trigger language plpgsql as $$
declare
    bad text := new.data::json->>tg_argv[0];
begin
    if bad is not null then raise exception 'this event is bad: %', bad using errcode = bad; end if;
    return new;
end $$;
create trigger bad before insert on events for each row execute function refuse('bad');
create constraint trigger bad_late after insert on events deferrable initially deferred
    for each row execute function refuse('badLate')";

fn event(number: usize, data: Json) -> Json {
    json!({
        "companyId": (1 + number % COMPANIES).to_string(), "action": "CHANGE", "object": "deal",
        "objectId": number.to_string(), "userId": "1", "data": data
    })
}

fn is_bad(number: usize) -> bool {
    number % 10 == 3
}

/// A call of one to three events; every second call has keys. In a bad call the last event is bad.
fn call(number: usize) -> Json {
    let mut events: Vec<Json> = (0..=number % 3)
        .map(|_| event(number, json!({ "n": number })))
        .collect();
    if is_bad(number) {
        let kind = number / 10 % (REFUSALS.len() + 1);
        let last = match REFUSALS.get(kind) {
            Some((code, false)) => event(number, json!({ "bad": code })),
            Some((code, true)) => event(number, json!({ "badLate": code })),
            // A value that Postgres cannot store, in case the API accepts it.
            None => {
                let mut event = event(number, json!({ "bad": "P0001" }));
                event["occurredAt"] = json!("-009000-01-01T00:00:00Z");
                event
            }
        };
        *events.last_mut().unwrap() = last;
    }
    if (number / 2).is_multiple_of(2) {
        for (index, event) in events.iter_mut().enumerate() {
            event["idempotencyKey"] = json!(format!("{number}-{index}"));
        }
    }
    json!({ "input": { "events": events } })
}

async fn unlimited() -> World {
    let mut settings = Settings::development();
    let most = 100_000;
    settings.api.rate_per_publishing_token = most;
    settings.api.rate_of_publishing = most;
    settings.api.publishing_calls = 1_000;
    World::with(settings).await
}

/// Makes many calls at once, and returns all responses.
async fn publish(world: &World, calls: impl Iterator<Item = usize>) -> Vec<(usize, Json)> {
    let platform = world.platform();
    let one = |number| {
        let platform = platform.clone();
        async move { (number, world.answer(&platform, PUBLISH, call(number)).await) }
    };
    stream::iter(calls)
        .map(one)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

fn stored(answer: &Json) -> usize {
    let payload = &answer["data"]["publishEvents"];
    assert_eq!(payload["userErrors"], json!([]), "{answer:#}");
    payload["events"].as_array().unwrap().len()
}

/// 1,000 calls of 100 companies, one in ten of them bad in various ways: the other 900 succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bad_calls_do_not_affect_good_calls() {
    let world = unlimited().await;
    let receiver = receiver(200).await;
    world
        .webhook(&world.user(1, 7), json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    world.sql(TRIGGER).await;
    let answers = publish(&world, 0..CALLS).await;
    let (mut events, mut of_company_1) = (0, 0);
    for (number, answer) in &answers {
        if is_bad(*number) {
            let code = &answer["errors"][0]["extensions"]["code"];
            assert!(
                code == "INTERNAL" || code == "BAD_USER_INPUT",
                "call {number}: {answer:#}"
            );
        } else {
            assert!(answer.get("errors").is_none(), "call {number}: {answer:#}");
            assert_eq!(stored(answer), 1 + number % 3, "call {number}");
            events += 1 + number % 3;
            of_company_1 += if number % COMPANIES == 0 {
                1 + number % 3
            } else {
                0
            };
        }
    }
    assert_eq!(answers.iter().filter(|(number, _)| !is_bad(*number)).count(), 900);
    assert_eq!(
        world.rows("events").await,
        events as i64,
        "all of a call or nothing"
    );
    let keys = "idempotency k join events e on e.lane = k.lane and e.id = k.event";
    assert_eq!(world.rows("idempotency").await, world.rows(keys).await);
    world.settle().await;
    assert_eq!(receiver.received_requests().await.unwrap().len(), of_company_1);
    world.assert_conserved().await;
}

/// A refused call does not use its key. The same call is published when it is no longer bad, and only the call after
/// that is a duplicate.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_call_uses_no_key_and_a_stored_call_keeps_its_key() {
    let world = unlimited().await;
    world.sql(TRIGGER).await;
    let keyed = |number: &usize| (number / 2).is_multiple_of(2);
    publish(&world, (0..200).filter(keyed)).await;
    world
        .sql("drop trigger bad on events; drop trigger bad_late on events")
        .await;
    for (number, answer) in publish(&world, (0..200).filter(keyed)).await {
        if is_bad(number) && answer.get("errors").is_some() {
            // Its time is still invalid.
            continue;
        }
        let events = answer["data"]["publishEvents"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 1 + number % 3, "call {number}");
        for event in events {
            assert_eq!(event["duplicate"], !is_bad(number), "call {number}: {answer:#}");
        }
    }
}

/// A bad call without others is refused with an id to find it in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_call_alone_fails_with_internal_and_stores_nothing() {
    let world = World::new().await;
    world.sql(TRIGGER).await;
    for late in [false, true] {
        let data = if late { "badLate" } else { "bad" };
        let events = [event(1, json!({ "n": 1 })), event(1, json!({ data: "23514" }))];
        let answer = world
            .answer(
                &world.platform(),
                PUBLISH,
                json!({ "input": { "events": events } }),
            )
            .await;
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "INTERNAL", "{answer:#}");
        assert!(extensions["requestId"].is_string(), "{answer:#}");
        assert_eq!(world.rows("events").await, 0);
    }
}
