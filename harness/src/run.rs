//! What a run of scenarios was, as data: who held, who broke, and how it went over time.
//!
//! Promises a form that is written as JSON and read back the same, so that a run can be drawn again later. Does not
//! judge: scenarios do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A run of scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The harness's version.
    pub version: String,
    /// What was judged: `in process`, or the address of a server.
    pub target: String,
    /// When it began, in real time.
    pub started: Timestamp,
    /// How long it took, in seconds of real time.
    pub real_seconds: f64,
    /// One for each scenario, in the order of the catalogue.
    pub outcomes: Vec<Outcome>,
}

/// How one scenario ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's stable name.
    pub name: String,
    /// What it shows, in one sentence.
    pub sentence: String,
    /// The rules that it covers, such as `B3`.
    pub rules: Vec<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took, in seconds of real time.
    pub real_seconds: f64,
    /// How much of the server's time passed, in seconds.
    pub simulated_seconds: f64,
    /// What happened to each of its webhooks.
    pub timelines: Vec<Timeline>,
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise held.
    Held,
    /// A promise was broken.
    Broken(Breach),
    /// It was not tried, and why.
    Skipped(String),
    /// It could not be tried to its end, and why: nothing is said about the promise.
    CouldNotRun(String),
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// What was looked at, in words: `the ban counter after nine failures`.
    pub what: String,
    /// What should have been there.
    pub expected: String,
    /// What was there.
    pub seen: String,
    /// Where in the harness it was looked at: file and line.
    pub place: String,
}

/// The life of one webhook during a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The webhook's number.
    pub webhook: String,
    /// Where it leads.
    pub url: String,
    /// When it was created, on the server's clock.
    pub from: Timestamp,
    /// When the scenario ended, on the server's clock.
    pub to: Timestamp,
    /// Recorded attempts, by their start.
    pub attempts: Vec<Tried>,
    /// Deliveries that ended without a last attempt: lost and cancelled ones.
    pub ended: Vec<Ended>,
    /// The ban counter after each of its changes, by the reference model.
    pub counter: Vec<(Timestamp, u32)>,
    /// Bans, by the reference model.
    pub bans: Vec<Interval>,
    /// Windows without a success (R1), by the reference model.
    pub windows: Vec<Interval>,
    /// When and why it was removed, as the server says.
    pub removed: Option<(Timestamp, String)>,
    /// What the scenario saw of the webhook's health, and when.
    pub looks: Vec<(Timestamp, String)>,
}

/// One recorded attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The event's id.
    pub event: String,
    /// 1 to 4.
    pub number: u8,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The status, where there was one.
    pub status: Option<u16>,
    /// The class of error; none for a success.
    pub error_class: Option<String>,
}

/// A delivery that ended without a last attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The event's id.
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// `LOST` or `CANCELLED`.
    pub status: String,
    /// Why: `BANNED`, `PAUSED`, `WEBHOOK_REMOVED`.
    pub reason: String,
}

/// From a moment to another; open where nothing ended it before the scenario did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The first moment.
    pub from: Timestamp,
    /// The moment at which it was over.
    pub to: Option<Timestamp>,
}

impl Run {
    /// How many outcomes satisfy this.
    pub fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.verdict))
            .count()
    }

    /// The exit code that says it: 0 held, 1 a promise broken, 2 could not run.
    pub fn exit_code(&self) -> u8 {
        if self.count(|verdict| matches!(verdict, Verdict::Broken(_))) > 0 {
            1
        } else if self.count(|verdict| matches!(verdict, Verdict::CouldNotRun(_))) > 0
            || self.count(|verdict| *verdict == Verdict::Held) == 0
        {
            2
        } else {
            0
        }
    }
}
