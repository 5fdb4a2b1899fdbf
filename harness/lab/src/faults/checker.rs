//! The checker: what must be true of a round's history, whatever failed during the round.
//!
//! It judges only by the responses that the platform got, by what the API shows, and by what receivers got, never by
//! internal data of a server. It is a pure function, so that it can be tested with false histories. How long a fault
//! may delay deliveries is not checked here: see the round's stall.

mod evidence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use tenterhook_harness::client::Delivery;
use tenterhook_harness::refusal::{self, MARK, PLAIN};

use self::evidence::violation;
pub use self::evidence::{Came, Numbers, Told};
use super::publishing::Accepted;
use super::receivers::Part;
use super::violation::{Violation, Wrong};

/// Tolerance between the clocks of a server and of a receiver on a loaded machine.
const SLACK: SignedDuration = SignedDuration::from_secs(1);
/// How long a request may wait in a receiver's socket on a loaded machine.
const UNREAD: SignedDuration = SignedDuration::from_secs(5);

/// All breaches of a round.
pub fn breaches(accepted: &[Accepted], told: &[Told], numbers: &Numbers) -> Vec<Violation> {
    let mut found = accounts(accepted, told);
    for webhook in told {
        for delivery in &webhook.deliveries {
            found.extend(ending(webhook, delivery, numbers));
        }
        found.extend(wire(webhook));
        found.extend(blamed(webhook));
        found.extend(log(webhook));
        found.extend(health(webhook, numbers));
        found.extend(after_deletion(webhook, numbers));
    }
    found
}

/// Number of requests that repeat an earlier one. They are allowed (D6), and counted.
pub fn repeated(told: &[Told]) -> u64 {
    let repeats = |webhook: &Told| {
        let different: BTreeSet<(&str, u8)> = webhook
            .came
            .iter()
            .map(|came| (came.event.as_str(), came.attempt))
            .collect();
        webhook.came.len() - different.len()
    };
    told.iter().map(|webhook| repeats(webhook) as u64).sum()
}

/// Checks that every accepted event exists exactly once, and no other (E1, E3, D7).
fn accounts(accepted: &[Accepted], told: &[Told]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut counted: HashMap<&str, u32> = HashMap::new();
    for webhook in told {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for delivery in &webhook.deliveries {
            let event = delivery.event.event_id.as_str();
            *counted.entry(event).or_default() += 1;
            if !seen.insert(event) {
                found.push(violation(
                    webhook,
                    Wrong::Doubled,
                    event,
                    "two deliveries of one event",
                ));
            }
        }
        if webhook.part != Part::Doomed {
            let missing = accepted
                .iter()
                .filter(|event| !seen.contains(event.event.as_str()));
            found.extend(missing.map(|event| {
                violation(
                    webhook,
                    Wrong::Lost,
                    &event.event,
                    format!("{} was accepted, but has no delivery", event.key),
                )
            }));
        }
    }
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    for event in accepted {
        let made = counted.remove(event.event.as_str()).unwrap_or_default();
        let twice = keys.insert(&event.event, &event.key).is_some();
        let what = match (twice, made < event.deliveries) {
            (true, _) => Wrong::PublishedTwice,
            (_, true) => Wrong::Lost,
            _ if made > event.deliveries => Wrong::Doubled,
            _ => continue,
        };
        found.push(Violation {
            what,
            part: None,
            evidence: format!(
                "event {} ({}): {} deliveries were accepted, {made} exist",
                event.event, event.key, event.deliveries
            ),
        });
    }
    found.extend(counted.into_keys().map(|event| Violation {
        what: Wrong::PublishedTwice,
        part: None,
        evidence: format!("event {event} has deliveries, but no response to a publication named it"),
    }));
    found
}

