//! The contents of a delivered body, in both versions (E4–E6). [`super::previous`] and [`super::permitted_users`] have more.

use serde_json::{Value, json};

use super::scene::USER;
use crate::client::{Client, NewEvent, NewWebhook, Published};
use crate::receiver::Receiver;
use crate::scenario::{Failure, Play, Scenario, holds, same};
use crate::world::World;

/// Two webhooks of user 7, one for each version, each with its receiver.
pub(super) struct Both<'w> {
    world: &'w World,
    v1: (Receiver, String),
    v2: (Receiver, String),
}

impl<'w> Both<'w> {
    pub(super) async fn new(world: &'w World) -> Result<Self, Failure> {
        let user = world.company(1).owner(USER).await?;
        let (v1, v2) = (world.receiver(200).await, world.receiver(200).await);
        let one = user.create_webhook(NewWebhook::to(&v1.url()).v1()).await?.webhook;
        let two = user.create_webhook(NewWebhook::to(&v2.url())).await?.webhook;
        Ok(Self {
            world,
            v1: (v1, one.number),
            v2: (v2, two.number),
        })
    }

    async fn publish(&self, event: NewEvent) -> Result<Published, Failure> {
        let published = self.world.platform().publish_one(event).await?;
        self.world.settle().await;
        Ok(published)
    }

    /// Publishes an event. Returns the bodies that arrived, in version 1 and in version 2.
    async fn bodies(&self, event: NewEvent) -> Result<(Vec<Value>, Vec<Value>), Failure> {
        let before = (self.v1.0.journal().len(), self.v2.0.journal().len());
        self.publish(event).await?;
        let since = |receiver: &Receiver, start: usize| {
            receiver
                .journal()
                .all()
                .iter()
                .skip(start)
                .map(|arrival| arrival.json())
                .collect()
        };
        Ok((since(&self.v1.0, before.0), since(&self.v2.0, before.1)))
    }

    /// Like [`Both::bodies`], if one body per version is expected.
    pub(super) async fn one_body_each(&self, event: NewEvent) -> Result<(Value, Value), Failure> {
        let (v1, v2) = self.bodies(event).await?;
        same("bodies in each version", (v1.len(), v2.len()), (1, 1))?;
        let only = |bodies: Vec<Value>| bodies.into_iter().next().unwrap_or_default();
        Ok((only(v1), only(v2)))
    }

    pub(super) fn event(&self, action: &str, object: &str, id: &str) -> NewEvent {
        NewEvent::new(self.world.company(1).id(), action, object, id)
    }

    /// A change event with every optional input.
    pub(super) fn change(&self) -> NewEvent {
        let data = json!({"id": 8, "title": "new", "value": 12.5, "labels": [1, 2], "owner": {"id": 7}});
        self.event("CHANGE", "deal", "8")
            .with("userId", "12")
            .with("data", data)
            .with("previous", before())
            .with("permittedUserIds", json!(["7", "12"]))
            .with("changeSource", "API")
            .with("isBulkEdit", true)
            .with("correlationId", "import-1")
            .with("host", "acme.example.com")
            .with("occurredAt", "2026-02-03T09:59:58.123Z")
    }

    fn merge(&self) -> NewEvent {
        self.event("MERGE", "person", "8")
            .with("data", json!({"id": 8, "name": "Ada Lovelace"}))
            .with("previous", json!({"id": 8, "name": "Ada"}))
            .with("mergedFromId", "9")
            .with("mergedFromPrevious", json!({"id": 9, "name": "A. Lovelace"}))
    }
}

