//! Everything needed to see a webhook policy at work, and to prove it.
//!
//! - [`world::World`] is a server with a database of its own, a simulated clock, and whoever calls it and is called.
//! - [`process::Process`] is the server as its own process, to be killed.
//! - [`receiver::Receiver`] is a scripted web server to point webhooks at, [`wire::WireReceiver`] one that misbehaves
//!   below HTTP. Both keep a [`journal::Journal`] of what came and check its [`signature`] and [`payload`].
//! - [`hostile`] is a table of URLs that want to be taken for what they are not.
//! - [`names::NameServer`] is the DNS as a test wants it.
//! - [`json`] reads what others wrote, whatever its keys.
//! - [`client::Client`] speaks the server's GraphQL; [`token`] signs what it shows.
//! - [`attacks`] are requests made to hurt, and what each must be refused with.
//! - [`load`] publishes as much as is wanted, and measures what arrives and what it takes.
//! - [`durable::Cluster`] is a Postgres that loses nothing; [`system`] is what the machine says of its processes.
//! - [`fill`] makes a database as a server leaves it after a month, [`reads`] measures what it costs to read it.
//! - [`scenarios`] is the catalogue of what must hold, [`runner`] plays it, [`report`] shows what came of it.
//! - [`model`] is the policy as a function, to hold a server against; [`explore`] does so over random histories.
//! - [`overload`] gives a real server more than it can take.
//! - [`refusal`] lets a database refuse what a test marks.
//! - [`faults`] makes everything around real servers fail, and looks whether anything is lost.
//! - [`timekeeper::Timekeeper`] is how a receiver tells a simulated clock that it will not answer.
//!
//! It judges the server, so it shares no code with it: all of this is written from the policy and the contract.
//! Assertions panic with what came instead; everything else returns a `Result`. Nothing is checked on drop.

pub mod attacks;
mod citus;
pub mod client;
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
