//! Replacing a sealing key: what is stored under an older key is sealed anew under the first, while servers serve.
//!
//! Promises that a value never lies under no key: it is opened and sealed in one short transaction, which a user's own
//! change waits for. That it may be stopped at any time and run again, any number at once: what is sealed already is
//! passed over. Does not promise that nothing is left: a server that does not know the new key yet goes on sealing with
//! its own, which the count at the end shows.

use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_policy::sealing::{Field, Keyring, OpenError};
use tenterhook_store::sealed::{self, SealedRow};
use tenterhook_store::{Store, StoreError};

/// Webhooks that one transaction locks: so many wait if its commit is slow.
pub const BATCH: i64 = 200;

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lanes that are done.
    pub lanes: usize,
    /// Webhooks of which something was sealed anew.
    pub webhooks: u64,
    /// Webhooks of which something did not open: under a key that is not there, or damaged. It is left as it is.
    pub unopened: u64,
}

/// What one transaction came to.
struct Batch {
    last: Option<WebhookId>,
    sealed: u64,
    unopened: u64,
}

/// Seals everything anew that is not sealed under the first key, `batch` webhooks at a time, and says after each lane
/// how far it is.
pub async fn run(
    store: &Store,
    keyring: &Keyring,
    batch: i64,
    mut tell: impl FnMut(Progress),
) -> Result<Progress, StoreError> {
    let mut progress = Progress::default();
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
            let mut anew = Vec::new();
            for row in rows {
                match of_row(keyring, row) {
                    Ok(row) => anew.push(row),
                    Err((webhook, error)) => {
                        tracing::warn!(%error, %webhook, "left as it is");
                        done.unopened += 1;
                    }
                }
            }
            done.sealed = anew.len() as u64;
            if !anew.is_empty() {
                sealed::write_in_tx(conn, lane, &anew).await?;
            }
            Ok(done)
        })
        .await
}

/// All of a webhook or nothing: half of it would be as unusable.
fn of_row(keyring: &Keyring, mut row: SealedRow) -> Result<SealedRow, (WebhookId, OpenError)> {
    let fields = [
        (Field::SigningSecret, Some(&mut row.secret)),
        (Field::BasicAuth, row.auth.as_mut()),
        (Field::SigningSecret, row.previous.as_mut()),
    ];
    for (field, value) in fields {
        let Some(value) = value else { continue };
        let anew = keyring.reseal(row.webhook, field, value);
        if let Some(anew) = anew.map_err(|error| (row.webhook, error))? {
            *value = anew;
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests;
