//! Publishing, as the API asks for it: hand drafts in, get events back once they are stored (E3).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::door::Door;
use super::metrics::Metrics;
use tenterhook_model::event::{Draft, Event};
use tenterhook_model::ids::{CompanyId, ObjectId};
use tenterhook_store::StoreError;

/// What became of one draft.
#[derive(Debug, Clone)]
pub enum Published {
    /// Stored now, with so many deliveries, lost ones included.
    New {
        /// The event; the survivor's of a merge.
        event: Event,
        /// Deliveries made, of both events of a merge.
        deliveries: u32,
    },
    /// Its key was published before with the same content: the first event, and the deliveries made then.
    Duplicate {
        /// The event that was stored first.
        event: Event,
        /// Deliveries made then.
        deliveries: u32,
    },
    /// Its key was published before with another content (E1).
    Conflict,
}

/// Why a call published nothing.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The server is stopping; another will take the call.
    #[error("the server is stopping")]
    Stopping,
    /// As many calls as allowed wait to be stored; nothing of this one is.
    #[error("as many publications as allowed wait to be stored")]
    Full,
    /// As many events of the company as allowed wait to be stored; nothing of this call is.
    #[error("as many events of this company as allowed wait to be stored")]
    Crowded,
    /// The database could not be reached, or not for long enough.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The database is there and refuses this call, by itself; nothing of it is stored.
    #[error(
        "a call of company {company} with {events} events, the first about {object} {object_id}, is refused: {source}"
    )]
    Refused {
        /// Of its first event.
        company: CompanyId,
        /// How many it has.
        events: usize,
        /// Of its first event.
        object: String,
        /// Of its first event.
        object_id: ObjectId,
        /// What the database said.
        source: Arc<StoreError>,
    },
}

impl PublishError {
    /// Why these drafts of one call could not be stored by themselves.
    pub(super) fn of(drafts: &[Draft], error: Arc<StoreError>) -> Self {
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

/// One call's drafts on their way to the next group commit.
pub(super) struct Call {
    pub drafts: Vec<Draft>,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// The handle that the API holds. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    door: Arc<Door>,
    metrics: Metrics,
}

impl Publisher {
    pub(super) fn new(door: Arc<Door>, metrics: Metrics) -> Self {
        Self { door, metrics }
    }

    /// Counts a publication that was refused before it came here, because there was no room for it.
    pub fn note_refused(&self) {
        self.metrics.publication_refused();
    }

    /// Whether so many events of a company could be taken in now; refuses them as [`publish`](Self::publish) would.
    pub fn room_for(&self, company: CompanyId, events: usize) -> Result<(), PublishError> {
        self.door.room_for(company, events)
    }

    /// Stores every draft with its deliveries, or none of them, and answers in the order given.
    ///
    /// A draft that conflicts with its idempotency key is left out alone. Answers only after the commit (E3). Refuses at
    /// once what there is no room for.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        let Some(company) = drafts.first().map(|draft| draft.company) else {
            return Ok(Vec::new());
        };
        let (answer, answered) = oneshot::channel();
        let entered = self.door.enter(company, Call { drafts, answer });
        if matches!(entered, Err(PublishError::Full | PublishError::Crowded)) {
            self.note_refused();
        }
        entered?;
        answered.await.map_err(|_| PublishError::Stopping)?
    }
}
