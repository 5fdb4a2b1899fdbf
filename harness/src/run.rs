//! A run of scenarios as data: which held, which broke, and what happened over time.
//!
//! A run can be written as JSON and read back unchanged, so that it can be drawn again later. Scenarios judge, not this
//! module.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::face::Face;
use crate::webhook_type::WebhookType;

/// A run of scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The harness's version.
    pub version: String,
    /// The judged server: `in process`, or its address.
    pub target: String,
    /// The API through which its webhooks were created, listed and deleted. Reports that older versions saved do not have it.
    #[serde(default, skip_serializing_if = "Face::is_graphql")]
    pub face: Face,
    /// The start in real time.
    pub started: Timestamp,
    /// The duration in seconds of real time.
    pub real_seconds: f64,
    /// One outcome for each scenario, in the order of the catalogue.
    pub outcomes: Vec<Outcome>,
}

/// The outcome of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's stable name, with the webhook type if it was played for both: `failures-10/application`.
    pub name: String,
    /// The webhook type for which it was played. Reports that older versions saved do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_type: Option<WebhookType>,
    /// What it shows, in one sentence.
    pub sentence: String,
    /// The rules that it covers, such as `B3`.
    pub rules: Vec<String>,
    /// Whether it held, broke, was skipped or could not run.
    pub verdict: Verdict,
    /// The duration in seconds of real time.
    pub real_seconds: f64,
    /// Time that passed on the server's clock, in seconds.
    pub simulated_seconds: f64,
    /// The timelines of its webhooks.
    pub timelines: Vec<Timeline>,
}

/// The verdict on a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise held.
    Held,
    /// A promise was broken.
    Broken(Breach),
    /// It was not played, for this reason.
    Skipped(String),
    /// It could not be played to its end, for this reason. Nothing is known about the promise.
    CouldNotRun(String),
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The checked value, in words: `the ban counter after nine failures`.
    pub what: String,
    /// The expected value.
    pub expected: String,
    /// The actual value.
    pub seen: String,
    /// The place of the check in the harness: file and line.
    pub place: String,
}

/// The life of one webhook during a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The webhook's number.
    pub webhook: String,
    /// Its subscription URL.
    pub url: String,
    /// Its creation, on the server's clock.
    pub from: Timestamp,
    /// The end of the scenario, on the server's clock.
    pub to: Timestamp,
    /// Recorded attempts, in the order of their start.
    pub attempts: Vec<Tried>,
    /// Deliveries that ended without an attempt: lost and cancelled ones.
    pub ended: Vec<Ended>,
    /// The ban counter after each change, by the reference model.
    pub counter: Vec<(Timestamp, u32)>,
    /// Bans, by the reference model.
    pub bans: Vec<Interval>,
    /// Windows without a success (R1), by the reference model.
    pub windows: Vec<Interval>,
    /// Time and reason of its removal, as the server says.
    pub removed: Option<(Timestamp, String)>,
    /// The health that the scenario read, with the time.
    pub looks: Vec<(Timestamp, String)>,
}

/// One recorded attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The event's id.
    pub event: String,
    /// The attempt number, 1 to 4.
    pub number: u8,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The error class; `None` for a success.
    pub error_class: Option<String>,
}

/// A delivery that ended without an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The event's id.
    pub event: String,
    /// The time of the end.
    pub at: Timestamp,
    /// `LOST` or `CANCELLED`.
    pub status: String,
    /// The reason: `BANNED`, `PAUSED`, `WEBHOOK_REMOVED`.
    pub reason: String,
}

/// A period; without an end if it still lasted at the end of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Option<Timestamp>,
}

impl Run {
    /// The judged server and, if it is not GraphQL, the API.
    pub fn judged(&self) -> String {
        match self.face {
            Face::GraphQl => self.target.clone(),
            Face::Rest => format!("{}, through REST", self.target),
        }
    }

    /// Number of outcomes whose verdict satisfies `wanted`.
    pub fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.verdict))
            .count()
    }

    /// The exit code of the run: 0 all held, 1 a promise was broken, 2 something could not run.
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
