//! What a field costs where that depends on more than the document: on the moment, and on what the operator has chosen.
//!
//! The library asks for costs in validation, from functions that have no context. Promises that they are told for the
//! settings that the request is answered under and the moment that it is validated at; a request that is answered a
//! moment later may see one stretch of time more.

use std::sync::Arc;

use jiff::Timestamp;

use super::context::Services;

tokio::task_local! {
    static OUTLOOK: Outlook;
}

/// What costs are told from.
#[derive(Debug, Clone, Copy)]
pub struct Outlook {
    /// The moment.
    pub now: Timestamp,
    /// The attempts that a delivery can have.
    pub attempts: u8,
}

impl Outlook {
    /// Of a request that is validated now.
    pub fn of(services: &Arc<Services>) -> Self {
        Self {
            now: services.clock.now(),
            attempts: services.policy().attempts(),
        }
    }

    /// Validates with it.
    pub async fn over<T>(self, validation: impl Future<Output = T>) -> T {
        OUTLOOK.scope(self, validation).await
    }

    /// Of the request that is being validated. Without one, which is no request of a client, the costliest.
    pub fn current() -> Self {
        OUTLOOK.try_with(|outlook| *outlook).unwrap_or(Self {
            now: Timestamp::MAX,
            attempts: u8::MAX,
        })
    }
}
