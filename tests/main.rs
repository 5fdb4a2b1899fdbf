//! The contract: one file per promise of the policy. Each test is named by a sentence, and cites the rules that it
//! proves.
//!
//! Every test has its own world: a server in this process, a database, a simulated clock. No test sleeps: the test
//! moves time, be it half an hour or three days.

mod scene;

mod attacks;
mod batches;
mod conservation;
mod creations;
mod documentation;
mod error_codes;
mod fairness;
mod handover;
mod hostile_targets;
mod idleness;
mod live;
mod notices;
mod plain_english;
mod refusal;
mod rest;
mod sentences;
mod several_servers;
mod signatures;
mod targets;
mod tenancy;
mod tokens;