/// Checks that the status of a delivery agrees with its attempts (D1, D4, D7, B4).
fn ending(webhook: &Told, delivery: &Delivery, numbers: &Numbers) -> Vec<Violation> {
    let event = delivery.event.event_id.as_str();
    let mut found = Vec::new();
    let attempts = &delivery.attempts;
    let in_order = attempts
        .iter()
        .zip(1..)
        .all(|(attempt, number)| attempt.number == number);
    if !in_order {
        found.push(violation(
            webhook,
            Wrong::Numbering,
            event,
            "attempts are not numbered 1, 2, 3",
        ));
    }
    let won = |status: Option<u16>| status.is_some_and(|status| (200..300).contains(&status));
    let (last, before) = match attempts.split_last() {
        Some((last, before)) => (Some(last), before),
        None => (None, [].as_slice()),
    };
    let before_failed = before.iter().all(|attempt| !won(attempt.http_status));
    let last_won = last.is_some_and(|attempt| won(attempt.http_status));
    let in_a_ban = || {
        let ended = delivery.finished_at.unwrap_or(Timestamp::MIN);
        let ban = |start: &Timestamp| {
            *start <= ended && delivery.created_at < after(*start, numbers.ban + numbers.apart)
        };
        webhook.bans.iter().any(ban)
    };
    let agrees = match (delivery.status.as_str(), delivery.reason.as_deref()) {
        ("SUCCEEDED", None) => last_won,
        ("FAILED", Some("EXHAUSTED")) => attempts.len() == numbers.attempts && !last_won,
        ("LOST", Some("BANNED")) => attempts.len() < numbers.attempts && !last_won && in_a_ban(),
        ("CANCELLED", Some("WEBHOOK_REMOVED")) => webhook.part == Part::Doomed && !last_won,
        ("PENDING", _) => {
            found.push(violation(
                webhook,
                Wrong::Unfinished,
                event,
                "the delivery has not ended",
            ));
            return found;
        }
        _ => false,
    };
    if !agrees || !before_failed || delivery.finished_at.is_none() {
        found.push(violation(
            webhook,
            Wrong::Ending,
            event,
            "the status of the delivery and its attempts do not agree",
        ));
    }
    found
}

/// Checks that every response in the log belongs to a request that arrived, and every request to a delivery (E7, D6).
fn wire(webhook: &Told) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut came: BTreeSet<(&str, u8)> = BTreeSet::new();
    let recorded: HashMap<&str, usize> = webhook
        .deliveries
        .iter()
        .map(|delivery| (delivery.event.event_id.as_str(), delivery.attempts.len()))
        .collect();
    for arrival in &webhook.came {
        let event = arrival.event.as_str();
        came.insert((event, arrival.attempt));
        if let Some(complaint) = arrival.complaints.first() {
            found.push(violation(webhook, Wrong::Request, event, complaint));
        }
        // One more than the log has: the server may have ended before it recorded the attempt.
        let known = recorded
            .get(event)
            .is_some_and(|attempts| usize::from(arrival.attempt) <= attempts + 1);
        if !known {
            found.push(violation(
                webhook,
                Wrong::Wire,
                event,
                "a request without a matching delivery",
            ));
        }
    }
    for delivery in &webhook.deliveries {
        let event = delivery.event.event_id.as_str();
        let answered = delivery
            .attempts
            .iter()
            .filter(|attempt| attempt.http_status.is_some());
        let unseen = answered
            .map(|attempt| attempt.number)
            .find(|number| !came.contains(&(event, *number)));
        if let Some(number) = unseen {
            let why = format!("attempt {number} has a response, but the receiver got no request");
            found.push(violation(webhook, Wrong::Wire, event, why));
        }
    }
    found
}

/// Checks a receiver that responds to every request: it may fail only by its responses, or by a time-out while a server
/// was stopped.
fn blamed(webhook: &Told) -> Vec<Violation> {
    if !webhook.well {
        return Vec::new();
    }
    let mut found = Vec::new();
    if webhook.part.always_succeeds() {
        // A server that was stopped for a moment does not explain the number of time-outs that a ban or a failed
        // delivery takes.
        found.extend(webhook.bans.iter().map(|start| Violation {
            what: Wrong::Blamed,
            part: Some(webhook.part),
            evidence: format!("banned at {start}, although its receiver never failed"),
        }));
        let failed = webhook
            .deliveries
            .iter()
            .filter(|delivery| delivery.status == "FAILED");
        found.extend(failed.map(|delivery| {
            let event = &delivery.event.event_id;
            violation(
                webhook,
                Wrong::Blamed,
                event,
                "the delivery failed, although its receiver never did",
            )
        }));
    }
    let attempts = webhook
        .deliveries
        .iter()
        .flat_map(|delivery| delivery.attempts.iter().map(move |attempt| (delivery, attempt)));
    let unreached = attempts
        .filter(|(_, attempt)| {
            attempt.http_status.is_none() && attempt.error_class.as_deref() != Some("TIMEOUT")
        })
        .map(|(delivery, attempt)| {
            let why = format!(
                "attempt {} has the error {:?}",
                attempt.number, attempt.error_message
            );
            violation(webhook, Wrong::Blamed, &delivery.event.event_id, why)
        });
    found.extend(unreached);
    found
}

