//! Everything needed to observe a webhook policy, and to prove it.
//!
//! - [`world::World`] is a server with its own database, a simulated clock, its callers and its receivers.
//! - [`receiver::Receiver`] is a scripted web server for webhooks, [`wire::WireReceiver`] one with faults below HTTP.
//!   Both keep a [`journal::Journal`] of requests and check their [`signature`] and [`payload`].
//! - [`hostile`] is a table of URLs that disguise their target.
//! - [`dns_server::NameServer`] is a DNS server that a test controls.
//! - [`json`] reads JSON from outside, whatever its keys.
//! - [`client::Client`] is a client of the server's GraphQL API and, where a [`face`] asks for it, of its REST routes; [`token`]
//!   signs its tokens.
//! - [`attacks`] are requests made to do damage, with the refusal that each must get.
//! - [`scenarios`] is the catalogue of what must hold, most of it for both [`webhook_type`]s; [`runner`] plays it,
//!   [`report`] prints the results.
//! - [`model`] is the policy as a function; [`explore`] compares a server with it over random histories.
//! - [`coverage`] counts what scenarios and histories exercise; [`sentences`] says which scenarios prove what Pipedrive
//!   states.
//! - [`refusal`] makes a database refuse marked values.
//! - [`timekeeper::Timekeeper`] is how a receiver tells a simulated clock that it will not respond.
//!
//! `tenterhook-lab` measures real servers with it: load, overload, faults.
//!
//! The harness judges the server, so it shares no code with it: all of this is written from the policy and the
//! contract. Assertions panic with the actual value; everything else returns a `Result`. Nothing is checked on drop.

pub mod attacks;
mod citus;
pub mod client;
pub mod command_line;
mod connection;
pub mod coverage;
pub mod database;
pub mod dns_server;
pub mod explore;
pub mod face;
pub mod hostile;
pub mod journal;
pub mod json;
pub mod keys;
pub mod launch;
pub mod model;
pub mod naming;
pub mod payload;
pub mod realtime;
pub mod receiver;
pub mod refusal;
pub mod reply;
pub mod report;
pub mod rng;
pub mod rules;
pub mod run;
pub mod runner;
pub mod scenario;
pub mod scenarios;
pub mod sentences;
pub mod signature;
pub mod statement_counter;
pub mod timekeeper;
pub mod timeline;
pub mod token;
pub mod webhook_type;
pub mod wire;
pub mod world;
