//! Publishing: the API's calls wait here, and are stored in groups.

pub(crate) mod batch;
pub(crate) mod batch_window;
pub(crate) mod bulk_throttle;
pub(crate) mod call;
pub(crate) mod group_commit;
pub(crate) mod intake;
pub(crate) mod publisher;

/// Tasks that store publications. Three: one company keeps at most two busy, one committing while the other collects.
/// The third is free for all others.
pub(crate) const COMMITTERS: usize = 3;
