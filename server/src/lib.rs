//! Tenterhook delivers a platform's webhooks under a strict, visible policy.
//!
//! This crate is the composition root: it reads the settings, connects the parts, and has the command line. The parts
//! are the crates in `server/crates`; Cargo enforces the direction of their dependencies.

pub mod app;
pub mod cli;
pub mod telemetry;
