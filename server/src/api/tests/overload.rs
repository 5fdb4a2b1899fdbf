//! What comes past what there is room for is refused at once, with the time to wait, and nothing accepted is lost.

use diesel_async::{AsyncConnection, RunQueryDsl as _};
use tokio::sync::oneshot;

use super::*;
use crate::store::StoreError;

fn one_of(company: u64) -> Json {
    json!([{
        "companyId": company.to_string(), "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "1",
        "data": { "title": "new" }
    }])
}

async fn call(world: &World, events: Json) -> axum::response::Response {
    let query = "mutation P($input: PublishEventsInput!) { publishEvents(input: $input) { events { index } } }";
    let body = json!({ "query": query, "variables": { "input": { "events": events } } }).to_string();
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", world.platform().0))
        .body(Body::from(body))
        .unwrap();
    world.router.clone().oneshot(request).await.unwrap()
}

/// The status, `Retry-After` if there is one, and the code if it is an error.
async fn read(response: axum::response::Response) -> (u16, Option<String>, Option<String>) {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .map(|seconds| seconds.to_str().unwrap().to_owned());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Json = serde_json::from_slice(&bytes).unwrap();
    let code = body["errors"][0]["extensions"]["code"].as_str();
    (status, retry_after, code.map(str::to_owned))
}

fn refused(status: u16, code: &str) -> (u16, Option<String>, Option<String>) {
    (status, Some("1".to_owned()), Some(code.to_owned()))
}

/// Keeps every publication from being stored until the sender is dropped.
async fn hold_up(world: &World) -> oneshot::Sender<()> {
    let (go_on, going_on) = oneshot::channel::<()>();
    let (holding, held) = oneshot::channel();
    let store = world.store.clone();
    drop(realtime::spawn(async move {
        let mut conn = store.conn().await.unwrap();
        let held_up = conn.transaction(async |conn| {
            diesel::sql_query("lock table events in exclusive mode")
                .execute(conn)
                .await?;
            holding.send(()).unwrap();
            let _ = going_on.await;
            Ok::<_, StoreError>(())
        });
        held_up.await.unwrap();
    }));
    held.await.unwrap();
    go_on
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_bounded_and_one_more_is_unavailable_with_the_time_to_wait() {
    let mut settings = Settings::development();
    settings.api.publishing_calls = 2;
    let world = Arc::new(World::with(settings).await);
    let go_on = hold_up(&world).await;
    let mut calls: Vec<_> = (1..=2)
        .map(|company| Box::pin(call(&world, one_of(company))))
        .collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    // Polled until both have taken their place: each reads its body and its token's user from the database first.
    let mut calls = futures_util::future::join_all(calls);
    let third = async {
        loop {
            let answer = read(call(&world, one_of(3)).await).await;
            if answer.0 != 200 {
                return answer;
            }
        }
    };
    let third = tokio::select! {
        _ = &mut calls => panic!("nothing can be stored"),
        third = third => third,
    };
    assert_eq!(third, refused(503, "UNAVAILABLE"));
    drop(go_on);
    for response in calls.await {
        assert_eq!(read(response).await, (200, None, None));
    }
    assert_eq!(read(call(&world, one_of(3)).await).await.0, 200);
}
