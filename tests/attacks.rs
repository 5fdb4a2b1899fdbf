//! Damaging requests are refused over every transport, and the server keeps running.

use tenterhook_harness::attacks::{self, Door, Way};
use tenterhook_harness::client::{NewEvent, NewWebhook};
use tenterhook_harness::json;
use tenterhook_harness::world::World;

/// Sends every attack this way. Returns those whose response was not the expected refusal.
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

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_over_http_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Http).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_over_a_socket_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Socket).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_over_server_sent_events_is_refused_with_its_code() {
    assert_eq!(unrefused(Way::Events).await, Vec::<String>::new());
}

/// Levels of [`attacks::nested_key`] to try: one, the number that once crashed a process, and as many as fit into a
/// megabyte.
const LEVELS: [usize; 4] = [1, 30, 60, 180];
/// Largest `data` of an event, in bytes.
const DATA_BYTES: usize = 256 * 1024;
/// Most levels that fit into a header.
const NARROW_LEVELS: usize = 30;

/// A key that a JSON library uses internally, nested as deep as a message can be, gets an ordinary response wherever
/// the server reads JSON, and the server keeps running. Key sets and the settings file, which a process reads at its
/// start, are in `server/tests/process/library_keys.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_nested_internal_key_gets_an_ordinary_response_everywhere() {
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

/// The value of the key is one string, even if it would be nested deeply when parsed.
#[tokio::test(flavor = "multi_thread")]
async fn values_under_a_nested_key_are_delivered_unchanged() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    user.create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap();
    for levels in LEVELS {
        let value = attacks::nested_key(levels);
        // The same, with each character written in its shortest form, as servers write it.
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
