//! The contract: one file per promise of the policy. Each test is named by a sentence, and cites the rules that it
//! proves.
//!
//! Every test has its own world: a server in this process, a database, a simulated clock. No test sleeps: the test
//! moves time, be it half an hour or three days.

mod scene;

mod apps;
mod attacks;
mod attempt_log;
mod bans;
mod batches;
mod conservation;
mod creations;
mod credentials;
mod documentation;
mod error_codes;
mod fairness;
mod handover;
mod hostile_targets;
mod idleness;
mod limits;
mod live;
mod notices;
mod outcomes;
mod payloads;
mod permissions;
mod plain_english;
mod publication;
mod refusal;
mod removal;
mod retries;
mod several_servers;
mod signatures;
mod statements;
mod targets;
mod tenancy;
mod timeouts;
mod tokens;
mod visibility;
