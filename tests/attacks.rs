//! Requests made to hurt are refused, whatever way they come, and the server goes on.

use tenterhook_harness::attacks::{self, Way};
use tenterhook_harness::world::World;

/// Sends all of them this way; answers which were refused otherwise than they must be.
async fn unrefused(way: Way) -> Vec<String> {
    let world = World::start().await;
    let user = world.company(1).user(7);
    let mut wrong = Vec::new();
    for attack in attacks::all() {
        let (name, expected) = (attack.name, attack.expected(way));
        match attack.send(way, &user).await {
            Ok(code) if code == expected => {}
            other => wrong.push(format!("{name}: {other:?} in place of {expected}")),
        }
    }
    world.company(1).publish().await.expect("it is still at work");
    wrong
}

/// Issue 4, Shows: over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn every_attack_over_http_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Http).await, Vec::<String>::new());
}

/// Issue 4, Shows: over WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn every_attack_over_a_socket_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Socket).await, Vec::<String>::new());
}

/// Issue 4, item 3: over server-sent events.
#[tokio::test(flavor = "multi_thread")]
async fn every_attack_that_asks_for_events_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Events).await, Vec::<String>::new());
}
