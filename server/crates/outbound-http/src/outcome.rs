//! The result of a request. Every failure is data here, not an error.

use std::time::Duration;

use jiff::Timestamp;

/// Why a request failed (D10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// A final status other than 2xx, including redirects (D1, D3).
    Status,
    /// No response headers within the deadline (D2).
    Timeout,
    /// The name did not resolve.
    Dns,
    /// The connection was refused or could not be made.
    Connect,
    /// The TLS handshake failed, for example because of a self-signed certificate.
    Tls,
    /// The connection broke before the response headers were complete.
    Reset,
    /// The response was not HTTP, or the request cannot be written as HTTP.
    Protocol,
    /// The name or literal leads to an address that may not be called (W10).
    BlockedAddress,
}

/// Durations of a request's phases. `None`: the phase did not take place (a kept-alive connection needs neither DNS nor
/// a handshake).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Name resolution.
    pub dns: Option<Duration>,
    /// Connecting, with the TLS handshake.
    pub connect: Option<Duration>,
    /// From the start of the request to the response headers.
    pub first_byte: Option<Duration>,
}

/// What the other side did, or failed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The final status, if there was a response.
    pub status: Option<u16>,
    /// Set exactly when the request failed.
    pub error_class: Option<ErrorClass>,
    /// A sentence for people, without internals or secrets. Set exactly when the request failed.
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

/// The resource that this process or its machine lacked, so that it did not make the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lack {
    /// File descriptors or memory.
    Means,
    /// A name server that answers, with any result.
    NameServers,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What the other side did.
    pub outcome: Outcome,
    /// When the request started.
    pub started_at: Timestamp,
    /// When its result was known: headers, error or time-out. Reading the body may have taken longer.
    pub ended_at: Timestamp,
    /// From start to result, in real time, or in simulated time if that has moved in between.
    pub duration: Duration,
    /// The resource that this machine lacked, so that no request was made. In that case the other side is not to blame
    /// (D13).
    pub lack: Option<Lack>,
}
