//! The inputs of a field's cost that are not in the document: the current time, and the operator's settings.
//!
//! The library computes costs during validation, in functions without a context, so these inputs are in a task-local.
//! The functions see the settings of the request and the time of its validation. Execution is a moment later and may
//! see one more time bucket.

use std::sync::Arc;

use jiff::Timestamp;

use crate::context::Services;

tokio::task_local! {
    static CONTEXT: CostContext;
}

/// Inputs for computing costs.
#[derive(Debug, Clone, Copy)]
pub struct CostContext {
    /// The time of validation.
    pub now: Timestamp,
    /// The maximum number of attempts of a delivery.
    pub attempts: u8,
}

impl CostContext {
    /// The inputs for a request that is validated now.
    pub fn of(services: &Arc<Services>) -> Self {
        Self {
            now: services.clock.now(),
            attempts: services.policy().attempts(),
        }
    }

    /// Runs a validation with these inputs.
    pub async fn over<T>(self, validation: impl Future<Output = T>) -> T {
        CONTEXT.scope(self, validation).await
    }

    /// The inputs for the request that is being validated. Outside of a client's request, the ones with the highest
    /// cost.
    pub fn current() -> Self {
        CONTEXT.try_with(|context| *context).unwrap_or(Self {
            now: Timestamp::MAX,
            attempts: u8::MAX,
        })
    }
}
