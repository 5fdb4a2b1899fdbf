//! One call of `publishEvents`: its drafts, their results, and why it may be refused.

use std::sync::Arc;

use tokio::sync::oneshot;

use tenterhook_model::event::{Draft, Event};
use tenterhook_model::ids::{CompanyId, ObjectId};
use tenterhook_store::StoreError;

/// The result for one draft.
#[derive(Debug, Clone)]
pub enum Published {
    /// Stored now, with its deliveries, lost ones included.
    New {
        /// The event; for a merge, the survivor's.
        event: Event,
        /// Deliveries made, for both events of a merge.
        deliveries: u32,
    },
    /// The key was published before with the same content: the first event and its number of deliveries.
    Duplicate {
        /// The event that was stored first.
        event: Event,
        /// Deliveries made for the first event.
        deliveries: u32,
    },
    /// The key was published before with other content (E1).
    Conflict,
}

/// Why a call published nothing.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The server is stopping; another server will accept the call.
    #[error("the server is stopping")]
    Stopping,
    /// The allowed number of calls already waits to be stored; nothing of this one is stored.
    #[error("too many publications are waiting to be stored")]
    Full,
    /// The company's allowed number of events already waits to be stored; nothing of this call is stored.
    #[error("too many events of this company are waiting to be stored")]
    Crowded,
    /// The database was unavailable, or became so before the call was stored.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The database is available but refuses this call; nothing of it is stored.
    #[error(
        "a call of company {company} with {events} events, the first about {object} {object_id}, is refused: {source}"
    )]
    Refused {
        /// The company of its first event.
        company: CompanyId,
        /// Its number of events.
        events: usize,
        /// The object type of its first event.
        object: String,
        /// The object id of its first event.
        object_id: ObjectId,
        /// The database's error.
        source: Arc<StoreError>,
    },
}

impl PublishError {
    /// The error of one call whose drafts could not be stored even separately from other calls.
    pub(crate) fn of(drafts: &[Draft], error: Arc<StoreError>) -> Self {
        match drafts.first() {
            Some(first) if !error.is_unavailable() => Self::Refused {
                company: first.company,
                events: drafts.len(),
                object: first.object.clone(),
                object_id: first.object_id.clone(),
                source: error,
            },
            _ => Self::Store(error),
        }
    }
}

/// One call's drafts, which wait for the next group commit.
pub(crate) struct Call {
    pub drafts: Vec<Draft>,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}