/// Checks the log of a receiver for which Postgres refuses some responses: the others must be recorded unchanged (D10).
fn log(webhook: &Told) -> Vec<Violation> {
    if webhook.part != Part::Poisonous {
        return Vec::new();
    }
    let mut found = Vec::new();
    for delivery in &webhook.deliveries {
        let event = delivery.event.event_id.as_str();
        for attempt in &delivery.attempts {
            let body = attempt.response_body.as_deref().unwrap_or_default();
            let agrees = match refusal::of(event, attempt.number) {
                Some(_) => !body.contains(MARK),
                // A body that was not read completely cannot be compared.
                None => body == PLAIN || attempt.http_status.is_none() || attempt.response_truncated,
            };
            if !agrees {
                let why = format!("attempt {} is logged with the response {body:?}", attempt.number);
                found.push(violation(webhook, Wrong::Log, event, why));
            }
        }
    }
    found
}

/// Checks that counter and bans agree with the recorded first tries (B1, B2, B3).
///
/// A ban begins with the last end of the failures that caused it, in whatever order they were settled. So at least as
/// many failures as the threshold had ended by then. The log does not say which other failures the counter includes.
/// Without a ban no tolerance is needed.
fn health(webhook: &Told, numbers: &Numbers) -> Vec<Violation> {
    let failed: Vec<Timestamp> = webhook
        .deliveries
        .iter()
        .filter_map(|delivery| delivery.attempts.first())
        .filter(|attempt| attempt.number == 1 && attempt.error_class.is_some())
        .map(|attempt| attempt.ended_at)
        .collect();
    let mut bans = webhook.bans.clone();
    bans.sort_unstable();
    let mut found = Vec::new();
    let mut wrong = |what, why: String| {
        let evidence = format!(
            "{why}; {} failed first tries, counter {}, bans began at {bans:?}",
            failed.len(),
            webhook.counter
        );
        found.push(Violation {
            what,
            part: Some(webhook.part),
            evidence,
        });
    };
    let mut previous = Timestamp::MIN;
    for (place, start) in bans.iter().enumerate() {
        if *start < previous {
            wrong(
                Wrong::Ban,
                format!("the ban of {start} began before the previous ban ended"),
            );
        }
        if !failed.contains(start) {
            wrong(
                Wrong::Ban,
                format!("a ban began at {start}, but no failed first try ended then"),
            );
        }
        let so_far = failed.iter().filter(|at| *at <= start).count();
        if so_far < (place + 1) * numbers.threshold as usize {
            wrong(Wrong::Ban, format!("too few failures for {} bans", place + 1));
        }
        previous = after(*start, numbers.ban);
    }
    let since = failed.iter().filter(|at| **at >= previous).count();
    let counter = webhook.counter as usize;
    let agrees = match bans.last() {
        None => counter == since && !webhook.banned,
        Some(_) if webhook.banned => counter == numbers.threshold as usize,
        Some(_) => counter <= since,
    };
    // The counter of a removed webhook keeps its last value.
    if !agrees && webhook.part != Part::Doomed {
        wrong(
            Wrong::Counter,
            format!("{since} failures count, but the counter is {counter}"),
        );
    }
    found
}

/// Checks that no attempt starts after the response to the deletion (W8). Attempts in flight may end.
fn after_deletion(webhook: &Told, numbers: &Numbers) -> Vec<Violation> {
    let Some(deleted) = webhook.deleted else {
        return Vec::new();
    };
    let attempts = webhook.deliveries.iter().flat_map(|delivery| {
        let event = delivery.event.event_id.as_str();
        let allowed = numbers.ahead + SLACK;
        delivery
            .attempts
            .iter()
            .map(move |attempt| (event, attempt.started_at, allowed))
    });
    let came = webhook
        .came
        .iter()
        .map(|came| (came.event.as_str(), came.at, numbers.timeout + UNREAD));
    attempts
        .chain(came)
        .filter(|(_, at, allowed)| *at > after(deleted, *allowed))
        .map(|(event, at, _)| {
            let why = format!("sent at {at}, after the response to the deletion at {deleted}");
            violation(webhook, Wrong::AfterDeletion, event, why)
        })
        .collect()
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}
