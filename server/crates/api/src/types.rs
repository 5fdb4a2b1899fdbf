//! The types of the graph. Each noun has a file with its type, inputs, payloads, queries and mutations.
//!
//! [`attempt`], [`delivery`], [`event`] and [`webhook`] refer to each other, because the types of the graph do.

pub mod app;
pub mod attempt;
pub mod catalog;
pub mod delivery;
pub mod enums;
pub mod event;
pub mod node;
pub mod notice;
pub mod scalars;
pub mod user;
pub mod viewer;
pub mod webhook;
