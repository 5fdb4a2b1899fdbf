//! A shortage of partitions is reported before midnight, when it would become a failure.

use diesel_async::RunQueryDsl as _;

use super::*;

/// Simulates a full disk or a missing right.
const BLOCK: [&str; 2] = [
    "create function refuse() returns event_trigger language plpgsql as $$ begin raise 'no more tables'; end $$",
    "create event trigger no_tables on ddl_command_start when tag in ('CREATE TABLE') execute function refuse()",
];

async fn asked(world: &World, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).expect("it is a path");
    let answered = world.router.clone().oneshot(request).await;
    let response = answered.expect("the router always answers");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await;
    let bytes = bytes.expect("it is all there");
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn days_ahead(world: &World) -> String {
    let (_, metrics) = asked(world, "/metrics").await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tenterhook_partition_days_ahead "));
    line.expect("the metric is there").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn readyz_reports_days_before_that_partitions_will_be_missing() {
    let world = World::new().await;
    {
        let mut conn = world.store.conn().await.unwrap();
        for statement in BLOCK {
            diesel::sql_query(statement).execute(&mut conn).await.unwrap();
        }
    }
    assert_eq!(asked(&world, "/readyz").await, (200, "ready\n".to_owned()));
    // There are partitions up to 5 December.
    world.advance(SignedDuration::from_hours(24 * 10)).await;
    assert_eq!(days_ahead(&world).await, "2");
    assert_eq!(asked(&world, "/readyz").await, (200, "ready\n".to_owned()));
    world.advance(SignedDuration::from_hours(24)).await;
    assert_eq!(days_ahead(&world).await, "1");
    let (status, text) = asked(&world, "/readyz").await;
    assert_eq!(
        (status, text.as_str()),
        (200, "ready, but partitions exist for only 1 day ahead\n")
    );
    world.advance(SignedDuration::from_hours(24)).await;
    assert_eq!(days_ahead(&world).await, "0");
    let (status, text) = asked(&world, "/readyz").await;
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("no partition for tomorrow: events_20261206"),
        "{text}"
    );
}
