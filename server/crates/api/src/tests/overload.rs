//! Calls over a limit are refused at once, with the time to wait, and no accepted event is lost.

use diesel_async::{AsyncConnection, RunQueryDsl as _};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use super::*;
use tenterhook_store::StoreError;

fn one_of(company: u64) -> Json {
    json!([{
        "companyId": company.to_string(), "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "1",
        "data": { "title": "new" }
    }])
}

async fn call(world: &World, events: Json) -> axum::response::Response {
    let query =
        "mutation P($input: PublishEventsInput!) { publishEvents(input: $input) { events { index } } }";
    let body = json!({ "query": query, "variables": { "input": { "events": events } } }).to_string();
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", world.platform().0))
        .body(Body::from(body))
        .expect("these are headers");
    let answered = world.router.clone().oneshot(request).await;
    answered.expect("the router always answers")
}

/// The status, `Retry-After` if there is one, and the code if it is an error.
async fn read(response: axum::response::Response) -> (u16, Option<String>, Option<String>) {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .map(|seconds| seconds.to_str().expect("it is a number").to_owned());
    let bytes = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("it is all there");
    let body: Json = serde_json::from_slice(&bytes).expect("every answer is JSON");
    let code = body["errors"][0]["extensions"]["code"].as_str();
    (status, retry_after, code.map(str::to_owned))
}

fn refused(status: u16, code: &str) -> (u16, Option<String>, Option<String>) {
    (status, Some("1".to_owned()), Some(code.to_owned()))
}

/// Blocks storing any publication until the sender is dropped.
async fn hold_up(world: &World) -> oneshot::Sender<()> {
    let (go_on, going_on) = oneshot::channel::<()>();
    let (holding, held) = oneshot::channel();
    let store = world.store.clone();
    drop(realtime::spawn(async move {
        let mut conn = store.conn().await.expect("the database is there");
        let held_up = conn.transaction(async |conn| {
            diesel::sql_query("lock table events in exclusive mode")
                .execute(conn)
                .await?;
            holding.send(()).expect("the test waits for it");
            let _ = going_on.await;
            Ok::<_, StoreError>(())
        });
        held_up.await.expect("the database is there");
    }));
    held.await.expect("the table can be locked");
    go_on
}

/// Makes all of these calls at once while nothing can be stored, and waits for the first refusal. Then unblocks the
/// others; returns the refusal and their responses.
async fn flooded(
    world: &World,
    companies: &[u64],
) -> (
    (u16, Option<String>, Option<String>),
    Vec<(u16, Option<String>, Option<String>)>,
) {
    let go_on = hold_up(world).await;
    let mut calls: FuturesUnordered<_> = companies
        .iter()
        .map(|company| call(world, one_of(*company)))
        .collect();
    let refused = read(calls.next().await.expect("there are calls")).await;
    drop(go_on);
    let others = calls.then(read).collect().await;
    (refused, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_the_limit_is_unavailable_with_retry_after() {
    let mut settings = Settings::development();
    settings.api.publishing_calls = 2;
    let world = World::with(settings).await;
    let (third, others) = flooded(&world, &[1, 2, 3]).await;
    assert_eq!(third, refused(503, "UNAVAILABLE"));
    assert_eq!(others, [(200, None, None), (200, None, None)]);
    assert_eq!(stored(&world).await, 2);
    assert_eq!(read(call(&world, one_of(3)).await).await, (200, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_memory_limit_is_refused_unread() {
    let mut settings = Settings::development();
    settings.api.publishing_memory = 1024;
    let world = World::with(settings).await;
    let answer = read(call(&world, one_of(1)).await).await;
    assert_eq!(answer, refused(503, "UNAVAILABLE"));
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_flooding_company_is_rate_limited() {
    let mut settings = Settings::development();
    settings.api.publishing_of_company = 1;
    let world = World::with(settings).await;
    // Two groups of the company are stored at a time, one call waits, and one exceeds the limit.
    let (one, others) = flooded(&world, &[1, 1, 1, 1, 2]).await;
    assert_eq!(one, refused(429, "RATE_LIMITED"));
    let accepted = others
        .iter()
        .filter(|answer| **answer == (200, None, None))
        .count();
    assert!(accepted >= 2, "{others:?}");
    assert_eq!(stored(&world).await, accepted as i64, "{others:?}");
    assert_eq!(stored_of(&world, 2).await, 1, "{others:?}");
}

async fn stored(world: &World) -> i64 {
    counted(world, "true").await
}

async fn stored_of(world: &World, company: u64) -> i64 {
    counted(world, &format!("company = {company}")).await
}

async fn counted(world: &World, which: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let mut conn = world.store.conn().await.expect("the database is there");
    let query = diesel::sql_query(format!("select count(*) as count from events where {which}"));
    let row: Count = query
        .get_result(&mut conn)
        .await
        .expect("the events can be counted");
    row.count
}
