//! The rows of the matrix: for each rule, which cells it has and what a webhook must show to fill one.

use super::cell::{Cell, Column};
use crate::webhook_type::WebhookType;

/// Something that happened to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// It was created.
    Created,
    /// An attempt ended.
    Attempted,
    /// A response had the status 3xx.
    Redirected,
    /// An attempt was made after a failed one. The column is that of the failed one.
    Retried,
    /// A delivery ended. The columns are those of its attempts.
    Ended,
    /// A delivery succeeded.
    Delivered,
    /// No name server answered for its host.
    Postponed,
    /// A first try failed.
    FirstTryFailed,
    /// A ban began. The columns are those of the first tries that caused it.
    Banned,
    /// A ban ended. The columns are those of its causes.
    BanEnded,
    /// A delivery was lost to a ban. The columns are those of the ban's causes.
    LostInBan,
    /// An attempt that was in flight when a ban began has ended in it.
    EndedInBan,
    /// It was removed because no delivery succeeded. The columns are those of the failures in the window.
    Removed,
    /// It has a notice. The columns are those of the failures that led to it.
    Noticed,
    /// A caller read its health. The columns are those of the attempts before.
    Read,
}

/// A rule with its cells: one for each of these types and columns.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The code of the rule, such as `B3`.
    pub rule: &'static str,
    /// What a webhook must show: one of these. The scenario must also cover the rule.
    pub facts: &'static [Fact],
    /// The types that the rule is about.
    pub kinds: &'static [WebhookType],
    /// The columns that can make a difference to the rule.
    pub columns: &'static [Column],
}

const BOTH: &[WebhookType] = &WebhookType::ALL;
const GENERAL: &[WebhookType] = &[WebhookType::General];
const APPLICATION: &[WebhookType] = &[WebhookType::Application];

/// For rules to which neither errors nor interruptions make a difference.
const ANY: &[Column] = &[Column::Any];
/// Every result of an attempt.
const RESULTS: &[Column] = &[
    Column::Success,
    Column::Status,
    Column::Timeout,
    Column::Dns,
    Column::Connect,
    Column::Tls,
    Column::Reset,
    Column::Protocol,
    Column::BlockedAddress,
];
/// Every result of an attempt, and interruptions.
const ATTEMPTS: &[Column] = &[
    Column::Success,
    Column::Status,
    Column::Timeout,
    Column::Dns,
    Column::Connect,
    Column::Tls,
    Column::Reset,
    Column::Protocol,
    Column::BlockedAddress,
    Column::Crash,
    Column::Stop,
];
/// Every error class, and interruptions: for rules that begin with a failure.
const FAILURES: &[Column] = &[
    Column::Status,
    Column::Timeout,
    Column::Dns,
    Column::Connect,
    Column::Tls,
    Column::Reset,
    Column::Protocol,
    Column::BlockedAddress,
    Column::Crash,
    Column::Stop,
];
/// Results of attempts whose status came in time, or did not.
const DEADLINE: &[Column] = &[Column::Success, Column::Status, Column::Timeout];
/// Results of attempts that wrote a request.
const WRITTEN: &[Column] = &[
    Column::Success,
    Column::Status,
    Column::Timeout,
    Column::Reset,
    Column::Protocol,
];
/// Interruptions: for rules about processes.
const PROCESSES: &[Column] = &[Column::Crash, Column::Stop];

const fn about(rule: &'static str, kinds: &'static [WebhookType]) -> Row {
    Row {
        rule,
        facts: &[Fact::Created],
        kinds,
        columns: ANY,
    }
}

const fn row(rule: &'static str, facts: &'static [Fact], columns: &'static [Column]) -> Row {
    Row {
        rule,
        facts,
        kinds: BOTH,
        columns,
    }
}

/// Every rule, in the order of the policy.
pub const ROWS: &[Row] = &[
    about("W1", BOTH),
    about("W2", APPLICATION),
    about("W3", BOTH),
    about("W4", BOTH),
    about("W5", APPLICATION),
    about("W6", APPLICATION),
    about("W7", GENERAL),
    about("W8", APPLICATION),
    about("W9", BOTH),
    about("W10", BOTH),
    about("W11", BOTH),
    about("W12", BOTH),
    about("W13", BOTH),
    about("E1", BOTH),
    about("E2", BOTH),
    about("E3", BOTH),
    about("E4", BOTH),
    about("E5", BOTH),
    about("E6", BOTH),
    about("E7", BOTH),
    row("D1", &[Fact::Attempted], RESULTS),
    row("D2", &[Fact::Attempted], DEADLINE),
    row("D3", &[Fact::Redirected], &[Column::Status]),
    row("D4", &[Fact::Retried], FAILURES),
    row("D5", &[Fact::Attempted], WRITTEN),
    row("D6", &[Fact::Delivered], PROCESSES),
    row("D7", &[Fact::Ended], ATTEMPTS),
    about("D8", BOTH),
    about("D9", BOTH),
    row("D10", &[Fact::Attempted], RESULTS),
    about("D11", BOTH),
    about("D12", BOTH),
    row("D13", &[Fact::Postponed], &[Column::SilentDns]),
    row("B1", &[Fact::FirstTryFailed], FAILURES),
    row("B2", &[Fact::Banned], FAILURES),
    // Not the end of a ban: that a success does not reset the counter shows in the ban that follows.
    row("B3", &[Fact::Banned], FAILURES),
    row("B4", &[Fact::LostInBan], FAILURES),
    // What was in flight when a server was killed or stopped is a matter of D6.
    row("B5", &[Fact::EndedInBan], RESULTS),
    row("B6", &[Fact::BanEnded], PROCESSES),
    row("B7", &[Fact::BanEnded], FAILURES),
    row("R1", &[Fact::Attempted, Fact::Removed], ATTEMPTS),
    row("R2", &[Fact::Attempted, Fact::Removed], ATTEMPTS),
    row("R3", &[Fact::Removed], FAILURES),
    row("R4", &[Fact::Noticed], FAILURES),
    row("R5", &[Fact::Read], RESULTS),
    about("T1", BOTH),
    about("T2", BOTH),
    about("T3", BOTH),
    about("P1", BOTH),
];

impl Row {
    /// The row of a rule.
    pub fn of(rule: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.rule == rule)
    }

    /// One cell for each of its types and columns.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        let rule = self.rule;
        self.kinds.iter().flat_map(move |kind| {
            self.columns.iter().map(move |column| Cell {
                rule,
                kind: *kind,
                column: *column,
            })
        })
    }
}

/// Every cell of the matrix.
pub fn cells() -> impl Iterator<Item = Cell> {
    ROWS.iter().flat_map(Row::cells)
}
