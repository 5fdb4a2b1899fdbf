//! This process among the others: membership, the changes feed, and what is known of webhooks.

pub(crate) mod apply_changes;
pub(crate) mod change_feed;
pub(crate) mod database_clock;
pub(crate) mod freshness;
pub(crate) mod membership;
pub(crate) mod process;
pub(crate) mod propagation;
pub(crate) mod timings;
pub(crate) mod webhook_cache;
