//! Tenterhook delivers a platform's webhooks under a strict, visible policy.
//!
//! The layers, each using only what stands above it in this list; `tests/layers.rs` holds them to it.

#![recursion_limit = "256"]

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod engine;
pub mod model;
pub mod policy;
pub mod store;
pub mod telemetry;
