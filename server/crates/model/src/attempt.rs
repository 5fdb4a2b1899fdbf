//! An attempt: one HTTP request of a delivery, and everything about how it ended.

use jiff::Timestamp;
use uuid::Uuid;

use super::delivery::DeliveryStatus;
use super::ids::DeliveryKey;
use super::stored_enum;

stored_enum!(
    /// Why an attempt failed (D10).
    AttemptErrorClass {
        /// A final status other than 2xx, including redirects (D1, D3).
        Status = 1,
        /// No response headers within the deadline (D2).
        Timeout = 2,
        /// The name did not resolve.
        Dns = 3,
        /// The connection was refused or could not be made.
        Connect = 4,
        /// The TLS handshake failed, for example because of a self-signed certificate.
        Tls = 5,
        /// The connection broke before the response headers were complete.
        Reset = 6,
        /// The response was not HTTP.
        Protocol = 7,
        /// The name or literal leads to an address that may not be called (W10).
        BlockedAddress = 8,
    }
);

/// Durations of an attempt's phases, each in microseconds. `None`: the phase did not take place (a kept-alive connection
/// needs neither DNS nor a handshake).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Name resolution.
    pub dns_us: Option<i32>,
    /// Connecting, with the TLS handshake.
    pub connect_us: Option<i32>,
    /// From the start of the attempt to the response headers.
    pub first_byte_us: Option<i32>,
}

/// The result of an attempt at the receiver's side. A failure is data here, not an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The final status, if there was a response.
    pub status: Option<u16>,
    /// Set exactly when the attempt failed.
    pub error_class: Option<AttemptErrorClass>,
    /// A sentence for people, without internals or secrets.
    pub error_message: Option<String>,
    /// Durations of the phases.
    pub timings: Timings,
    /// Response headers in order of arrival, limited in size.
    pub response_headers: Vec<(String, String)>,
    /// The start of the decoded body, as text.
    pub response_body: Option<String>,
    /// Whether the body was longer than the excerpt.
    pub response_truncated: bool,
}

impl Outcome {
    /// Success is a 2xx status (D1).
    pub fn succeeded(&self) -> bool {
        self.error_class.is_none()
    }
}

/// The name of an attempt's request in simulated time. A receiver makes the same name from what it sees of the request:
/// the event's id (`webhook-id`), the webhook's number (`tenterhook-webhook`) and the attempt's (`tenterhook-attempt`, E7).
pub fn request_name(message: Uuid, webhook: i64, attempt: u8) -> String {
    format!("{message}/{webhook}/{attempt}")
}

/// A recorded attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The delivery that it belongs to.
    pub delivery: DeliveryKey,
    /// 1 is the first try.
    pub number: u8,
    /// When it started.
    pub started_at: Timestamp,
    /// When its result was known: response headers, error or time-out.
    pub ended_at: Timestamp,
    /// Duration in microseconds: of simulated time if that has moved during the attempt, otherwise of real time.
    pub duration_us: i32,
    /// The URL of the request, as it was at that time (D9).
    pub url: String,
    /// Whether the request had basic credentials.
    pub auth_sent: bool,
    /// Its result.
    pub outcome: Outcome,
    /// The status with which this attempt ended the delivery, if it did.
    pub ending: Option<DeliveryStatus>,
}
