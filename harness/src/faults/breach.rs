//! A promise that a round broke, and what shows it.

use std::fmt;

use serde::Serialize;

use super::cast::Part;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// What is wrong.
    pub what: Wrong,
    /// Which webhook.
    pub part: Option<Part>,
    /// What shows it: deliveries as the API tells them, and the receiver's journal.
    pub evidence: String,
}

/// What can be wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// An event that was accepted has no delivery, or not all that were counted when it was accepted (D7).
    Lost,
    /// A delivery did not end.
    Unfinished,
    /// An event exists that was never answered, or twice (E1).
    PublishedTwice,
    /// A webhook has two deliveries of one event, or a delivery ended twice.
    Doubled,
    /// Attempts are not numbered from 1 without a gap (D4).
    Numbering,
    /// A delivery's end does not agree with its attempts (D1, D4, B4).
    Ending,
    /// A receiver answered and got no request, or got one that nobody knows of.
    Wire,
    /// A request that no receiver should accept (E7).
    Request,
    /// A receiver that was well is blamed for what it had no part in (D1).
    Blamed,
    /// A call was refused for what another call held.
    Refused,
    /// The log does not have what a receiver answered (D10).
    Log,
    /// The ban counter does not agree with the recorded attempts (B1, B3).
    Counter,
    /// A ban without its failures, or one within another (B2).
    Ban,
    /// Something was sent after the deletion had been answered (W8).
    AfterDeletion,
    /// The sums of D7 do not agree with what the API tells.
    Sums,
    /// A server ended without being asked to, or not in good order.
    Died,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)?;
        if let Some(part) = self.part {
            write!(f, " ({part:?} webhook)")?;
        }
        write!(f, ": {}", self.evidence)
    }
}
