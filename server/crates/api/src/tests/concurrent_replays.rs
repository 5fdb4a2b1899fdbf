//! Other operations on a webhook during a replay of its deliveries, and concurrent replays of the same deliveries.

use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncConnection, SimpleAsyncConnection, TransactionManager};
use futures_util::future::join_all;

use super::replays::{deals, deliveries, lose};
use super::*;
use tenterhook_store::Conn;
use tenterhook_store::testing::{WAITING, count};

type Transactions = <Conn as AsyncConnection>::TransactionManager;

/// A transaction that has taken the number of the webhook's next replay, so that a replay waits for its end.
async fn in_the_way(world: &World) -> Object<Conn> {
    let mut conn = world.store.conn().await.expect("the database is there");
    Transactions::begin_transaction(&mut *conn)
        .await
        .expect("a transaction can begin");
    let replay = "insert into deliveries (lane, webhook, event, generation, company, number, created_at, event_at, due_at,
                                          vis_at, owner, token)
                  select lane, webhook, event, 1, company, 1, at, created_at, at, at, null, 0 from outcomes";
    conn.batch_execute(replay).await.expect("nobody has taken it");
    conn
}

/// Resolves when a statement waits for a lock.
async fn somebody_waits(conn: &mut Conn) {
    realtime::eventually("the replay waits", async || {
        // A transaction keeps its first snapshot of the statistics unless it clears it.
        let fresh = conn.batch_execute("select pg_stat_clear_snapshot()");
        fresh.await.expect("a transaction can ask");
        count(conn, WAITING).await > 0
    })
    .await;
}

/// A webhook with one lost delivery.
async fn lost(world: &World, ann: &Token, receiver: &MockServer) -> String {
    let id = deals(world, ann, receiver).await;
    lose(world, &id, 1).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_being_stored_blocks_nothing_else_of_its_webhook() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(500).await);
    let id = lost(&world, &ann, &receiver).await;
    let mut conn = in_the_way(&world).await;
    let replay = world.done(&ann, "replayDeliveries", json!({ "webhookId": id }), "count");
    let rest = async {
        somebody_waits(&mut conn).await;
        let named = json!({ "id": id });
        world.publish(1, json!({})).await;
        world.settle().await;
        let query = "query Q($id: ID!) { webhook(id: $id) { health { banCounter } } }";
        let read = world.ask(&ann, query, named.clone()).await;
        assert_eq!(
            read["webhook"]["health"]["banCounter"], 1,
            "a result moves its health"
        );
        world
            .done(&ann, "updateWebhook", json!({ "id": id, "name": "new" }), "")
            .await;
        for change in [
            "rotateWebhookSecret",
            "pauseWebhook",
            "resumeWebhook",
            "testWebhook",
        ] {
            world.done(&ann, change, named.clone(), "").await;
        }
        somebody_waits(&mut conn).await;
        Transactions::rollback_transaction(&mut *conn).await.unwrap();
    };
    let (replayed, ()) = tokio::join!(replay, rest);
    assert_eq!(replayed["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_stored_during_the_removal_is_cancelled() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = lost(&world, &ann, &receiver).await;
    let mut conn = in_the_way(&world).await;
    let replay = world.done(&ann, "replayDeliveries", json!({ "webhookId": id }), "count");
    let removal = async {
        somebody_waits(&mut conn).await;
        world.done(&ann, "deleteWebhook", json!({ "id": id }), "").await;
        Transactions::rollback_transaction(&mut *conn).await.unwrap();
    };
    let (replayed, ()) = tokio::join!(replay, removal);
    assert_eq!(replayed["count"], 1);
    world.settle().await;
    assert_eq!(
        world.fates(&ann, &id).await,
        ["CANCELLED WEBHOOK_REMOVED", "LOST PAUSED"]
    );
    assert!(receiver.received_requests().await.unwrap().is_empty());
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!((tally.accepted, tally.cancelled, tally.open), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_overtaken_takes_the_next_number() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = lost(&world, &ann, &receiver).await;
    let mut conn = in_the_way(&world).await;
    let replay = world.done(&ann, "replayDeliveries", json!({ "webhookId": id }), "count");
    let other = async {
        somebody_waits(&mut conn).await;
        Transactions::commit_transaction(&mut *conn).await.unwrap();
    };
    let (replayed, ()) = tokio::join!(replay, other);
    assert_eq!(replayed["count"], 1);
    world.settle().await;
    assert_eq!(deliveries(&world, &ann, &id).await.len(), 3);
    assert_eq!(receiver.received_requests().await.unwrap().len(), 2);
}

/// There are more calls than a transaction has retries, so they must take turns.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_replays_of_one_delivery_are_all_made() {
    const CALLS: usize = 12;
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = lost(&world, &ann, &receiver).await;
    let lost = json!({ "webhookId": id, "status": ["LOST"] });
    let calls = (0..CALLS).map(|_| world.done(&ann, "replayDeliveries", lost.clone(), "count"));
    for replayed in join_all(calls).await {
        assert_eq!(replayed["count"], 1);
    }
    world.settle().await;
    assert_eq!(receiver.received_requests().await.unwrap().len(), CALLS);
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!((tally.accepted, tally.succeeded), (CALLS as i64, CALLS as i64));
}
