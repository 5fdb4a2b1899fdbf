//! Requests of a random history, with the responses of their receivers.

use jiff::Timestamp;

use crate::model::Numbers;

/// A request with its response, or one that never gets a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// When the request arrived, on the world's clock.
    pub at: Timestamp,
    /// The number of the webhook.
    pub webhook: String,
    /// The id of the event.
    pub event: String,
    /// Attempt number, 1 to 4.
    pub number: u8,
    /// `None`: no response, so that the attempt times out.
    pub status: Option<u16>,
}

impl Answered {
    /// Whether the attempt succeeded (D1).
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// When the attempt ends (D2).
    pub fn ends(&self, numbers: &Numbers) -> Timestamp {
        match self.status {
            Some(_) => self.at,
            None => self.at + numbers.timeout,
        }
    }
}
