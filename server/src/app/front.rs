//! What the server answers while it starts and stops.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use tenterhook_api as api;

/// Alive from the beginning, ready when everything else is, and not ready any more once it is to stop.
pub(super) fn front(ready: Arc<OnceLock<Router>>, leaving: CancellationToken) -> Router {
    let alive = get(|| async { "alive" });
    Router::new()
        .route("/livez", alive)
        .fallback(move |request: Request| {
            let router = ready.get().cloned();
            let left = leaving.is_cancelled() && request.uri().path() == "/readyz";
            async move {
                if left {
                    (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
                } else {
                    forward(router, request).await
                }
            }
        })
}

async fn forward(router: Option<Router>, request: Request) -> Response {
    match router {
        Some(router) => router.oneshot(request).await.into_response(),
        None => api::not_started(request.uri().path()).unwrap_or_else(|| {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", "1")],
                "starting",
            )
                .into_response()
        }),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Method;

    use super::*;

    async fn ask(method: Method, path: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let front = front(Arc::default(), CancellationToken::new());
        let response = front.oneshot(request.unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let header = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let headers = format!("{} {}", header("content-type"), header("retry-after"));
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
                (503, "application/json; charset=utf-8 1")
            );
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["errors"][0]["extensions"]["code"], "UNAVAILABLE");
        }
        for path in ["/v1/webhooks", "/api/v1/webhooks", "/v1/webhooks/8"] {
            let (status, headers, body) = ask(Method::DELETE, path).await;
            assert_eq!(
                (status, headers.as_str()),
                (503, "application/json; charset=utf-8 1")
            );
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["errorCode"], 503, "{path}");
        }
        let (status, headers, body) = ask(Method::GET, "/readyz").await;
        assert_eq!(
            (status, headers.as_str(), body.as_str()),
            (503, "text/plain; charset=utf-8 1", "starting")
        );
        assert_eq!(ask(Method::GET, "/livez").await.0, 200);
    }
}