/// The state of the deal before [`Both::change`].
pub(super) fn before() -> Value {
    json!({"id": 8, "title": "old", "value": 12.5, "labels": [1], "gone": true})
}

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "a-change-in-version-2",
            "Every field of the body of version 2.",
            &["E4"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let published = both.publish(both.change()).await?;
                    let body = both.v2.0.journal().wait_for(1).await[0].json();
                    let company = world.company(1).id().to_string();
                    same(
                        "meta",
                        body["meta"].clone(),
                        json!({
                            "action": "change", "entity": "deal", "company_id": company,
                            "correlation_id": "import-1", "entity_id": "8", "id": published.event.event_id,
                            "is_bulk_edit": true, "timestamp": "2026-02-03T09:59:58.123Z", "type": world.webhook_type().name(),
                            "user_id": "12", "version": "2.0", "webhook_id": both.v2.1, "webhook_owner_id": "7",
                            "change_source": "api", "attempt": 1, "host": "acme.example.com",
                            "permitted_user_ids": ["7", "12"],
                        }),
                    )?;
                    let data = json!({"id": 8, "title": "new", "value": 12.5, "labels": [1, 2], "owner": {"id": 7}});
                    same("data", body["data"].clone(), data)
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "a-change-in-version-1",
            "The body of version 1 has decimal ids as numbers, times in seconds and microseconds, and the whole states.",
            &["E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let (v1, _) = both.one_body_each(both.change()).await?;
                    let company = world.company(1).id();
                    let number: Option<u64> = both.v1.1.parse().ok();
                    for (key, value) in [
                        ("v", json!(1)),
                        ("type", json!(world.webhook_type().name())),
                        ("action", json!("updated")),
                        ("object", json!("deal")),
                        ("id", json!(8)),
                        ("company_id", json!(company)),
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
                        same(format!("meta.{key}"), v1["meta"][key].clone(), value)?;
                    }
                    same("v, retry and event", [&v1["v"], &v1["retry"], &v1["event"]], [
                        &json!(1),
                        &json!(0),
                        &json!("updated.deal"),
                    ])?;
                    same("current.title", v1["current"]["title"].clone(), json!("new"))?;
                    same("previous", v1["previous"].clone(), before())
                })
            },
        ),
        Scenario::new(
            "ids-that-are-no-numbers-stay-strings",
            "In version 1 an object id that is not decimal, or has a leading zero, is a string.",
            &["E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    for (id, in_v1) in [("p-1", json!("p-1")), ("007", json!("007")), ("42", json!(42))] {
                        let event = both.event("CHANGE", "person", id).with("data", json!({}));
                        let (v1, v2) = both.one_body_each(event).await?;
                        same(format!("meta.id of {id} in version 1"), v1["meta"]["id"].clone(), in_v1)?;
                        same(format!("meta.entity_id of {id} in version 2"), v2["meta"]["entity_id"].clone(), json!(id))?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-creation-has-nothing-before-it",
            "`previous` of a creation is null in both versions.",
            &["E4", "E5"],
            |world| Box::pin(async move { states(world, "CREATE", "data", ["create", "added.person"]).await }),
        ),
        Scenario::new(
            "a-deletion-has-nothing-after-it",
            "`data` and `current` of a deletion are null, and `previous` is the last state.",
            &["E4", "E5"],
            |world| Box::pin(async move { states(world, "DELETE", "previous", ["delete", "deleted.person"]).await }),
        ),
        Scenario::new(
            "what-the-platform-leaves-out-has-a-default",
            "Without `occurredAt` the payload has the time of acceptance; without a source it has the app.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let now = world.now();
                    let event = both.event("CHANGE", "deal", "8").with("data", json!({}));
                    let (v1, v2) = both.one_body_each(event).await?;
                    let meta = &v2["meta"];
                    same("timestamp in version 2", meta["timestamp"].clone(), json!(format!("{now:.3}")))?;
                    same("timestamp in version 1", v1["meta"]["timestamp"].clone(), json!(now.as_second()))?;
                    same("change_source", meta["change_source"].clone(), json!("app"))?;
                    same("is_bulk_edit", meta["is_bulk_edit"].clone(), json!(false))
                })
            },
        ),
        Scenario::new(
            "each-body-says-which-attempt-it-is",
            "`attempt` goes from 1 to 4 and `retry` from 0 to 3, and nothing else differs between attempts.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    both.v1.0.answer_with(500);
                    both.v2.0.answer_with(500);
                    both.publish(both.change()).await?;
                    world.advance("PT1H").await;
                    for (receiver, place, first) in [(&both.v1.0, "/retry", 0), (&both.v2.0, "/meta/attempt", 1)] {
                        let mut bodies: Vec<Value> =
                            receiver.journal().all().iter().map(|arrival| arrival.json()).collect();
                        let said: Vec<Option<Value>> =
                            bodies.iter_mut().map(|body| body.pointer_mut(place).map(Value::take)).collect();
                        let expected: Vec<_> = (first..first + 4).map(|n| Some(json!(n))).collect();
                        same(format!("{place} of each attempt"), said, expected)?;
                        let alike = bodies.windows(2).all(|two| two[0] == two[1]);
                        holds(format!("bodies apart from {place}"), "equal", alike, &bodies)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-merge-in-version-2",
            "A merge is a `change` that names the merged object and a `delete` that names the survivor, with one \
             correlation id.",
            &["E6"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let published = both.publish(both.merge()).await?;
                    same("deliveryCount", published.delivery_count, 4)?;
                    let arrivals = both.v2.0.journal().wait_for(2).await;
                    let bodies: Vec<Value> = arrivals.iter().map(|arrival| arrival.json()).collect();
                    let change = only(&bodies, "/meta/action", "change")?;
                    same("the event that the call names", &change["meta"]["id"], &json!(published.event.event_id))?;
                    let delete = only(&bodies, "/meta/action", "delete")?;
                    let ids = |body: &Value| {
                        ["entity_id", "merged_from_id", "merged_to_id"].map(|key| body["meta"][key].clone())
                    };
                    same("ids of the change", ids(&change), [json!("8"), json!("9"), Value::Null])?;
                    same("ids of the deletion", ids(&delete), [json!("9"), Value::Null, json!("8")])?;
                    same(
                        "the correlation of the deletion",
                        &delete["meta"]["correlation_id"],
                        &change["meta"]["correlation_id"],
                    )?;
                    let [one, other] = [&change, &delete].map(|body| body["meta"]["id"].clone());
                    holds("the two events' ids", "different", one != other, &(&one, &other))?;
                    same("previous of the change", change["previous"].clone(), json!({"name": "Ada"}))?;
                    same(
                        "data and previous of the deletion",
                        [delete["data"].clone(), delete["previous"].clone()],
                        [Value::Null, json!({"id": 9, "name": "A. Lovelace"})],
                    )
                })
            },
        ),
        Scenario::new(
            "a-merge-in-version-1",
            "In version 1 a merge is `merged.person` about the survivor and `deleted.person` about the other.",
            &["E6", "E5"],
            |world| {
                Box::pin(async move {
                    let both = Both::new(world).await?;
                    let (bodies, _) = both.bodies(both.merge()).await?;
                    for (name, id) in [("merged.person", 8), ("deleted.person", 9)] {
                        let body = only(&bodies, "/event", name)?;
                        same(format!("meta.id of {name}"), body["meta"]["id"].clone(), json!(id))?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "each-half-of-a-merge-is-matched-on-its-own",
            "A merge matches `change` and `delete` in version 2, `merged` and `deleted` in version 1, and no other webhook.",
            &["E6", "E2"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let user = world.company(1).owner(USER).await?;
                    for (path, action, v1) in [
                        ("v2-change", "CHANGE", false),
                        ("v2-delete", "DELETE", false),
                        ("v2-create", "CREATE", false),
                        ("v1-updated", "CHANGE", true),
                        ("v1-merged", "MERGE", true),
                        ("v1-deleted", "DELETE", true),
                    ] {
                        subscribe(&user, &receiver, path, action, v1).await?;
                    }
                    let both = Both::new(world).await?;
                    both.publish(both.merge()).await?;
                    let mut paths: Vec<String> =
                        receiver.journal().all().iter().map(|arrival| arrival.path.replace("/hook/", "")).collect();
                    paths.sort();
                    let expected = ["v1-deleted", "v1-merged", "v2-change", "v2-delete"];
                    same("who got a half", paths, expected.map(str::to_owned).to_vec())
                })
            },
        ),
    ]
}

