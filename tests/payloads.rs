//! The contents of a delivered body, in both versions.

use std::sync::Arc;

use serde_json::{Value, json};
use tenterhook_harness::client::{NewEvent, NewWebhook, Published};
use tenterhook_harness::journal::Arrival;
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::world::World;

/// Two webhooks of user 7, one for each version, each with its receiver.
struct Both {
    world: World,
    v1: Receiver,
    v2: Receiver,
    numbers: [String; 2],
}

impl Both {
    async fn new() -> Self {
        let world = World::start().await;
        let (v1, v2) = (world.receiver(200).await, world.receiver(200).await);
        let user = world.company(1).user(7);
        let mut numbers = [String::new(), String::new()];
        for (place, new) in [NewWebhook::to(&v1.url()).v1(), NewWebhook::to(&v2.url())]
            .into_iter()
            .enumerate()
        {
            let created = user
                .create_webhook(new)
                .await
                .unwrap_or_else(|refusal| panic!("{refusal}"));
            numbers[place] = created.webhook.number;
        }
        Self {
            world,
            v1,
            v2,
            numbers,
        }
    }

    async fn publish(&self, event: NewEvent) -> Published {
        let published = self.world.platform().publish_one(event).await;
        let published = published.unwrap_or_else(|refusal| panic!("{refusal}"));
        self.world.settle().await;
        published
    }

    /// The `n`th body in each version.
    fn bodies(&self, n: usize) -> (Value, Value) {
        (
            self.v1.journal().all()[n].json(),
            self.v2.journal().all()[n].json(),
        )
    }
}

fn change() -> NewEvent {
    NewEvent::new(1, "CHANGE", "deal", "8")
        .with("userId", "12")
        .with(
            "data",
            json!({"id": 8, "title": "new", "value": 12.50, "labels": [1, 2], "owner": {"id": 7}}),
        )
        .with(
            "previous",
            json!({"id": 8, "title": "old", "value": 12.50, "labels": [1], "gone": true}),
        )
        .with("permittedUserIds", json!(["7", "12"]))
        .with("changeSource", "API")
        .with("isBulkEdit", true)
        .with("correlationId", "import-1")
        .with("host", "acme.example.com")
        .with("occurredAt", "2026-02-03T09:59:58.123Z")
}

/// E4: version 2, with `previous` reduced to the changed top-level fields.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_version_2() {
    let both = Both::new().await;
    let published = both.publish(change()).await;
    let (_, v2) = both.bodies(0);
    assert_eq!(
        v2,
        json!({
            "meta": {
                "action": "change", "entity": "deal", "company_id": "1", "correlation_id": "import-1",
                "entity_id": "8", "id": published.event.event_id, "is_bulk_edit": true,
                "timestamp": "2026-02-03T09:59:58.123Z", "type": "general", "user_id": "12", "version": "2.0",
                "webhook_id": both.numbers[1], "webhook_owner_id": "7", "change_source": "api", "attempt": 1,
                "host": "acme.example.com", "permitted_user_ids": ["7", "12"],
            },
            "data": {"id": 8, "title": "new", "value": 12.50, "labels": [1, 2], "owner": {"id": 7}},
            "previous": {"title": "old", "labels": [1], "gone": true, "owner": null},
        })
    );
    both.world.verify().await;
}

/// E5: version 1, with the whole states and decimal ids as numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_version_1() {
    let both = Both::new().await;
    both.publish(change()).await;
    let (v1, _) = both.bodies(0);
    let number: u64 = both.numbers[0].parse().unwrap();
    let meta = &v1["meta"];
    for (key, value) in [
        ("v", json!(1)),
        ("action", json!("updated")),
        ("object", json!("deal")),
        ("id", json!(8)),
        ("company_id", json!(1)),
        ("user_id", json!(12)),
        ("host", json!("acme.example.com")),
        ("timestamp", json!(1_770_112_798)),
        ("timestamp_micro", json!(1_770_112_798_123_000_u64)),
        ("permitted_user_ids", json!([7, 12])),
        ("is_bulk_update", json!(true)),
        ("pipedrive_service_name", json!(false)),
        ("change_source", json!("api")),
        ("webhook_id", json!(number)),
    ] {
        assert_eq!(meta[key], value, "meta.{key}");
    }
    assert_eq!(
        (&v1["v"], &v1["retry"], &v1["event"]),
        (&json!(1), &json!(0), &json!("updated.deal"))
    );
    assert_eq!(v1["current"]["title"], "new");
    assert_eq!(
        v1["previous"],
        json!({"id": 8, "title": "old", "value": 12.50, "labels": [1], "gone": true})
    );
    both.world.verify().await;
}

/// E4, E5: each attempt has its number: `attempt` 1 to 4, `retry` 0 to 3. Nothing else changes.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_says_which_it_is() {
    let both = Both::new().await;
    both.v1.answer_with(500);
    both.v2.answer_with(500);
    both.publish(change()).await;
    both.world.advance("PT1H").await;

    for (receiver, place, first) in [(&both.v1, "/retry", 0), (&both.v2, "/meta/attempt", 1)] {
        let mut bodies: Vec<Value> = receiver
            .journal()
            .all()
            .iter()
            .map(|arrival| arrival.json())
            .collect();
        let said: Vec<Value> = bodies
            .iter_mut()
            .map(|body| body.pointer_mut(place).unwrap().take())
            .collect();
        assert_eq!(said, (first..first + 4).map(Value::from).collect::<Vec<_>>());
        assert!(
            bodies.windows(2).all(|two| two[0] == two[1]),
            "attempts differ in more than {place}"
        );
    }
    both.world.verify().await;
}

