//! The platform's calls in a round: publications and one deletion of a webhook, each repeated until it gets a response.
//!
//! Every event has its own idempotency key and its own object, so that an event published twice is detected.

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;

use tenterhook_harness::client::{NewEvent, Publication, Refusal};
use tenterhook_harness::realtime::{self, Stopwatch};
use tenterhook_harness::refusal::{MARK, STATES};
use tenterhook_harness::rng::Rng;
use tenterhook_harness::token::Claims;

use super::fleet::Callers;
use super::kind::Kind;
use super::plan::{PUBLISHING, Round};
use super::receivers::Receivers;
use super::violation::{Violation, Wrong};

/// Events per call. Few, so that a fault hits many calls.
const BATCH: usize = 25;
/// Number of concurrent calls.
const LANES: usize = 2;
/// Time between two attempts of one call.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// First company id for events that Postgres refuses. These companies have no webhooks.
const FIRST_MARKED: u64 = 5_000_000_000_000;
/// Concurrent calls with such an event: enough that the server stores other calls together with one of them.
const MARKED_LANES: u64 = 12;
/// Time between two calls with such an event.
const MARKED_EVERY: Duration = Duration::from_millis(5);
/// How long to wait for a response to such a call. Another fault at the same time may prevent it.
const MARKED_LIMIT: Duration = Duration::from_secs(5);
/// Most attempts of one call. With the pauses and the time of each attempt they take minutes.
const TRIES: usize = 1_200;

/// An event whose publication got a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its idempotency key.
    pub key: String,
    /// The value of the header `webhook-id`.
    pub event: String,
    /// Number of deliveries that the response reported.
    pub deliveries: u32,
    /// Whether the response says that the event existed before, so that an earlier response was lost.
    pub before: bool,
}

/// The results of a round's publications.
#[derive(Debug, Default)]
pub struct Published {
    /// Every event whose publication got a response.
    pub accepted: Vec<Accepted>,
    /// Calls that were refused with an internal error and not because something was unavailable. They were repeated.
    pub refused: Vec<Violation>,
}

/// Publishes the round's events during [`PUBLISHING`], through any server that responds.
///
/// # Errors
///
/// If a call never gets a response, or gets one that is not a publication.
pub async fn publish(
    receivers: &Receivers,
    events: u32,
    seed: u64,
    callers: &Callers,
) -> anyhow::Result<Published> {
    let numbers: Vec<u32> = (0..events).collect();
    let batches: Vec<&[u32]> = numbers.chunks(BATCH).collect();
    let pause = PUBLISHING * LANES as u32 / u32::try_from(batches.len().max(1))?;
    let lane = async |lane: usize| {
        let mut rng = Rng::new(seed.wrapping_add(lane as u64));
        let mut published = Published::default();
        for batch in batches.iter().skip(lane).step_by(LANES) {
            let accepted = call(
                receivers.company,
                batch,
                &mut rng,
                callers,
                &mut published.refused,
            )
            .await?;
            published.accepted.extend(accepted);
            realtime::pause(pause).await;
        }
        anyhow::Ok(published)
    };
    let (mut published, more) = tokio::try_join!(lane(0), lane(1))?;
    published.accepted.extend(more.accepted);
    published.refused.extend(more.refused);
    Ok(published)
}

