//! What the checker judges by, and how it describes a violation.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use tenterhook_harness::client::Delivery;

use crate::faults::receivers::Part;
use crate::faults::violation::{Violation, Wrong};

/// The settings of the servers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Most attempts of a delivery (D4).
    pub attempts: usize,
    /// Number of failed first tries that cause a ban (B2).
    pub threshold: u32,
    /// Duration of a ban (B2).
    pub ban: SignedDuration,
    /// The time-out of an attempt (D2).
    pub timeout: SignedDuration,
    /// How far the servers' clock can be ahead of the receivers'.
    pub ahead: SignedDuration,
    /// Largest difference between two times that denote the same moment. They differ while the servers' clock steps,
    /// and because a publication has the time of its beginning.
    pub apart: SignedDuration,
}

/// A request that a receiver got.
#[derive(Debug, Clone)]
pub struct Came {
    /// The time of arrival.
    pub at: Timestamp,
    /// The id of the event.
    pub event: String,
    /// The attempt number.
    pub attempt: u8,
    /// What is wrong with the request.
    pub complaints: Vec<String>,
}

/// All that is known of one webhook at the end of a round.
#[derive(Debug, Clone)]
pub struct Told {
    /// The behaviour of its receiver.
    pub part: Part,
    /// Whether the receiver responded to every request, and could be reached all the time.
    pub well: bool,
    /// Its deliveries in the API.
    pub deliveries: Vec<Delivery>,
    /// The beginnings of its bans, from its notices.
    pub bans: Vec<Timestamp>,
    /// Its ban counter in the API.
    pub counter: u32,
    /// Whether it is banned in the API.
    pub banned: bool,
    /// The requests that its receiver got.
    pub came: Vec<Came>,
    /// The time of the response to its deletion.
    pub deleted: Option<Timestamp>,
}

/// A violation at a webhook, with everything that is known of the event.
pub(super) fn violation(webhook: &Told, what: Wrong, event: &str, why: impl fmt::Display) -> Violation {
    let deliveries = webhook
        .deliveries
        .iter()
        .filter(|delivery| delivery.event.event_id == event);
    let mut evidence = format!("{why}\n  event {event}");
    for delivery in deliveries {
        evidence += &format!(
            "\n  delivery {} {} {:?}, created {}, ended {:?}",
            delivery.id, delivery.status, delivery.reason, delivery.created_at, delivery.finished_at
        );
        for attempt in &delivery.attempts {
            evidence += &format!(
                "\n    attempt {}: {} to {}, {:?} {:?}",
                attempt.number,
                attempt.started_at,
                attempt.ended_at,
                attempt.http_status,
                attempt.error_class
            );
        }
    }
    for came in webhook.came.iter().filter(|came| came.event == event) {
        evidence += &format!("\n  received {}: attempt {}", came.at, came.attempt);
    }
    Violation {
        what,
        part: Some(webhook.part),
        evidence,
    }
}
