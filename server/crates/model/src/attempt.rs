//! An attempt: one HTTP request of a delivery, and everything about how it ended.

use jiff::Timestamp;

use super::delivery::DeliveryStatus;
use super::ids::DeliveryKey;
use super::stored_enum;

stored_enum!(
    /// Why an attempt failed (D10).
    AttemptErrorClass {
        /// A final status other than 2xx, redirects included (D1, D3).
        Status = 1,
        /// No response headers within the deadline (D2).
        Timeout = 2,
        /// The name did not resolve.
        Dns = 3,
        /// The connection was refused or could not be made.
        Connect = 4,
        /// The TLS handshake failed, self-signed certificates included.
        Tls = 5,
        /// The connection broke before the response headers were complete.
        Reset = 6,
        /// What came back was not HTTP.
        Protocol = 7,
        /// The name or literal leads to an address that may not be called (W10).
        BlockedAddress = 8,
    }
);

/// Where the time of an attempt went, each in microseconds; `None` for a phase that did not happen
/// (a kept-alive connection needs neither DNS nor a handshake).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Name resolution.
    pub dns_us: Option<i32>,
    /// Connection with TLS handshake.
    pub connect_us: Option<i32>,
    /// From the start of the attempt to the response headers.
    pub first_byte_us: Option<i32>,
}

/// How a receiver's side of an attempt went: data, whatever happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The final status, if one came.
    pub status: Option<u16>,
    /// Set exactly when the attempt failed.
    pub error_class: Option<AttemptErrorClass>,
    /// A sentence for people, without internals or secrets.
    pub error_message: Option<String>,
    /// Phases.
    pub timings: Timings,
    /// Response headers in order of arrival, bounded.
    pub response_headers: Vec<(String, String)>,
    /// The start of the decoded body, as text.
    pub response_body: Option<String>,
    /// Whether the body went on past the excerpt.
    pub response_truncated: bool,
}

impl Outcome {
    /// Success is a 2xx status (D1).
    pub fn succeeded(&self) -> bool {
        self.error_class.is_none()
    }
}

/// An attempt as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Of which delivery.
    pub delivery: DeliveryKey,
    /// 1 is the first try.
    pub number: u8,
    /// When it started.
    pub started_at: Timestamp,
    /// When its result was known: response headers, error or time-out.
    pub ended_at: Timestamp,
    /// Duration in microseconds: the real one, or that of simulated time where that has moved meanwhile.
    pub duration_us: i32,
    /// The URL it went to, as it was then (D9).
    pub url: String,
    /// Whether basic credentials went with it.
    pub auth_sent: bool,
    /// How it went.
    pub outcome: Outcome,
    /// What the delivery ended in by this attempt, if it did.
    pub ending: Option<DeliveryStatus>,
}
