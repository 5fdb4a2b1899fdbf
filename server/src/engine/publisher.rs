//! Publishing, as the API asks for it: hand drafts in, get events back once they are stored (E3).

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::model::event::{Draft, Event};
use crate::store::StoreError;

/// How many calls may wait for the next group commit; one more waits at the door.
const WAITING_CALLS: usize = 1024;

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
    /// The database refused or could not be reached; nothing of the call is stored.
    #[error(transparent)]
    Store(std::sync::Arc<StoreError>),
}

/// One call's drafts on their way to the next group commit.
pub(super) struct Call {
    pub drafts: Vec<Draft>,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// The handle that the API holds. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    calls: mpsc::Sender<Call>,
    stopping: CancellationToken,
}

impl Publisher {
    /// The handle and the end where calls come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, waiting) = mpsc::channel(WAITING_CALLS);
        (
            Self {
                calls,
                stopping: CancellationToken::new(),
            },
            waiting,
        )
    }

    /// Takes no call from now on, whoever holds a handle. What was taken is stored.
    pub(super) fn close(&self) {
        self.stopping.cancel();
    }

    /// Told when no further call is taken.
    pub(super) fn closed(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Stores every draft with its deliveries, or none of them, and answers in the order given.
    ///
    /// A draft that conflicts with its idempotency key is left out alone. Answers only after the commit (E3).
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        let (answer, answered) = oneshot::channel();
        if self.stopping.is_cancelled() {
            return Err(PublishError::Stopping);
        }
        let call = Call { drafts, answer };
        self.calls.send(call).await.map_err(|_| PublishError::Stopping)?;
        answered.await.map_err(|_| PublishError::Stopping)?
    }
}
