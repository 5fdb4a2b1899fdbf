//! Publishing for the API: it passes drafts in and gets events back once they are stored (E3).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::publish::intake::IntakeQueue;
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
    #[error("as many publications as allowed wait to be stored")]
    Full,
    /// The company's allowed number of events already waits to be stored; nothing of this call is stored.
    #[error("as many events of this company as allowed wait to be stored")]
    Crowded,
    /// The database was not reachable, or not for long enough.
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
    /// Why the drafts of one call could not be stored alone.
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

/// One call's drafts on their way to the next group commit.
pub(crate) struct Call {
    pub drafts: Vec<Draft>,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// The API's handle. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    intake: Arc<IntakeQueue>,
    metrics: Metrics,
}

impl Publisher {
    pub(crate) fn new(intake: Arc<IntakeQueue>, metrics: Metrics) -> Self {
        Self { intake, metrics }
    }

    /// Counts a publication that was refused before it came here, because there was no room for it.
    pub fn note_refused(&self) {
        self.metrics.publication_refused();
    }

    /// Whether this number of events of a company would be accepted now. If not, returns the error that
    /// [`publish`](Self::publish) would return.
    pub fn room_for(&self, company: CompanyId, events: usize) -> Result<(), PublishError> {
        self.intake.room_for(company, events)
    }

    /// Stores every draft with its deliveries, or none of them. The results have the order of the drafts.
    ///
    /// A draft that conflicts with its idempotency key is left out alone. Returns only after the commit (E3). Refuses at
    /// once if there is no room.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        let Some(company) = drafts.first().map(|draft| draft.company) else {
            return Ok(Vec::new());
        };
        let (answer, answered) = oneshot::channel();
        let enqueued = self.intake.enqueue(company, Call { drafts, answer });
        if matches!(enqueued, Err(PublishError::Full | PublishError::Crowded)) {
            self.note_refused();
        }
        enqueued?;
        answered.await.map_err(|_| PublishError::Stopping)?
    }
}
