//! Scripts as text and as behaviours.

use super::script::{MAX_ENTRIES, MAX_TIMES};
use super::*;

fn first(script: &str, count: usize) -> Vec<String> {
    let script: Script = script.parse().unwrap();
    (0..count)
        .map(|place| script.behaviour(place).to_string())
        .collect()
}

fn complaint(script: &str) -> String {
    script.parse::<Script>().unwrap_err().to_string()
}

#[test]
fn entries_apply_in_order_and_the_last_one_repeats() {
    assert_eq!(
        first("fail:3, hang,ok", 6),
        [
            "answered 500",
            "answered 500",
            "answered 500",
            "answered with the fault hang-before-headers",
            "answered 200",
            "answered 200"
        ]
    );
    assert_eq!(
        first("delay:2s:2,410:1,reset-in-body:7", 5),
        [
            "answered 200 after 2s",
            "answered 200 after 2s",
            "answered 410",
            "answered with the fault reset-in-body",
            "answered with the fault reset-in-body"
        ]
    );
}

#[test]
fn every_fault_can_be_scripted_by_its_name() {
    for fault in Fault::all() {
        assert_eq!(
            first(&fault.name(), 1),
            [format!("answered with the fault {fault}")]
        );
    }
}

#[test]
fn an_invalid_script_is_refused_with_its_place_and_a_remedy() {
    for (script, expected) in [
        ("", "entry 1: an entry is empty"),
        ("ok,,fail", "entry 2: an entry is empty"),
        ("ok,fial", "entry 2: `fial` must be `ok`, `fail`"),
        ("fail:0", "entry 1: `0` is not a count"),
        ("fail:many", "entry 1: `many` is not a count"),
        ("fail:3:3", "entry 1: nothing can follow the count"),
        ("delay", "entry 1: `delay` needs a time, as in `delay:2s`"),
        ("delay:soon", "entry 1: `soon` is not a time"),
        ("delay:-2s", "entry 1: `-2s` is negative"),
        ("ok,100", "entry 2: `100` is not a final status"),
        ("1000", "entry 1: `1000` is not a final status"),
    ] {
        let complaint = complaint(script);
        assert!(complaint.starts_with(expected), "{script:?}: {complaint}");
    }
    assert!(complaint("hng").contains("drip-headers"), "it lists the faults");
}

#[test]
fn a_script_is_bounded() {
    let longest = vec!["ok"; MAX_ENTRIES].join(",");
    assert!(longest.parse::<Script>().is_ok());
    let complaint_of_longer = complaint(&format!("{longest},ok"));
    assert!(complaint_of_longer.contains("at most 100 entries, this one has 101"));
    assert!(format!("fail:{MAX_TIMES}").parse::<Script>().is_ok());
    assert!(complaint(&format!("fail:{}", MAX_TIMES + 1)).contains("is not a count"));
}

/// Posts as this attempt of a delivery. Returns the status, or 0 if there is no response.
async fn attempt(receiver: &WireReceiver, event: &str, attempt: u8) -> u16 {
    let request = client(None)
        .post(receiver.url())
        .header("webhook-id", event)
        .header("tenterhook-attempt", attempt.to_string())
        .send()
        .await;
    request.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test]
async fn attempts_of_each_delivery_are_counted_on_their_own() {
    let script: Script = "fail:2,reset-at-once,ok".parse().unwrap();
    let receiver = receiver(script.by_attempt()).await;
    for event in ["a", "b"] {
        for (number, status) in [(1, 500), (2, 500), (3, 0), (4, 200)] {
            assert_eq!(
                attempt(&receiver, event, number).await,
                status,
                "{event} {number}"
            );
        }
    }
    assert_eq!(receiver.journal().len(), 8);
}

#[tokio::test]
async fn a_script_can_count_connections_or_requests() {
    let by_connection = receiver(200).await;
    let script: Script = "reset-at-once,503,ok".parse().unwrap();
    let scripted = WireReceiver::start(
        Listen::default(),
        Arc::new(RealTime),
        Keyring::default(),
        script.by_connection(),
    )
    .await
    .unwrap();
    for status in [0, 503, 200, 200] {
        assert_eq!(attempt(&scripted, "e", 1).await, status);
    }
    by_connection.behave(Behaviour::in_turn(
        [Behaviour::from(404), Fault::HalfClose.into()],
        201,
    ));
    for status in [404, 0, 201, 201] {
        assert_eq!(attempt(&by_connection, "e", 1).await, status);
    }
    by_connection.behave(Behaviour::by_attempt([500, 502], 200));
    assert_eq!(attempt(&by_connection, "e", 2).await, 502);
}
