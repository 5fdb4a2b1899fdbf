//! This process among the others: membership, the changes feed, and what is known of webhooks.

pub(crate) mod change_feed;
pub(crate) mod database_clock;
pub(crate) mod membership;
pub mod timings;
pub(crate) mod webhook_cache;