/// If that is one of the round's faults: publishes events of other companies that Postgres refuses, each after the
/// response to the previous one, while the round's own events are published. Returns those that were accepted.
///
/// # Errors
///
/// If a call cannot be made.
pub async fn publish_marked(round: &Round, callers: &Callers) -> anyhow::Result<Vec<Violation>> {
    if !round.faults.contains(&Kind::PoisonedEvent) {
        return Ok(Vec::new());
    }
    let lane = async |lane: u64| {
        let company = FIRST_MARKED + u64::from(round.number) * MARKED_LANES + lane;
        let mut rng = Rng::new(round.seed.wrapping_sub(lane));
        let mut accepted = Vec::new();
        let watch = Stopwatch::start();
        while watch.seconds() < PUBLISHING.as_secs_f64() {
            let data = json!({"text": format!("{MARK}{}", STATES[rng.below(STATES.len())])});
            let event = NewEvent::new(company, "CHANGE", "deal", "1").with("data", data);
            let platform = callers.of(rng.below(usize::MAX), &Claims::of_scope("platform"));
            let answer = realtime::within(MARKED_LIMIT, platform.publish(std::slice::from_ref(&event))).await;
            if let Some(Ok(publication)) = answer {
                accepted.push(Violation {
                    what: Wrong::Lost,
                    part: None,
                    evidence: format!(
                        "Postgres refused an event, but the response accepts it: {publication:?}"
                    ),
                });
            }
            realtime::pause(MARKED_EVERY).await;
        }
        anyhow::Ok(accepted)
    };
    let lanes = try_join_all((0..MARKED_LANES).map(lane)).await?;
    Ok(lanes.into_iter().flatten().collect())
}

async fn call(
    company: u64,
    batch: &[u32],
    rng: &mut Rng,
    callers: &Callers,
    refused: &mut Vec<Violation>,
) -> anyhow::Result<Vec<Accepted>> {
    let key = |number: &u32| format!("{company}-{number}");
    let events: Vec<NewEvent> = batch
        .iter()
        .map(|number| {
            let object = (number + 1).to_string();
            NewEvent::new(company, "CHANGE", "deal", &object).with("idempotencyKey", key(number))
        })
        .collect();
    let mut last = None;
    for _ in 0..TRIES {
        let platform = callers.of(rng.below(usize::MAX), &Claims::of_scope("platform"));
        match platform.publish(&events).await {
            Ok(publication) => return answered(batch, &publication, key),
            Err(refusal @ Refusal::User(_)) => return Err(refusal.into()),
            Err(refusal) => {
                if refusal.code() == "INTERNAL" {
                    refused.push(Violation {
                        what: Wrong::Refused,
                        part: None,
                        evidence: format!("a valid call was refused: {refusal}"),
                    });
                }
                last = Some(refusal);
            }
        }
        realtime::pause(AGAIN_AFTER).await;
    }
    let last = last.map(|refusal| refusal.to_string()).unwrap_or_default();
    anyhow::bail!("a publication never got a response: {last}")
}

fn answered(
    batch: &[u32],
    publication: &Publication,
    key: impl Fn(&u32) -> String,
) -> anyhow::Result<Vec<Accepted>> {
    anyhow::ensure!(
        publication.events.len() == batch.len() && publication.user_errors.is_empty(),
        "{} events were published, and the response has {}, with the errors {:?}",
        batch.len(),
        publication.events.len(),
        publication.user_errors
    );
    let pairs = batch.iter().zip(&publication.events);
    Ok(pairs
        .map(|(number, published)| Accepted {
            key: key(number),
            event: published.event.event_id.clone(),
            deliveries: published.delivery_count,
            before: published.duplicate,
        })
        .collect())
}

/// Deletes the doomed webhook after a while. Returns the time of the response; `None` if the response was lost and a
/// repeated call said that the webhook no longer exists.
pub async fn delete(
    receivers: &Receivers,
    after: Duration,
    seed: u64,
    callers: &Callers,
) -> anyhow::Result<Option<Timestamp>> {
    let Some(doomed) = receivers.doomed() else {
        return Ok(None);
    };
    realtime::pause(after).await;
    let mut rng = Rng::new(seed);
    for _ in 0..TRIES {
        let owner = callers.of(rng.below(usize::MAX), &receivers.owner());
        match owner.delete_webhook(&doomed.webhook.id).await {
            Ok(_) => return Ok(Some(realtime::now())),
            Err(refusal @ Refusal::User(_)) if matches!(refusal.code(), "NOT_FOUND" | "INVALID_STATE") => {
                return Ok(None);
            }
            Err(refusal @ Refusal::User(_)) => return Err(refusal.into()),
            Err(_) => realtime::pause(AGAIN_AFTER).await,
        }
    }
    anyhow::bail!("a deletion never got a response")
}
