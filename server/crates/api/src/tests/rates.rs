//! Rate limits of callers.

use std::time::Duration;

use super::*;

fn limited() -> Settings {
    let mut settings = Settings::development();
    // So slow that no request becomes available again during a test.
    settings.api.rate_per_token = 1;
    settings.api.rate_per_company = 1;
    settings.api.rate_of_platform = 1;
    settings.api.rate_of_publishing = 1;
    settings.api.rate_burst = Duration::from_secs(3);
    settings
}

async fn ask(world: &World, token: &Token, query: &str) -> axum::response::Response {
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", token.0))
        .body(Body::from(json!({ "query": query }).to_string()))
        .unwrap();
    world.router.clone().oneshot(request).await.unwrap()
}

async fn body(response: axum::response::Response) -> Json {
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_the_limit_is_refused_with_retry_after() {
    let mut settings = limited();
    settings.api.rate_burst = Duration::from_secs(3000);
    let world = World::with(settings).await;
    let ann = world.user(1, 7);
    // Requests that are refused for another reason count too.
    let first = body(ask(&world, &ann, "{ nothing }").await).await;
    assert_eq!(first["extensions"]["rateLimit"]["limit"], 3000);
    let answer = body(ask(&world, &ann, "{ viewer { userId } }").await).await;
    let left = &answer["extensions"]["rateLimit"];
    assert!(left["remaining"].as_u64().unwrap() >= 2998, "{left}");
    let reset: Timestamp = left["resetAt"].as_str().unwrap().parse().unwrap();
    assert!(reset > world.clock.now(), "{left}");
    let world = World::with(limited()).await;
    let ann = world.user(1, 7);
    let mut refused = None;
    for _ in 0..50 {
        let response = ask(&world, &ann, "{ viewer { userId } }").await;
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status(), 200);
    }
    let response = refused.expect("fifty requests take less than fifty seconds");
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let answer = body(response).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    assert_eq!(answer["errors"][0]["extensions"]["retryAfter"], 1);
    assert_eq!(answer["extensions"]["rateLimit"]["remaining"], 0);
    assert!(answer.get("data").is_none());
    assert_eq!(
        ask(&world, &world.user(2, 7), "{ viewer { userId } }")
            .await
            .status(),
        200,
        "another company's user is not held up"
    );
}

/// Whether the limit is reached within 50 requests.
async fn is_exhausted(world: &World, token: &Token, query: &str) -> bool {
    for _ in 0..50 {
        if ask(world, token, query).await.status() == 429 {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subject_of_the_platform_has_its_own_limit() {
    let mut settings = limited();
    settings.api.rate_of_platform = 1_000;
    settings.api.rate_per_platform_token = 1;
    settings.api.rate_burst = Duration::from_secs(30);
    let world = World::with(settings).await;
    let token = |subject: Json| {
        let mut claims = json!({ "scope": "platform" });
        claims
            .as_object_mut()
            .unwrap()
            .extend(subject.as_object().unwrap().clone());
        world.token(claims)
    };
    let read = "{ viewer { scopes } }";
    let crm = token(json!({ "sub": "crm" }));
    assert!(is_exhausted(&world, &crm, read).await);
    let left = async |token: &Token| {
        let answer = body(ask(&world, token, read).await).await;
        answer["extensions"]["rateLimit"]["remaining"].as_u64().unwrap()
    };
    // The subject identifies the token, whatever else changes in it; without one its own id does.
    let renewed = token(json!({ "sub": "crm", "jti": "2" }));
    assert!(left(&renewed).await < 15, "what a slow machine may have filled");
    for other in [
        json!({ "sub": "billing" }),
        json!({ "jti": "1" }),
        json!({ "jti": "2" }),
        json!({}),
    ] {
        assert_eq!(left(&token(other.clone())).await, 29, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_publishing_have_separate_limits_and_operators_none() {
    let world = World::with(limited()).await;
    let platform = world.platform();
    let read = "{ viewer { scopes } }";
    let publish = "mutation { publishEvents(input: {events: []}) { events { index } } }";
    assert!(is_exhausted(&world, &platform, read).await);
    assert_eq!(ask(&world, &platform, publish).await.status(), 200);
    assert!(is_exhausted(&world, &platform, publish).await);
    for _ in 0..20 {
        let response = ask(&world, &world.operator(), read).await;
        assert_eq!(response.status(), 200);
        assert!(body(response).await["extensions"].get("rateLimit").is_none());
    }
}