async fn subscribe(user: &Client, receiver: &Receiver, path: &str, action: &str, v1: bool) -> Play {
    let new = NewWebhook::to(&format!("{}/{path}", receiver.url())).on(action, "person");
    user.create_webhook(if v1 { new.v1() } else { new }).await?;
    Ok(())
}

/// The only body that has `word` at `place`.
fn only(bodies: &[Value], place: &str, word: &str) -> Result<Value, Failure> {
    let says = |body: &&Value| body.pointer(place).and_then(Value::as_str) == Some(word);
    let found: Vec<&Value> = bodies.iter().filter(says).collect();
    same(format!("bodies with {word} at {place}"), found.len(), 1)?;
    Ok(found.into_iter().next().cloned().unwrap_or_default())
}

/// Publishes an event with a state on one side only.
async fn states(world: &World, action: &str, side: &str, words: [&str; 2]) -> Play {
    let both = Both::new(world).await?;
    let state = json!({"name": "Ada"});
    let event = both.event(action, "person", "p-1").with(side, state.clone());
    let (v1, v2) = both.one_body_each(event).await?;
    let expected = match side {
        "data" => [state, Value::Null],
        _ => [Value::Null, state],
    };
    same(
        "the action in version 2",
        v2["meta"]["action"].clone(),
        json!(words[0]),
    )?;
    same("the event in version 1", v1["event"].clone(), json!(words[1]))?;
    same(
        "data and previous",
        [v2["data"].clone(), v2["previous"].clone()],
        expected.clone(),
    )?;
    same(
        "current and previous",
        [v1["current"].clone(), v1["previous"].clone()],
        expected,
    )
}
