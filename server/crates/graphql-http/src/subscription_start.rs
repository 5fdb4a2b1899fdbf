//! How a subscription's field says that the subscription cannot begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by a subscription's field that cannot begin, so that its error becomes an error of the request. Every
/// subscription finds one in its context.
#[derive(Clone, Default)]
pub struct SubscriptionStart(Arc<AtomicBool>);

impl SubscriptionStart {
    /// Marks the subscription as refused.
    pub fn refuse(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
