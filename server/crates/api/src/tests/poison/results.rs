//! Results are settled in batches. A result that cannot be written is settled with less data, or waits alone.

use rstest::rstest;

use super::*;

const ATTEMPTS: &str = "query Q($id: ID!) { webhook(id: $id) { health { state banCounter } deliveries { nodes { status
    attempts { number httpStatus errorClass errorMessage responseBody responseTruncated responseHeaders { name } } } } } }";

async fn webhook(world: &World, receiver: &MockServer) -> String {
    let url = format!("{}/hook", receiver.uri());
    world
        .webhook(&world.user(1, 7), json!({ "subscriptionUrl": url }))
        .await
}

async fn read(world: &World, id: &str) -> Json {
    world.ask(&world.user(1, 7), ATTEMPTS, json!({ "id": id })).await["webhook"].take()
}

/// The attempts of a webhook's deliveries. Checks that each delivery has this status and one attempt.
fn attempts<'a>(webhook: &'a Json, status: &str) -> Vec<&'a Json> {
    let nodes = webhook["deliveries"]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| {
            assert_eq!(node["status"], status, "{webhook:#}");
            assert_eq!(node["attempts"].as_array().unwrap().len(), 1, "{webhook:#}");
            &node["attempts"][0]
        })
        .collect()
}

async fn received(receiver: &MockServer) -> usize {
    receiver.received_requests().await.unwrap().len()
}

/// The responses of the receivers of two webhooks cannot be written. Their deliveries are settled without the
/// responses, and counted once; other webhooks are settled as usual.
#[rstest]
#[case::at_once("22P05", false)]
#[case::at_the_commit("23514", true)]
#[case::always_with_the_code_of_a_deadlock("40P01", false)]
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_cannot_be_written_is_left_out(#[case] sqlstate: &str, #[case] late: bool) {
    let world = World::new().await;
    let (failing, succeeding, well) = (
        saying(500, "poison").await,
        saying(200, "poison too").await,
        saying(200, "seen").await,
    );
    let (a, b, c) = (
        webhook(&world, &failing).await,
        webhook(&world, &succeeding).await,
        webhook(&world, &well).await,
    );
    let condition = "new.response_body like 'poison%'";
    world
        .refuse("attempts", "insert", condition, sqlstate, late)
        .await;
    for _ in 0..5 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    let read_c = read(&world, &c).await;
    for attempt in attempts(&read_c, "SUCCEEDED") {
        assert_eq!(
            (&attempt["responseBody"], &attempt["responseTruncated"]),
            (&json!("seen"), &json!(false))
        );
    }
    let read_b = read(&world, &b).await;
    for attempt in attempts(&read_b, "SUCCEEDED") {
        assert_eq!(attempt["httpStatus"], 200);
        assert_eq!(
            (&attempt["responseBody"], &attempt["responseTruncated"]),
            (&Json::Null, &json!(true))
        );
        assert_eq!(attempt["responseHeaders"], json!([]));
    }
    let read_a = read(&world, &a).await;
    for attempt in attempts(&read_a, "PENDING") {
        assert_eq!(
            (&attempt["httpStatus"], &attempt["errorClass"]),
            (&json!(500), &json!("STATUS"))
        );
        assert_eq!(attempt["responseBody"], Json::Null);
    }
    assert_eq!(read_a["health"]["banCounter"], 5, "each is judged once");
    world.assert_conserved().await;
    // The retries become due as usual.
    world.advance(SignedDuration::from_secs(3)).await;
    assert_eq!(received(&failing).await, 10);
    assert_eq!(received(&well).await, 5);
}

