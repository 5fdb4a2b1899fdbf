//! Removing many webhooks at once (W8), batch by batch.

use super::context::Services;
use super::error::Result;
use crate::store::removal::{self, Leaving};

/// Removes all webhooks and installations of whoever leaves, and answers how many webhooks this call removed once every
/// process knows.
///
/// An app or user must be marked removed before. What a call that was cut off has left, the next one removes.
pub async fn remove_all(services: &Services, leaving: &Leaving) -> Result<i32> {
    let mut count = 0;
    let mut mark = None;
    loop {
        let now = services.clock.now();
        let removed = services
            .store
            .in_tx(async |conn| removal::batch_in_tx(conn, now, leaving).await)
            .await?;
        count += removed.webhooks;
        mark = removed.mark.or(mark);
        if removed.finished {
            break;
        }
    }
    // A process that knows of a transaction knows of all that were committed before it began.
    if let Some(mark) = mark {
        services.propagation.everywhere(mark).await;
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}
