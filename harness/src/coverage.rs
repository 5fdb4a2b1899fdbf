//! Counts what scenarios and random histories exercise: for each rule, type of webhook, and error class or fault.
//!
//! Nothing is declared except the rules of a scenario. What a webhook went through is read afterwards from what the API
//! recorded of it: its attempts, deliveries and notices, the health that callers read, and the interruptions that the
//! world caused. A scenario fills a cell only if it held, covers the rule, and one of its webhooks shows the
//! [`Fact`] that the rule is about, under that error class or fault.
//!
//! An empty cell needs a reason in `coverage/reasons.tsv`, and a cell with a reason must be empty. So a test finds
//! every gap and every outdated reason.
//!
//! A filled cell shows that the situation occurred in a scenario about the rule. Whether the scenario would notice a
//! broken rule is shown by the mutants in `harness/tests/mutants`.

mod cell;
mod draws;
mod life;
mod matrix;
mod reasons;
mod rows;
mod text;

#[cfg(test)]
mod tests;

pub use self::cell::{Cell, Cells, Column};
pub use self::draws::{Draw, draw};
pub use self::life::{Life, Seen, life, lives};
pub use self::matrix::{Matrix, TELLING};
pub use self::reasons::{Kind, Reason, Reasons};
pub use self::rows::{Fact, ROWS, Row, cells};
pub use self::text::{draws_text, json, text};