/// E4, E5: a creation has no state before it, a deletion none after it. Without `occurredAt` the payload has the time
/// of acceptance. Ids that are not numbers stay strings.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_and_a_deletion() {
    let both = Both::new().await;
    let state = json!({"name": "Ada"});
    both.publish(NewEvent::new(1, "CREATE", "person", "p-1").with("data", state.clone()))
        .await;
    both.publish(NewEvent::new(1, "DELETE", "person", "p-1").with("previous", state.clone()))
        .await;

    let (v1, v2) = both.bodies(0);
    assert_eq!(
        (&v2["meta"]["action"], &v2["data"], &v2["previous"]),
        (&json!("create"), &state, &Value::Null)
    );
    assert_eq!(
        (&v1["event"], &v1["current"], &v1["previous"]),
        (&json!("added.person"), &state, &Value::Null)
    );
    assert_eq!(
        (&v1["meta"]["id"], &v2["meta"]["entity_id"]),
        (&json!("p-1"), &json!("p-1"))
    );
    assert_eq!(v2["meta"]["timestamp"], "2026-02-03T10:00:00.000Z");
    assert_eq!(v2["meta"]["change_source"], "app");

    let (v1, v2) = both.bodies(1);
    assert_eq!(
        (&v2["meta"]["action"], &v2["data"], &v2["previous"]),
        (&json!("delete"), &Value::Null, &state)
    );
    assert_eq!(
        (&v1["event"], &v1["current"], &v1["previous"]),
        (&json!("deleted.person"), &Value::Null, &state)
    );
    both.world.verify().await;
}

fn merge() -> NewEvent {
    NewEvent::new(1, "MERGE", "person", "8")
        .with("data", json!({"id": 8, "name": "Ada Lovelace"}))
        .with("previous", json!({"id": 8, "name": "Ada"}))
        .with("mergedFromId", "9")
        .with("mergedFromPrevious", json!({"id": 9, "name": "A. Lovelace"}))
}

fn by_action(arrivals: &[Arc<Arrival>], place: &str, action: &str) -> Value {
    let bodies = arrivals.iter().map(|arrival| arrival.json());
    let mut found: Vec<Value> = bodies
        .filter(|body| body.pointer(place) == Some(&json!(action)))
        .collect();
    assert_eq!(found.len(), 1, "one {action}");
    found.remove(0)
}

/// E6: a merge is two events with one correlation id: one about the survivor, one about the merged object.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_two_events() {
    let both = Both::new().await;
    let published = both.publish(merge()).await;
    assert_eq!(published.delivery_count, 4);

    let arrivals = both.v2.journal().wait_for(2).await;
    let change = by_action(&arrivals, "/meta/action", "change");
    let delete = by_action(&arrivals, "/meta/action", "delete");
    assert_eq!(
        change["meta"]["id"],
        published.event.event_id.as_str(),
        "the survivor's event is answered"
    );
    assert_ne!(change["meta"]["id"], delete["meta"]["id"]);
    assert_eq!(change["meta"]["correlation_id"], delete["meta"]["correlation_id"]);
    assert_eq!(
        (&change["meta"]["entity_id"], &delete["meta"]["entity_id"]),
        (&json!("8"), &json!("9"))
    );
    assert_eq!(
        (&change["meta"]["merged_from_id"], &change["meta"]["merged_to_id"]),
        (&json!("9"), &Value::Null)
    );
    assert_eq!(
        (&delete["meta"]["merged_to_id"], &delete["meta"]["merged_from_id"]),
        (&json!("8"), &Value::Null)
    );
    assert_eq!(change["previous"], json!({"name": "Ada"}));
    assert_eq!(
        (&delete["data"], &delete["previous"]["id"]),
        (&Value::Null, &json!(9))
    );

    let arrivals = both.v1.journal().wait_for(2).await;
    let merged = by_action(&arrivals, "/event", "merged.person");
    let deleted = by_action(&arrivals, "/event", "deleted.person");
    assert_eq!(
        (&merged["meta"]["id"], &deleted["meta"]["id"]),
        (&json!(8), &json!(9))
    );
    both.world.verify().await;
}

/// E6: each half of a merge is matched separately, with the words of each version.
#[tokio::test(flavor = "multi_thread")]
async fn each_half_of_a_merge_is_matched_on_its_own() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    let new = |action, path: &str| NewWebhook::to(&format!("{}/{path}", receiver.url())).on(action, "person");
    for webhook in [
        new("CHANGE", "v2-change"),
        new("DELETE", "v2-delete"),
        new("CREATE", "v2-create"),
        new("CHANGE", "v1-updated").v1(),
        new("MERGE", "v1-merged").v1(),
        new("DELETE", "v1-deleted").v1(),
    ] {
        user.create_webhook(webhook).await.unwrap();
    }
    assert_eq!(
        world
            .platform()
            .publish_one(merge())
            .await
            .unwrap()
            .delivery_count,
        4
    );
    world.settle().await;
    let mut paths: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|arrival| arrival.path.clone())
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/hook/v1-deleted",
            "/hook/v1-merged",
            "/hook/v2-change",
            "/hook/v2-delete"
        ]
    );
    world.verify().await;
}
