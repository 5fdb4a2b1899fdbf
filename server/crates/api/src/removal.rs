//! Removes many webhooks at once (W8), in batches.

use crate::context::Services;
use crate::error::{ApiError, Result};
use tenterhook_store::removal::{self, Leaving, Pace, Refusal};

/// Removes all webhooks and installations of a removed app or user. Returns how many webhooks this call removed, once
/// every process knows.
///
/// Mark the app or user as removed before. If a call is interrupted, the next one removes the rest. A webhook that
/// the database refuses to remove, or whose rows another transaction keeps locked, does not stop the others: the call
/// fails after all others are removed.
pub async fn remove_all(services: &Services, leaving: &Leaving) -> Result<i32> {
    let mut count = 0;
    let mut mark = None;
    let mut pace = Pace::Together;
    let refused = loop {
        let now = services.clock.now();
        let removed = services
            .store
            .in_tx(async |conn| removal::batch_in_tx(conn, now, leaving, pace).await)
            .await;
        let removed = match removed {
            Err(error) if pace == Pace::Together && !error.is_away() => {
                tracing::warn!(%error, "a batch of webhooks could not be removed; removing them one by one");
                pace = Pace::OneByOne;
                continue;
            }
            removed => removed?,
        };
        count += removed.webhooks;
        mark = removed.mark.or(mark);
        if removed.finished {
            break removed.refused;
        }
    };
    // A process that has read a transaction has read all that were committed before it began.
    if let Some(mark) = mark {
        services.propagation.propagate_to_all(&mark).await;
    }
    if let Some(Refusal { webhook, why, .. }) = refused.first() {
        let more = refused.len() - 1;
        let error = format!("webhook {webhook} and {more} more could not be removed: {why}");
        return Err(match refused.iter().all(|refusal| refusal.is_locked) {
            true => ApiError::unavailable(error),
            false => ApiError::internal(error),
        });
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}
