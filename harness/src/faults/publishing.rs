//! What the platform does in a round: publish and, once, delete a webhook, again and again until it is answered.
//!
//! Promises that every event has an idempotency key and an object of its own, so that one published twice is found.

use std::time::Duration;

use jiff::Timestamp;

use super::cast::Cast;
use super::fleet::Callers;
use super::plan::PUBLISHING;
use crate::client::{NewEvent, Publication, Refusal};
use crate::dice::Dice;
use crate::realtime;
use crate::token::Claims;

/// Events of one call. Few, so that a fault meets many calls.
const BATCH: usize = 25;
/// Calls on the wire at once.
const LANES: usize = 2;
/// How long between two tries of one call.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How often one call is tried: with the pauses and the time of each try, for minutes.
const TRIES: usize = 1_200;

/// An event whose publication was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its idempotency key.
    pub key: String,
    /// What `webhook-id` carries.
    pub event: String,
    /// How many deliveries it made.
    pub deliveries: u32,
    /// Whether the answer says that it had been published before: an earlier answer was lost.
    pub before: bool,
}

/// Publishes the round's events over [`PUBLISHING`] through whichever servers answer.
///
/// # Errors
///
/// When a call is never answered, or is answered with what is no publication.
pub async fn publish(
    cast: &Cast,
    events: u32,
    seed: u64,
    callers: &Callers,
) -> anyhow::Result<Vec<Accepted>> {
    let numbers: Vec<u32> = (0..events).collect();
    let batches: Vec<&[u32]> = numbers.chunks(BATCH).collect();
    let pause = PUBLISHING * LANES as u32 / u32::try_from(batches.len().max(1))?;
    let lane = async |lane: usize| {
        let mut dice = Dice::new(seed.wrapping_add(lane as u64));
        let mut accepted = Vec::new();
        for batch in batches.iter().skip(lane).step_by(LANES) {
            accepted.extend(call(cast.company, batch, &mut dice, callers).await?);
            realtime::pause(pause).await;
        }
        anyhow::Ok(accepted)
    };
    let (mut accepted, more) = tokio::try_join!(lane(0), lane(1))?;
    accepted.extend(more);
    Ok(accepted)
}

async fn call(
    company: u64,
    batch: &[u32],
    dice: &mut Dice,
    callers: &Callers,
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
        let platform = callers.of(dice.below(usize::MAX), &Claims::of_scope("platform"));
        match platform.publish(&events).await {
            Ok(publication) => return answered(batch, &publication, key),
            Err(refusal @ Refusal::User(_)) => return Err(refusal.into()),
            Err(refusal) => last = Some(refusal),
        }
        realtime::pause(AGAIN_AFTER).await;
    }
    let last = last.map(|refusal| refusal.to_string()).unwrap_or_default();
    anyhow::bail!("a publication was never answered: {last}")
}

fn answered(
    batch: &[u32],
    publication: &Publication,
    key: impl Fn(&u32) -> String,
) -> anyhow::Result<Vec<Accepted>> {
    anyhow::ensure!(
        publication.events.len() == batch.len() && publication.user_errors.is_empty(),
        "of {} events {} were answered, and {:?}",
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

/// Deletes the doomed webhook after a while. Answers when its deletion was answered; `None` when that answer was lost
/// and a later one said that it is gone.
pub async fn delete(
    cast: &Cast,
    after: Duration,
    seed: u64,
    callers: &Callers,
) -> anyhow::Result<Option<Timestamp>> {
    let Some(doomed) = cast.doomed() else {
        return Ok(None);
    };
    realtime::pause(after).await;
    let mut dice = Dice::new(seed);
    for _ in 0..TRIES {
        let owner = callers.of(dice.below(usize::MAX), &cast.owner());
        match owner.delete_webhook(&doomed.webhook.id).await {
            Ok(_) => return Ok(Some(realtime::now())),
            Err(refusal @ Refusal::User(_)) if matches!(refusal.code(), "NOT_FOUND" | "INVALID_STATE") => {
                return Ok(None);
            }
            Err(refusal @ Refusal::User(_)) => return Err(refusal.into()),
            Err(_) => realtime::pause(AGAIN_AFTER).await,
        }
    }
    anyhow::bail!("a deletion was never answered")
}
