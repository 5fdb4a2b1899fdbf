use std::time::Duration;

use super::*;

async fn stalled(world: &World, method: &str, body: &str) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri("/sim/stalled")
        .header("authorization", format!("Bearer {}", world.operator().0))
        .body(Body::from(body.to_owned()))
        .unwrap();
    world.send(request).await.0.as_u16()
}

/// Whether time can move: it cannot while a request is in progress at a receiver that has not reported that it
/// stalls.
async fn moves(world: &World) -> bool {
    let clock = world.clock.simulation().unwrap();
    clock.set_watchdog(Duration::from_millis(100));
    clock.settle().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_can_be_ended_one_by_one_or_together() {
    let world = World::new().await;
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_delay(Duration::from_secs(3600)))
        .mount(&receiver)
        .await;
    let ann = world.user(1, 7);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let query =
        "query Q($id: ID!, $event: ID!) { webhook(id: $id) { number } event(id: $event) { eventId } }";
    let event = world.publish(1, json!({})).await;
    let seen = world
        .ask(&world.operator(), query, json!({ "id": id, "event": event }))
        .await;
    let attempt = json!({
        "messageId": seen["event"]["eventId"], "webhook": seen["webhook"]["number"], "attempt": 1
    })
    .to_string();
    let target = json!({ "target": receiver.address().to_string() }).to_string();
    let other = json!({ "target": "127.0.0.1:1" }).to_string();
    assert!(!moves(&world).await);
    for (method, body, after) in [
        ("POST", &attempt, true),
        ("DELETE", &other, true),
        ("DELETE", &attempt, false),
        ("POST", &target, true),
        ("DELETE", &other, true),
        ("DELETE", &target, false),
        ("POST", &target, true),
        ("DELETE", &String::new(), false),
    ] {
        assert_eq!(stalled(&world, method, body).await, 200, "{method} {body}");
        assert_eq!(moves(&world).await, after, "{method} {body}");
    }
    for body in ["{}", "nothing", r#"{"webhook":1}"#] {
        assert_eq!(stalled(&world, "DELETE", body).await, 400, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_only_an_attempt_that_a_delivery_can_have_stalls() {
    for (retries, last) in [(3, 4), (1, 2), (0, 1)] {
        let mut settings = Settings::development();
        settings.policy.retry_delays = vec![Duration::from_secs(1); retries];
        let world = World::with(settings).await;
        for (attempt, status) in [(0, 400), (1, 200), (last, 200), (last + 1, 400)] {
            let body = json!({
                "messageId": "00000000-0000-7000-8000-000000000000", "webhook": 1, "attempt": attempt
            })
            .to_string();
            for method in ["POST", "DELETE"] {
                let seen = stalled(&world, method, &body).await;
                assert_eq!(seen, status, "{method} {attempt} of {last}");
            }
        }
    }
}
