//! Classifies the failure of a request: an error class and a sentence for people (D10).
//!
//! The classification uses the *types* in an error's chain of causes, not its text. The sentence contains nothing that
//! whoever chose the URL may not know: no address, no URL, no credentials, and no text of a library. Only one sentence
//! depends on an error's text, because hyper does not report otherwise which part of a response is malformed. It never
//! affects the class.
//!
//! What follows from a failure is the caller's business.

use std::error::Error;
use std::io;
use std::iter::successors;

use hyper::StatusCode;
use hyper_util::client::legacy::Error as ClientError;
use rustix::io::Errno;
use rustls::CertificateError;
use rustls::pki_types::InvalidDnsNameError;
use tower::BoxError;

use crate::outcome::{ErrorClass, Lack};
use crate::resolve::{LookupError, ResolveError};
use crate::timing::Phase;

/// A failed request's class and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: ErrorClass,
    pub(crate) message: String,
    /// The resource that this machine lacked, if any: nothing was sent, and the receiver is not to blame (D13).
    pub(crate) lack: Option<Lack>,
}

impl Failure {
    fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            lack: None,
        }
    }

    /// The URL itself leads to an address that may not be called (W10).
    pub(crate) fn blocked() -> Self {
        Self::new(
            ErrorClass::BlockedAddress,
            "The URL leads to an address that may not be called",
        )
    }

    /// An error on this side: the URL or a header cannot be written as HTTP.
    pub(crate) fn unsendable() -> Self {
        Self::new(
            ErrorClass::Protocol,
            "This URL and these headers do not make a valid request",
        )
    }

    /// The deadline was reached in `phase`, `millis` after the start. `None`: the request was made, but no response came
    /// (D2).
    pub(crate) fn timeout(phase: Option<Phase>, millis: i64) -> Self {
        let doing = match phase {
            Some(Phase::Resolving) => "resolving the host name",
            Some(Phase::Connecting) => "connecting",
            None => "waiting for the response headers",
        };
        // Rounded to a tenth of a second, so that a start some microseconds late does not give an odd limit.
        let seconds = (millis + 50) / 100;
        let limit = if seconds % 10 == 0 {
            format!("{}", seconds / 10)
        } else {
            format!("{}.{}", seconds / 10, seconds % 10)
        };
        Self::new(ErrorClass::Timeout, format!("Timed out after {limit} s {doing}"))
    }

    /// The failure for a final status; `None` for 2xx (D1, D3).
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        if status.is_success() {
            return None;
        }
        let name = status
            .canonical_reason()
            .map_or(String::new(), |name| format!(" {name}"));
        let rule = if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            "; redirects are not followed"
        } else {
            ""
        };
        let message = format!("The receiver answered {}{name}{rule}", status.as_u16());
        Some(Self::new(ErrorClass::Status, message))
    }

    /// This machine has no file descriptor or memory left for a connection.
    pub(crate) fn exhausted() -> Self {
        Self {
            lack: Some(Lack::Means),
            ..Self::new(
                ErrorClass::Connect,
                "This server could not open a connection; the receiver was not called",
            )
        }
    }

    /// The name cannot be looked up, or does not exist.
    pub(crate) fn unresolvable() -> Self {
        Self::new(ErrorClass::Dns, "The host name could not be resolved")
    }

    /// No name server responds to any query.
    pub(crate) fn without_name_servers() -> Self {
        Self {
            lack: Some(Lack::NameServers),
            ..Self::new(
                ErrorClass::Dns,
                "No name server responded to this server; the receiver was not called",
            )
        }
    }

    fn broken() -> Self {
        let message = "The connection was closed before the response headers were complete";
        Self::new(ErrorClass::Reset, message)
    }

    /// The failure for an error of the HTTP client.
    pub(crate) fn of_error(error: &ClientError) -> Self {
        if let Some(error) = find::<ResolveError>(error) {
            return of_resolution(error);
        }
        if let Some(error) = find::<rustls::Error>(error) {
            return Self::new(ErrorClass::Tls, tls_message(error));
        }
        if find::<InvalidDnsNameError>(error).is_some() {
            return Self::new(ErrorClass::Tls, "No certificate can be valid for this host name");
        }
        if find::<HandshakeFailed>(error).is_some() {
            return Self::new(ErrorClass::Tls, "The receiver aborted the TLS handshake");
        }
        if error.is_connect() {
            let cause = find::<io::Error>(error);
            if cause.is_some_and(is_exhaustion) {
                return Self::exhausted();
            }
            // The receiver resets a connection that it has just accepted. Whether the operating system reports this
            // while connecting or while writing is chance.
            if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset) {
                return Self::broken();
            }
            return Self::new(ErrorClass::Connect, connect_message(cause));
        }
        of_exchange(error)
    }
}

