//! Everything needed to observe a webhook policy, and to prove it.
//!
//! - [`world::World`] is a server with its own database, a simulated clock, its callers and its receivers.
//! - [`process::Process`] is the server as a process that a test can kill.
//! - [`receiver::Receiver`] is a scripted web server for webhooks, [`wire::WireReceiver`] one with faults below HTTP.
//!   Both keep a [`journal::Journal`] of requests and check their [`signature`] and [`payload`].
//! - [`hostile`] is a table of URLs that disguise their target.
//! - [`names::NameServer`] is a DNS server that a test controls.
//! - [`json`] reads JSON from outside, whatever its keys.
//! - [`client::Client`] is a client of the server's GraphQL API; [`token`] signs its tokens.
//! - [`attacks`] are requests made to do damage, with the refusal that each must get.
//! - [`load`] publishes at a chosen rate, and measures deliveries and costs.
//! - [`durable::Cluster`] is a durable Postgres; [`system`] reads from the machine what its processes use.
//! - [`fill`] fills a database as a server leaves it after a month, [`reads`] measures queries on it.
//! - [`scenarios`] is the catalogue of what must hold, [`runner`] plays it, [`report`] prints the results.
//! - [`model`] is the policy as a function; [`explore`] compares a server with it over random histories.
//! - [`overload`] gives a real server more than it can handle.
//! - [`refusal`] makes a database refuse marked values.
//! - [`faults`] causes faults around real servers, and checks whether anything is lost.
//! - [`timekeeper::Timekeeper`] is how a receiver tells a simulated clock that it will not respond.
//!
//! The harness judges the server, so it shares no code with it: all of this is written from the policy and the
//! contract. Assertions panic with the actual value; everything else returns a `Result`. Nothing is checked on drop.

pub mod attacks;
mod citus;
pub mod client;
mod connection;
pub mod database;
pub mod dice;
pub mod durable;
pub mod explore;
pub mod faults;
pub mod fill;
pub mod hostile;
pub mod journal;
pub mod json;
pub mod keys;
pub mod launch;
pub mod load;
pub mod meter;
pub mod model;
pub mod names;
pub mod overload;
pub mod payload;
pub mod process;
pub mod reads;
pub mod realtime;
pub mod receiver;
pub mod refusal;
pub mod reply;
pub mod report;
pub mod rules;
pub mod run;
pub mod runner;
pub mod scenario;
pub mod scenarios;
pub mod signature;
pub mod system;
pub mod timekeeper;
pub mod timeline;
pub mod token;
pub mod wire;
pub mod world;