/// If the error message is refused, number, times, status and class are recorded.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_message_that_cannot_be_written_is_replaced() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let dead = world.webhook(&ann, json!({})).await;
    let well = saying(200, "seen").await;
    let other = webhook(&world, &well).await;
    let condition =
        "new.error_message is not null and new.error_message not like 'The error message cannot be shown%'";
    world
        .refuse("attempts", "insert", condition, "22P05", false)
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let read_dead = read(&world, &dead).await;
    let attempt = attempts(&read_dead, "PENDING")[0];
    assert_eq!(
        (&attempt["number"], &attempt["errorClass"]),
        (&json!(1), &json!("CONNECT"))
    );
    assert!(
        attempt["errorMessage"]
            .as_str()
            .unwrap()
            .starts_with("The error message cannot be shown")
    );
    assert_eq!(attempts(&read(&world, &other).await, "SUCCEEDED").len(), 1);
}

/// A result that cannot be written in any form waits alone: others are settled, simulated time continues, its
/// delivery is not sent again, and it is recorded and counted once the database accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_result_waits_alone_until_it_can_be_written() {
    let world = World::new().await;
    let (bad, well) = (saying(500, "bad").await, saying(500, "seen").await);
    let (a, b) = (webhook(&world, &bad).await, webhook(&world, &well).await);
    let condition = format!("new.url like '{}%'", bad.uri());
    world
        .refuse("attempts", "insert", &condition, "P0001", false)
        .await;
    for _ in 0..3 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!(attempts(&read(&world, &b).await, "PENDING").len(), 3);
    world.advance(SignedDuration::from_secs(3)).await;
    assert_eq!(received(&well).await, 6, "others have their retries");
    let read_a = read(&world, &a).await;
    for node in read_a["deliveries"]["nodes"].as_array().unwrap() {
        assert_eq!(
            (&node["status"], &node["attempts"]),
            (&json!("PENDING"), &json!([]))
        );
    }
    assert_eq!(
        (received(&bad).await, &read_a["health"]["banCounter"]),
        (3, &json!(0))
    );

    world.refuse_no_more("attempts").await;
    let id = world.row_id(&bad.uri()).await;
    let recorded = format!("attempts where webhook = '{id}' and number = 1");
    realtime::eventually("what was aside is recorded", async || {
        world.rows(&recorded).await == 3
    })
    .await;
    world.settle().await;
    assert_eq!(
        read(&world, &a).await["health"]["banCounter"],
        3,
        "each is judged once"
    );
    world.assert_conserved().await;
}

/// A stopping server does not wait for results that it cannot write.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_unwritable_result_can_stop() {
    let world = World::new().await;
    let bad = saying(200, "bad").await;
    webhook(&world, &bad).await;
    world.refuse("attempts", "insert", "true", "P0001", false).await;
    world.publish(1, json!({})).await;
    world.settle().await;
    assert_eq!(received(&bad).await, 1);
    let World { engine, store, .. } = world;
    let stopped = realtime::within(realtime::PATIENCE, engine.stop(realtime::PATIENCE)).await;
    assert!(stopped.is_some(), "it stops");
    let conn = &mut store.conn().await.unwrap();
    let open = "deliveries where owner is null and vis_at <= '2026-11-23T10:00:00Z'";
    assert_eq!(testing::count(conn, open).await, 1, "any process may claim it");
    assert_eq!(testing::count(conn, "nodes").await, 0);
}

/// A health row or notice that cannot be written delays its own webhook's results, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_health_row_delays_no_other_webhook() {
    let world = World::new().await;
    let (bad, well) = (saying(500, "bad").await, saying(500, "seen").await);
    webhook(&world, &bad).await;
    let b = webhook(&world, &well).await;
    let id = world.row_id(&bad.uri()).await;
    let condition = format!("new.webhook = '{id}'");
    world
        .refuse("webhook_health", "update", &condition, "23514", false)
        .await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!(read(&world, &b).await["health"]["state"], "BANNED");
    let of_bad = format!("attempts where webhook = '{id}'");
    assert_eq!(
        world.rows(&of_bad).await,
        0,
        "recorded and judged together or not at all"
    );
    world.refuse_no_more("webhook_health").await;
    realtime::eventually("what was aside is recorded", async || {
        world.rows(&of_bad).await > 0
    })
    .await;
    world.assert_conserved().await;
}
