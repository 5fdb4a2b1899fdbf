use super::*;
use tenterhook_graphql_http::cors::KNOWN_HEADERS;

const PAGE: &str = "https://app.example.com";

async fn world(headers: &[&str]) -> World {
    let mut settings = Settings::development();
    settings.api.cors_origins = vec![PAGE.to_owned()];
    settings.api.cors_headers = headers.iter().map(|&name| name.to_owned()).collect();
    World::with(settings).await
}

/// The response to a preflight for these headers.
async fn preflight(world: &World, headers: &str) -> axum::response::Response {
    let request = Request::options("/graphql")
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", headers)
        .body(Body::empty())
        .unwrap();
    world.router.clone().oneshot(request).await.unwrap()
}

fn list(response: &axum::response::Response, name: &str) -> Vec<String> {
    let value = response
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("no {name}"));
    let names = value.to_str().unwrap().split(',');
    names.map(|name| name.trim().to_lowercase()).collect()
}

/// The names in `asked` that are not allowed; the browser sends nothing if there is one.
async fn refused(world: &World, asked: &str) -> Vec<String> {
    let response = preflight(world, asked).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
    let allowed = list(&response, "access-control-allow-headers");
    assert!(
        !allowed.contains(&"*".to_owned()),
        "a star leaves out `authorization`"
    );
    let asked = asked.split(',').map(str::to_owned);
    asked.filter(|name| !allowed.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_send_headers_of_clients_trackers_and_tracing() {
    let world = world(&[]).await;
    for asked in [
        "authorization,content-type,apollographql-client-name,baggage,sentry-trace,traceparent",
        "apollo-require-preflight,apollographql-client-version,authorization,x-apollo-operation-name",
        "accept-language,authorization,idempotency-key,last-event-id,x-request-id",
        "authorization,b3,tracestate,x-b3-sampled,x-b3-spanid,x-b3-traceid",
        "authorization,traceparent,x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
        &KNOWN_HEADERS.join(","),
    ] {
        assert_eq!(refused(&world, asked).await, Vec::<String>::new(), "{asked}");
    }
    assert_eq!(
        refused(&world, "authorization,x-tenant-id").await,
        ["x-tenant-id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_allows_more_headers_or_all() {
    let asked = "authorization,traceparent,x-tenant-id";
    assert!(
        refused(&world(&["X-Tenant-ID", "x-other"]).await, asked)
            .await
            .is_empty()
    );
    assert!(refused(&world(&["*"]).await, asked).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_read_retry_after_and_x_request_id() {
    let world = world(&[]).await;
    let request = Request::post("/graphql")
        .header("origin", PAGE)
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let exposed = list(&response, "access-control-expose-headers");
    assert_eq!(exposed, ["retry-after", "x-request-id"]);
    assert!(response.headers().contains_key("x-request-id"));
}

#[test]
fn known_headers_are_lower_case_unique_and_documented() {
    let mut names = KNOWN_HEADERS.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KNOWN_HEADERS.len(), "one is there twice");
    let page = include_str!("../../../../../docs/graphql.md");
    for name in names {
        assert_eq!(name, name.to_lowercase());
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/graphql.md does not list {name}"
        );
    }
}
