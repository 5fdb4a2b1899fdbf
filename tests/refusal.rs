//! Postgres refuses one item among many for a reason that no server can foresee. The other items are not affected.

use futures_util::future::join_all;
use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::refusal::{MARK, PLAIN, STATES, TRIGGERS};
use tenterhook_harness::reply::Reply;
use tenterhook_harness::world::World;

use crate::scene::count;

/// Companies that publish at the same time. One in ten has an event that Postgres refuses.
const COMPANIES: u64 = 90;

async fn refusing() -> World {
    let world = World::start().await;
    let database = world.database().expect("it is in this process");
    database.execute(TRIGGERS).await.expect("the triggers fit");
    world
}

/// If Postgres refuses to store a response, the attempt is recorded without it and counted and retried as usual. Others
/// that are settled at the same time are not affected.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_postgres_refuses_is_left_out_of_its_result() {
    let world = refusing().await;
    let user = world.company(1).user(7);
    let well = world.receiver(Reply::status(200).body(PLAIN)).await;
    let mut receivers = Vec::new();
    let mut marked = Vec::new();
    for state in STATES {
        let receiver = world
            .receiver(Reply::status(500).body(format!("{MARK}{state}")))
            .await;
        let created = user.create_webhook(NewWebhook::to(&receiver.url())).await;
        marked.push((state, created.unwrap().webhook.id));
        receivers.push(receiver);
    }
    let plain = user.create_webhook(NewWebhook::to(&well.url())).await.unwrap();
    world.company(1).publish_many(5).await.unwrap();
    world.settle().await;

    let delivered = user.deliveries(&plain.webhook.id).await.unwrap();
    assert_eq!(count(&delivered, "SUCCEEDED"), 5);
    for delivery in &delivered {
        assert_eq!(delivery.attempts[0].response_body.as_deref(), Some(PLAIN));
    }
    for (state, webhook) in &marked {
        for delivery in user.deliveries(webhook).await.unwrap() {
            let attempt = &delivery.attempts[0];
            assert_eq!(attempt.http_status, Some(500), "{state}");
            assert_eq!(attempt.error_class.as_deref(), Some("STATUS"), "{state}");
            assert_eq!(
                attempt.response_body.as_deref().unwrap_or_default(),
                "",
                "{state}"
            );
        }
        assert_eq!(user.health(webhook).await.unwrap().ban_counter, 5, "{state}");
    }
    world.advance("PT5M").await;
    for (state, webhook) in &marked {
        let ended = user.deliveries(webhook).await.unwrap();
        assert_eq!(count(&ended, "FAILED"), 5, "{state}");
        assert!(
            ended.iter().all(|delivery| delivery.attempts.len() == 4),
            "{state}"
        );
    }
    world.verify().await;
}

/// Only the call with the event that Postgres refuses is refused, not others at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_postgres_refuses_refuses_only_its_own_call() {
    let world = refusing().await;
    let platform = world.platform();
    for state in STATES {
        let call = async |number: u64| {
            let mut event = world.company(number).deal_changed();
            if number.is_multiple_of(10) {
                event = event.with("data", json!({"text": format!("{MARK}{state}")}));
            }
            (number, platform.publish_one(event).await)
        };
        for (number, answer) in join_all((1..=COMPANIES).map(call)).await {
            let code = answer.as_ref().map_or_else(|refusal| refusal.code(), |_| "");
            let expected = if number.is_multiple_of(10) { "INTERNAL" } else { "" };
            assert_eq!(code, expected, "{state}, company {number}: {answer:?}");
        }
    }
    world.verify().await;
}
