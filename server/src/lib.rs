//! Tenterhook delivers a platform's webhooks under a strict, visible policy.
//!
//! This crate is the composition root: it reads the settings, puts the parts together, and is the command line. The parts are
//! the crates in `server/crates`; Cargo holds the direction in which they use each other.

pub mod app;
pub mod cli;
pub mod telemetry;
