//! Connects this product with [`tenterhook_outbound_http`], which knows no settings and no webhooks: its configuration
//! follows from the settings, and its results become types of the model.

use std::time::Duration;

use jiff::Timestamp;

use tenterhook_model::attempt::{AttemptErrorClass, Outcome, Timings};
use tenterhook_outbound_http::target::{TargetConfig, TargetPolicy};
use tenterhook_outbound_http::{self as http, ErrorClass, ExcerptLimits, Lack, Patience};
use tenterhook_settings::Settings;
use tenterhook_settings::policy::PolicySettings;

/// Which targets webhooks may have on a server with these settings (W10).
///
/// # Errors
///
/// If a host of the platform is not a host.
pub fn target_policy(settings: &Settings) -> Result<TargetPolicy, url::ParseError> {
    TargetPolicy::new(TargetConfig {
        allowed: settings.allowed_targets.clone(),
        denied: settings.denied_targets.clone(),
        ports: settings.target_ports.iter().map(|range| range.ports()).collect(),
        own_hosts: settings.platform_hosts.clone(),
    })
}

/// How long name servers must be silent before an attempt is postponed, and how long it may be postponed (D13).
pub fn patience(policy: &PolicySettings) -> Patience {
    Patience {
        silence: policy.dns_silence,
        give_up: policy.dns_give_up,
    }
}

/// How much of a response the log of attempts keeps (D2, D10).
pub(crate) fn excerpt_limits(policy: &PolicySettings) -> ExcerptLimits {
    ExcerptLimits {
        failed: policy.response_excerpt,
        success: policy.success_excerpt,
    }
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// The outcome for the log.
    pub outcome: Outcome,
    /// When its result was known: headers, error or time-out. Reading the body may have taken longer.
    pub ended_at: Timestamp,
    /// Microseconds from start to result, in real time, or in simulated time if that has moved in between.
    pub duration_us: i32,
    /// The resource that this machine lacked, so that no request was made. In that case it is not an attempt (D13).
    pub lack: Option<Lack>,
}

impl From<http::Sent> for Sent {
    fn from(sent: http::Sent) -> Self {
        Self {
            outcome: outcome(sent.outcome),
            ended_at: sent.ended_at,
            duration_us: micros(sent.duration),
            lack: sent.lack,
        }
    }
}

fn outcome(outcome: http::Outcome) -> Outcome {
    let http::Timings {
        dns,
        connect,
        first_byte,
    } = outcome.timings;
    Outcome {
        status: outcome.status,
        error_class: outcome.error_class.map(error_class),
        error_message: outcome.error_message,
        timings: Timings {
            dns_us: dns.map(micros),
            connect_us: connect.map(micros),
            first_byte_us: first_byte.map(micros),
        },
        response_headers: outcome.response_headers,
        response_body: outcome.response_body,
        response_truncated: outcome.response_truncated,
    }
}

fn error_class(class: ErrorClass) -> AttemptErrorClass {
    match class {
        ErrorClass::Status => AttemptErrorClass::Status,
        ErrorClass::Timeout => AttemptErrorClass::Timeout,
        ErrorClass::Dns => AttemptErrorClass::Dns,
        ErrorClass::Connect => AttemptErrorClass::Connect,
        ErrorClass::Tls => AttemptErrorClass::Tls,
        ErrorClass::Reset => AttemptErrorClass::Reset,
        ErrorClass::Protocol => AttemptErrorClass::Protocol,
        ErrorClass::BlockedAddress => AttemptErrorClass::BlockedAddress,
    }
}

/// Whole microseconds, capped at the largest `i32`, about 35 minutes.
fn micros(duration: Duration) -> i32 {
    i32::try_from(duration.as_micros()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_microseconds_up_to_a_limit() {
        assert_eq!(micros(Duration::from_nanos(1_999)), 1);
        assert_eq!(micros(Duration::MAX), i32::MAX);
    }
}
