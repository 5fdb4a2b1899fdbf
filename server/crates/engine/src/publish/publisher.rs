//! Publishing for the API: it passes drafts in and gets events back once they are stored (E3).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::publish::call::{Call, PublishError, Published};
use crate::publish::intake::IntakeQueue;
use tenterhook_model::event::Draft;
use tenterhook_model::ids::CompanyId;

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
