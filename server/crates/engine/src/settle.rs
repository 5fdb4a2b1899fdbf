//! Settling: results become rows, and webhooks change by results and by time.

pub(crate) mod counter_activity;
pub(crate) mod in_flight_attempts;
pub(crate) mod notice_writer;
pub(crate) mod settlement;
pub(crate) mod settler;
pub(crate) mod sweeper;
