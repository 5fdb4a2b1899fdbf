//! Replaces a sealing key: values stored under an older key are sealed again under the first, while servers run.
//!
//! Guarantees:
//!
//! - A value is always sealed under a key: it is opened and sealed again in one short transaction. A user's change of
//!   the same webhook waits for it.
//! - It may be stopped at any time and run again, several at once too. Values that already have the first key are
//!   skipped.
//!
//! Not guaranteed: that no older value is left. A server that does not know the new key yet still seals with its own.
//! The count at the end shows that.

use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::sealing::{Field, Keyring, OpenError};
use tenterhook_store::sealed::{self, SealedRow};
use tenterhook_store::{Store, StoreError};

/// Webhooks that one transaction locks. Changes to them wait if its commit is slow.
pub const BATCH: i64 = 200;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResealProgress {
    /// Lanes that are done.
    pub lanes: usize,
    /// Webhooks with at least one value sealed again.
    pub webhooks: u64,
    /// Webhooks with a value that did not open: its key is missing, or it is damaged. They are left unchanged.
    pub unopened: u64,
}

/// The result of one transaction.
struct Batch {
    last: Option<WebhookId>,
    sealed: u64,
    unopened: u64,
}

/// Seals every value again that is not sealed under the first key, `batch` webhooks at a time. Reports its progress
/// after each lane.
pub async fn run(
    store: &Store,
    keyring: &Keyring,
    batch: i64,
    mut tell: impl FnMut(ResealProgress),
) -> Result<ResealProgress, StoreError> {
    let mut progress = ResealProgress::default();
    for lane in Lane::all() {
        let mut after = Some(WebhookId(uuid::Uuid::nil()));
        while let Some(last) = after {
            let done = reseal(store, keyring, lane, last, batch).await?;
            progress.webhooks += done.sealed;
            progress.unopened += done.unopened;
            after = done.last;
        }
        progress.lanes += 1;
        tell(progress);
    }
    Ok(progress)
}

async fn reseal(
    store: &Store,
    keyring: &Keyring,
    lane: Lane,
    after: WebhookId,
    batch: i64,
) -> Result<Batch, StoreError> {
    store
        .in_tx(async |conn| {
            let prefix = keyring.prefix();
            let rows = sealed::lock_others_in_tx(conn, lane, after, &prefix, batch).await?;
            let mut done = Batch {
                last: rows.last().map(|row| row.webhook),
                sealed: 0,
                unopened: 0,
            };
            let mut resealed = Vec::new();
            for row in rows {
                match of_row(keyring, row) {
                    Ok(row) => resealed.push(row),
                    Err((webhook, error)) => {
                        tracing::warn!(%error, %webhook, "a webhook's secrets cannot be decrypted and were not resealed");
                        done.unopened += 1;
                    }
                }
            }
            done.sealed = resealed.len() as u64;
            if !resealed.is_empty() {
                sealed::write_in_tx(conn, lane, &resealed).await?;
            }
            Ok(done)
        })
        .await
}

/// Seals all values of a webhook or none: half of them would be just as unusable.
fn of_row(keyring: &Keyring, mut row: SealedRow) -> Result<SealedRow, (WebhookId, OpenError)> {
    let fields = [
        (Field::SigningSecret, Some(&mut row.secret)),
        (Field::BasicAuth, row.auth.as_mut()),
        (Field::SigningSecret, row.previous.as_mut()),
    ];
    for (field, value) in fields {
        let Some(value) = value else { continue };
        let resealed = keyring.reseal(row.webhook, field, value);
        if let Some(resealed) = resealed.map_err(|error| (row.webhook, error))? {
            *value = resealed;
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests;
