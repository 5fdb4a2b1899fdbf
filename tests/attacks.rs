//! Requests made to hurt are refused, whatever way they come, and the server goes on.

use tenterhook_harness::attacks::{self, Door, Way};
use tenterhook_harness::client::{NewEvent, NewWebhook};
use tenterhook_harness::json;
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

/// Levels of [`attacks::nested_key`] that are tried: one, what ended a process, and what is left of a megabyte.
const LEVELS: [usize; 4] = [1, 30, 60, 180];
/// The most that an event's `data` may have.
const DATA_BYTES: usize = 256 * 1024;
/// The most of them in a header.
const NARROW_LEVELS: usize = 30;

/// Issue 17, F1: a key that a JSON library uses for itself, nested as deep as a message can be, gets an ordinary answer
/// wherever JSON comes in, and the server goes on. What a process reads at its start, key sets and the settings file, is in
/// `server/tests/process/library_keys.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_nested_key_of_a_json_library_gets_an_ordinary_answer_on_every_way_in() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for door in Door::ALL {
        for levels in LEVELS {
            if door.is_narrow() && levels > NARROW_LEVELS {
                continue;
            }
            if let Err(error) = door.bring(&attacks::nested_key(levels), &world).await {
                wrong.push(format!("{door:?}, {levels} levels: {error:#}"));
            }
        }
        for key in attacks::INNER_KEYS {
            for value in ["\"[1, 2]\"", "\"not JSON\"", "7", "{}"] {
                let value = format!(r#"{{"{key}":{value}}}"#);
                if let Err(error) = door.bring(&value, &world).await {
                    wrong.push(format!("{door:?}, {value}: {error:#}"));
                }
            }
        }
        world.company(1).publish().await.expect("it is still at work");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Issue 17, F1: what stands behind the key is one string, however deep it would be if somebody parsed it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_under_a_nested_key_arrives_as_it_was_published() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    user.create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap();
    for levels in LEVELS {
        let value = attacks::nested_key(levels);
        // The same with each character written in the shortest way, as servers write it.
        let written = json::read(value.as_bytes()).expect("it is JSON").to_string();
        let event = NewEvent::new(1, "CHANGE", "deal", "8");
        match world.platform().publish_text(event, &[("data", &value)]).await {
            Ok(_) => {
                world.settle().await;
                let last = receiver.journal().all().pop().expect("it was delivered");
                let body = String::from_utf8_lossy(&last.body);
                assert!(
                    body.contains(&format!("\"data\":{written}")),
                    "{levels} levels: {body}"
                );
            }
            Err(refusal) => {
                assert_eq!(refusal.code(), "TOO_LONG", "{levels} levels");
                assert!(value.len() > DATA_BYTES, "{levels} levels: {} bytes", value.len());
            }
        }
    }
    world.verify().await;
}
