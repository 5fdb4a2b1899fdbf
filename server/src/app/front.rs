//! What the server answers while it starts and stops.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Alive from the beginning, ready when everything else is, and not ready any more once it is to stop. `starting` has the
/// routes until there are those of `ready`.
pub(super) fn front(ready: Arc<OnceLock<Router>>, starting: Router, leaving: CancellationToken) -> Router {
    let alive = get(|| async { "alive" });
    Router::new()
        .route("/livez", alive)
        .fallback(move |request: Request| {
            let router = ready.get().unwrap_or(&starting).clone();
            let left = leaving.is_cancelled() && request.uri().path() == "/readyz";
            async move {
                if left {
                    (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
                } else {
                    router.oneshot(request).await.into_response()
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Method;
    use tenterhook_api as api;
    use tenterhook_clock::Clock;

    use super::*;

    async fn ask(method: Method, path: &str) -> (u16, String, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-request-id", "one");
        let starting = api::starting(Clock::system());
        let front = front(Arc::default(), starting, CancellationToken::new());
        let response = front.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let header = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let names = ["content-type", "retry-after", "x-request-id"];
        let headers = names.map(header).join(" ");
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (
            head.status.as_u16(),
            headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn requests_before_the_start_get_503_with_retry_after() {
        for method in [Method::GET, Method::POST] {
            let (status, headers, body) = ask(method, "/graphql").await;
            assert_eq!(
                (status, headers.as_str()),
                (503, "application/json; charset=utf-8 1 one")
            );
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["errors"][0]["extensions"]["code"], "UNAVAILABLE");
        }
        for path in ["/v1/webhooks", "/api/v1/webhooks", "/v1/webhooks/8"] {
            let (status, headers, body) = ask(Method::DELETE, path).await;
            assert_eq!(
                (status, headers.as_str()),
                (503, "application/json; charset=utf-8 1 one")
            );
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["errorCode"], 503, "{path}");
        }
        let (status, headers, body) = ask(Method::GET, "/readyz").await;
        assert_eq!(
            (status, headers.as_str(), body.as_str()),
            (503, "text/plain; charset=utf-8 1 one", "starting")
        );
        assert_eq!(ask(Method::GET, "/livez").await.0, 200);
    }
}
