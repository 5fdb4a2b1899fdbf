//! Measures real servers, and disturbs them.
//!
//! - [`load`] publishes at a chosen rate, and measures deliveries and costs.
//! - [`seed_database`] fills a database as a server leaves it after a month, [`read_latency`] measures queries on it.
//! - [`overload`] gives a real server more than it can handle.
//! - [`faults`] causes faults around real servers, and checks whether anything is lost.
//! - [`process::Process`] is the server as a process that a test can kill.
//! - [`durable_postgres::DurablePostgres`] is a durable Postgres; [`system`] reads from the machine what its processes use.
//!
//! It uses the harness's clients, receivers and databases, and shares no code with the server either.

pub mod durable_postgres;
pub mod faults;
pub mod load;
pub mod overload;
pub mod process;
pub mod read_latency;
pub mod seed_database;
pub mod system;