/// The connection was made, then TLS failed on it. Set by the connector, because only the connector can distinguish the
/// two.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed")]
struct HandshakeFailed(#[source] BoxError);

/// Marks errors of the TLS handshake among a connector's errors.
///
/// A TCP or DNS error has its own type there (`ConnectError`). A handshake error is a bare [`io::Error`] that contains
/// the TLS error, or nothing if the receiver just closed the connection.
pub(crate) fn tag_handshake(error: BoxError) -> BoxError {
    if error.is::<io::Error>() {
        HandshakeFailed(error).into()
    } else {
        error
    }
}

/// Whether no name server responded to the request's lookup.
pub(crate) fn is_unanswered(error: &ClientError) -> bool {
    matches!(
        find::<ResolveError>(error),
        Some(ResolveError::Lookup(LookupError::Unanswered(_)))
    )
}

fn of_resolution(error: &ResolveError) -> Failure {
    match error {
        ResolveError::Lookup(LookupError::Exhausted) => Failure::exhausted(),
        ResolveError::Lookup(LookupError::Answered(_)) => Failure::unresolvable(),
        ResolveError::Lookup(LookupError::Unanswered(_)) => Failure::new(
            ErrorClass::Dns,
            "The host name could not be resolved: no name server responded",
        ),
        ResolveError::Empty => Failure::new(ErrorClass::Dns, "The host name has no address"),
        ResolveError::Forbidden(_) => Failure::blocked(),
    }
}

/// Whether this process or the machine may not open more files (EMFILE, ENFILE), or has no memory (ENOMEM, ENOBUFS). A
/// lack of local ports or addresses (EADDRNOTAVAIL) does not count: a machine without IPv6 gives that error for every
/// receiver that has only IPv6 addresses.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// There was a connection, but the exchange on it failed.
fn of_exchange(error: &ClientError) -> Failure {
    let broken = match find::<h2::Error>(error) {
        Some(error) => error.is_io() || error.is_remote(),
        None => {
            find::<io::Error>(error).is_some()
                || innermost::<hyper::Error>(error).is_some_and(|error| {
                    error.is_incomplete_message()
                        || error.is_closed()
                        || error.is_canceled()
                        || error.is_shutdown()
                        || error.is_timeout()
                })
        }
    };
    if broken {
        Failure::broken()
    } else {
        let message = innermost::<hyper::Error>(error).map_or(NOT_HTTP, unreadable);
        Failure::new(ErrorClass::Protocol, message)
    }
}

const NOT_HTTP: &str = "The receiver's response is not valid HTTP";

/// Why an HTTP/1 response could not be read.
fn unreadable(error: &hyper::Error) -> &'static str {
    let text = error.to_string();
    if error.is_parse_status() {
        "The receiver's response has a status line that is not valid HTTP"
    } else if error.is_parse_too_large() {
        "The receiver's response has too many headers, or too long ones"
    } else if error.is_parse()
        && ["header", "content-length", "transfer-encoding"]
            .iter()
            .any(|part| text.contains(part))
    {
        "The receiver's response has a header that is not valid HTTP"
    } else {
        NOT_HTTP
    }
}

fn tls_message(error: &rustls::Error) -> &'static str {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "The receiver's certificate has expired"
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "The receiver's certificate is not valid yet",
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "The receiver's certificate is for another host name",
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "The receiver's certificate is self-signed or from an unknown issuer"
        }
        Tls::InvalidCertificate(_) => "The receiver's certificate is not valid",
        Tls::AlertReceived(_) => "The receiver refused the TLS handshake",
        Tls::PeerIncompatible(_) => "The receiver and this server have no TLS version or cipher in common",
        Tls::InvalidMessage(_) => "The receiver does not speak TLS on this port",
        _ => "The TLS handshake failed",
    }
}

fn connect_message(error: Option<&io::Error>) -> &'static str {
    match error.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "The receiver refused the connection",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "The receiver cannot be reached"
        }
        _ => "The connection could not be made",
    }
}

/// The error and its causes, outermost first.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |&error| {
        // `io::Error::source` skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped))
    })
}

fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn innermost<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).filter_map(|error| error.downcast_ref()).last()
}
