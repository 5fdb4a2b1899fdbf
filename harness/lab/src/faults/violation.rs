//! A promise that a round broke, with the evidence.

use std::fmt;

use serde::Serialize;

use super::receivers::Part;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The kind of violation.
    pub what: Wrong,
    /// The webhook, if the violation concerns one.
    pub part: Option<Part>,
    /// The evidence: deliveries as the API shows them, and the receiver's journal.
    pub evidence: String,
}

/// The kinds of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// An accepted event has no delivery, or fewer than the response to its publication said (D7).
    Lost,
    /// A delivery is still pending at the end.
    Unfinished,
    /// An event exists whose publication never got a response, or exists twice (E1).
    PublishedTwice,
    /// A webhook has two deliveries of one event, or a delivery ended twice.
    Doubled,
    /// Attempts are not numbered from 1 without a gap (D4).
    Numbering,
    /// The status of a delivery does not agree with its attempts (D1, D4, B4).
    Ending,
    /// The log has a response of a receiver that got no request, or a receiver got a request that no delivery accounts
    /// for.
    Wire,
    /// A request that a receiver must not accept (E7).
    Request,
    /// A failure was attributed to a receiver that had no part in it (D1).
    Blamed,
    /// A call was refused because of the contents of another call.
    Refused,
    /// The log does not show what a receiver responded (D10).
    Log,
    /// The ban counter does not agree with the recorded attempts (B1, B3).
    Counter,
    /// A ban without the failures for it, or one that began during another (B2).
    Ban,
    /// An attempt was made after the response to the deletion (W8).
    AfterDeletion,
    /// The sums of D7 do not agree with the deliveries that the API shows.
    Sums,
    /// A server ended without being asked to, or with an error.
    Died,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)?;
        if let Some(part) = self.part {
            write!(f, " ({part:?} webhook)")?;
        }
        write!(f, ": {}", self.evidence)
    }
}
