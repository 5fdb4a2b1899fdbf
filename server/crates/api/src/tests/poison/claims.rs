//! Claims and the changes feed: a row that cannot be read or claimed does not block others.

use super::*;

async fn received(receiver: &MockServer) -> usize {
    receiver.received_requests().await.unwrap().len()
}

async fn two_webhooks(world: &World) -> (MockServer, MockServer) {
    let (bad, well) = (receiver(500).await, receiver(500).await);
    for server in [&bad, &well] {
        let url = format!("{}/hook", server.uri());
        world
            .webhook(&world.user(1, 7), json!({ "subscriptionUrl": url }))
            .await;
    }
    (bad, well)
}

/// An event whose row cannot be read: other retries that are due at the same time are sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_delays_no_other_delivery() {
    let world = World::new().await;
    let (bad, well) = two_webhooks(&world).await;
    for _ in 0..2 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!((received(&bad).await, received(&well).await), (2, 2));
    world
        .sql("update events set object_id = '' where id = (select id from events order by id limit 1)")
        .await;
    world.advance(SignedDuration::from_secs(3)).await;
    assert_eq!((received(&bad).await, received(&well).await), (3, 3));
    assert_eq!(world.rows("deliveries").await, 4, "nothing is given up");
    world.sql("update events set object_id = '8'").await;
    // The lease of the delivery that could not be read ends.
    world.advance(SignedDuration::from_secs(100)).await;
    assert_eq!((received(&bad).await, received(&well).await), (5, 5));
    world.assert_conserved().await;
}

/// A delivery that the database refuses to lease: those before and after it are sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_cannot_be_leased_delays_no_other() {
    let world = World::new().await;
    let (bad, well) = two_webhooks(&world).await;
    for _ in 0..3 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    assert_eq!((received(&bad).await, received(&well).await), (3, 3));
    let id = world.row_id(&bad.uri()).await;
    world
        .sql(
            "create table bad_events as select id from events order by id offset 1 limit 1;
             alter table bad_events add primary key (id)",
        )
        .await;
    let condition = format!(
        "new.owner is not null and new.webhook = '{id}' and exists (select from bad_events where id = new.event)"
    );
    world
        .refuse("deliveries", "update", &condition, "XX001", false)
        .await;
    world.advance(SignedDuration::from_secs(3)).await;
    assert_eq!((received(&bad).await, received(&well).await), (5, 6));
    world.refuse_no_more("deliveries").await;
    world.advance(SignedDuration::from_secs(60)).await;
    assert_eq!(received(&bad).await, 8, "two more of two, one more of the third");
    world.assert_conserved().await;
}

/// A webhook whose row cannot be read: the changes feed with its id continues, other webhooks get their deliveries,
/// and its own deliveries are kept, not cancelled as if the webhook did not exist.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_webhook_stops_no_other_and_loses_nothing() {
    let world = World::new().await;
    let (bad, well) = two_webhooks(&world).await;
    let id = world.row_id(&bad.uri()).await;
    let told = format!(
        "insert into changes (at, lane, webhook) select now(), lane, id from webhooks where id = '{id}';
         select pg_sleep(0)"
    );
    world
        .sql(&format!(
            "update webhooks set user_id = 0 where id = '{id}'; {told}"
        ))
        .await;
    // A later change is not processed before this one.
    let ann = world.user(1, 7);
    let third = receiver(200).await;
    let created = world
        .webhook(&ann, json!({ "subscriptionUrl": third.uri() }))
        .await;
    world
        .done(&ann, "deleteWebhook", json!({ "id": created }), "")
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    assert_eq!((received(&bad).await, received(&well).await), (0, 1));
    assert_eq!(received(&third).await, 0);
    let owed = format!("deliveries where webhook = '{id}'");
    assert_eq!(world.rows(&owed).await, 1);

    world
        .sql(&format!(
            "update webhooks set user_id = 7 where id = '{id}'; {told}"
        ))
        .await;
    world.advance(SignedDuration::from_secs(120)).await;
    assert!(received(&bad).await > 0);
    world.assert_conserved().await;
}

/// D6: a lease that cannot be extended does not cost others their lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_extended_ends_alone() {
    let mut settings = Settings::development();
    settings.policy.ban_threshold = 1_000;
    let world = World::with(settings).await;
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
    world
        .sql(
            "create table bad_events as select event as id from deliveries order by event desc limit 1;
             alter table bad_events add primary key (id)",
        )
        .await;
    let condition = "new.token = old.token and exists (select from bad_events where id = new.event)";
    world
        .refuse("deliveries", "update", condition, "P0001", false)
        .await;
    world.advance(SignedDuration::from_secs(50)).await;
    let end = "timestamptz '2026-11-23T10:01:30Z'";
    let kept = format!("deliveries where number = 1 and owner is not null and vis_at > {end}");
    assert!(world.rows(&kept).await > 5);
    let lost = format!("deliveries d join bad_events b on b.id = d.event where d.vis_at = {end}");
    assert_eq!(world.rows(&lost).await, 1);
}
