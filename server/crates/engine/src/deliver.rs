//! Delivering: due deliveries are leased, wait in memory for their turn, and are attempted.

pub(crate) mod attempt;
pub(crate) mod claimer;
pub(crate) mod held_deliveries;
pub(crate) mod lease_renewal;
pub(crate) mod postponed;
pub(crate) mod request;
pub mod scheduler;
pub(crate) mod wake_schedule;
