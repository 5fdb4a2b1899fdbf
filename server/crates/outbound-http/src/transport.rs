//! One HTTP request to a receiver, and its outcome as data.
//!
//! Guarantees:
//!
//! - Every behaviour of the receiver becomes an [`Outcome`], within the deadline (D2).
//! - A [`Request`] is sent once, never repeated and never redirected (D3, D5).
//! - Connections go only to vetted addresses (W10). For `https` URLs they use TLS 1.2 or later, with a checked
//!   certificate. Revocation is not checked: no list is consulted.
//! - Only a bounded part of a response is held in memory.
//!
//! One exception to D5 comes from hyper: a request still queued on a kept-alive connection that turns out to be closed
//! is sent on another connection. A request with any byte written is never sent again.
//!
//! Not done here: deciding when to send or what a failure leads to, rendering, signing, and logging. Connections and
//! certificates use real time, whatever the clock: how long a connection is kept, and whether a certificate has expired.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Response, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;
use tower::util::{BoxCloneSyncService, MapFutureLayer};
use tower::{BoxError, Layer};
use url::{Host, Url};

use crate::classify::{self, Failure};
use crate::connector::Connector;
use crate::name_servers::Patience;
use crate::outcome::{Outcome, Sent};
use crate::resolve::{ResolveError, Resolver, Vetted};
use crate::response::{self, ExcerptLimits};
use crate::target::{Blocked, TargetPolicy, UrlRefusal};
use crate::timing::{Phase, Phases, measured};
use crate::tls::{self, BadAuthority};
use tenterhook_clock::{Clock, RequestInFlight};

/// How long an unused connection is kept. Below the 5 s after which common servers close it, so that this side closes
/// first.
const KEPT_IDLE: Duration = Duration::from_secs(4);
/// How long an HTTP/2 connection with requests on it may be silent before it gets a ping.
///
/// Without the ping, a dead connection would keep taking requests, and each of them would time out.
const PING_AFTER: Duration = Duration::from_secs(5);
/// How long the receiver may take to return the ping. This is long, because closing the connection fails the requests on
/// it. A receiver that is busy for a while and then responds in time must not be cut off.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// The most response headers that are accepted; a response with more counts as invalid HTTP. Their size in HTTP/1 is
/// limited by hyper: 408 KiB.
const MOST_HEADERS: usize = 100;
/// Over HTTP/2, response headers must have fewer bytes than this, counted as HTTP/2 does: 32 more for each header.
const MOST_HTTP2_HEADER_BYTES: u32 = 16 * 1024;
/// How much a receiver may send over HTTP/2 before it is read, for one response and for all on a connection. Small,
/// because only an excerpt is ever read, and unread data is held in this process's memory.
const HTTP2_STREAM_WINDOW: u32 = 65_535;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;
/// How long the lookup of a name may take in [`Transport::vet_host`].
const VET_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// What a [`Transport`] is made of.
pub struct TransportConfig {
    /// Which addresses may be called (W10).
    pub targets: Arc<TargetPolicy>,
    /// Looks names up: a [`DnsResolver`](crate::DnsResolver), except in tests.
    pub resolver: Arc<dyn Resolver>,
    /// Authorities to trust in addition to the built-in ones, as PEM.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// The `user-agent` of every request.
    pub user_agent: String,
    /// When a failed lookup is not blamed on its name, because name servers are silent (D13).
    pub patience: Patience,
}

/// Why a transport could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The extra authorities cannot be used.
    #[error(transparent)]
    Authority(#[from] BadAuthority),
    /// The user agent is not a valid header value.
    #[error("the user agent cannot be sent")]
    UserAgent,
}

/// One request, ready to be sent: a POST.
pub struct Request {
    /// The target URL.
    pub url: Url,
    /// Headers, with signature and credentials.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub body: Bytes,
    /// The latest moment for the response headers (D2).
    pub deadline: Timestamp,
    /// How much of the response is kept.
    pub excerpt_limits: ExcerptLimits,
    /// Names the request for simulated time: see [`RequestInFlight::name`].
    pub name: String,
}

impl fmt::Debug for Request {
    /// Shows neither header values nor the URL, because both can contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deadline, body, name, ..
        } = self;
        f.debug_struct("Request")
            .field("name", name)
            .field("body_bytes", &body.len())
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}

/// A connection, with or without TLS.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting = BoxFuture<'static, Result<Stream, BoxError>>;

/// Sends requests. Clones share the connections.
#[derive(Clone)]
pub struct Transport {
    client: Client<BoxCloneSyncService<Uri, Stream, BoxError>, Full<Bytes>>,
    /// Headers that every request has.
    headers: HeaderMap,
    targets: Arc<TargetPolicy>,
    names: Vetted,
    patience: Patience,
    clock: Clock,
}

impl Transport {
    /// A transport without connections.
    ///
    /// # Errors
    ///
    /// If the extra authorities cannot be read or the user agent is not valid.
    pub fn new(clock: Clock, config: TransportConfig) -> Result<Self, TransportError> {
        let TransportConfig {
            targets,
            resolver,
            extra_ca_pem,
            user_agent,
            patience,
        } = config;
        let names = Vetted::new(resolver, targets.clone());
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("*/*")),
            // The size of the body is bounded as received, so it is decompressed here and not by the client: see
            // `response`.
            (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            (
                USER_AGENT,
                HeaderValue::try_from(user_agent).map_err(|_| TransportError::UserAgent)?,
            ),
        ]);
        let tcp = Connector::new(names.clone(), clock.clone());
        let https = HttpsConnector::from((tcp, tls::client(extra_ca_pem.as_deref())?));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_IDLE)
            .http1_max_headers(MOST_HEADERS)
            // Only the status counts, even if other lines are malformed (D1): folded lines are joined, a space before
            // the colon is ignored, and so is a line that is not a header.
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http2_max_header_list_size(MOST_HTTP2_HEADER_BYTES)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PONG_WITHIN)
            .build(BoxCloneSyncService::new(
                MapFutureLayer::new(connecting).layer(https),
            ));
        Ok(Self {
            client,
            headers,
            targets,
            names,
            patience,
            clock,
        })
    }

    /// Makes the request once, and reads as much of the response as the log keeps.
    ///
    /// The status is known with the headers. The rest of the time until the deadline is for the body, which does not
    /// change the result.
    pub async fn send(&self, request: Request) -> Sent {
        let Request {
            url,
            headers,
            body,
            deadline,
            excerpt_limits,
            name,
        } = request;
        let started_at = self.clock.now();
        let phases = Phases::new(self.clock.clone(), deadline);
        let authority = url.host_str().zip(url.port_or_known_default());
        let _in_flight = self.clock.external(RequestInFlight {
            name,
            target: authority.map(|(host, port)| format!("{host}:{port}")),
        });

        let answer = self
            .exchange(url, headers, body, deadline, started_at, &phases)
            .await;

        let ended_at = self.clock.now();
        let simulated = self.clock.simulation().map(|_| {
            let passed = ended_at.duration_since(started_at);
            passed.try_into().unwrap_or_default()
        });
        let (timings, duration) = phases.end(answer.is_ok(), simulated);
        let lack = answer.as_ref().err().and_then(|failure| failure.lack);
        let outcome = match answer {
            Err(failure) => Outcome {
                status: None,
                error_class: Some(failure.class),
                error_message: Some(failure.message),
                timings,
                response_headers: Vec::new(),
                response_body: None,
                response_truncated: false,
            },
            Ok(response) => {
                let status = response.status();
                let failure = Failure::of_status(status);
                let keep = if failure.is_none() {
                    excerpt_limits.success
                } else {
                    excerpt_limits.failed
                };
                let response_headers = response::headers(response.headers());
                let excerpt = response::excerpt(response, keep, excerpt_limits, &self.clock, deadline).await;
                Outcome {
                    status: Some(status.as_u16()),
                    error_class: failure.as_ref().map(|failure| failure.class),
                    error_message: failure.map(|failure| failure.message),
                    timings,
                    response_headers,
                    response_body: excerpt.text,
                    response_truncated: excerpt.truncated,
                }
            }
        };
        Sent {
            outcome,
            started_at,
            ended_at,
            duration,
            lack,
        }
    }

    /// Whether every current address of the URL's host may be called (W10). For a URL that is
    /// going to be stored, after [`TargetPolicy::vet_url`].
    ///
    /// A name that does not resolve, or not in time, is not refused: each request vets the addresses it connects to.
    ///
    /// # Errors
    ///
    /// The reason, if an address may not be called.
    pub async fn vet_host(&self, url: &Url) -> Result<(), Blocked> {
        let name = match url.host() {
            Some(Host::Domain(name)) => name,
            Some(Host::Ipv4(address)) => return self.targets.vet_address(address.into()),
            Some(Host::Ipv6(address)) => return self.targets.vet_address(address.into()),
            None => return Ok(()),
        };
        let at = self.clock.now().checked_add(VET_WITHIN).unwrap_or(Timestamp::MAX);
        match self.clock.deadline(at, self.names.lookup(name)).await {
            Ok(Err(ResolveError::Forbidden(blocked))) => Err(blocked),
            Ok(Ok(_) | Err(ResolveError::Lookup(_) | ResolveError::Empty)) | Err(_) => Ok(()),
        }
    }

    fn lacks_name_servers(&self) -> bool {
        self.names.lacks_name_servers(self.patience)
    }

    /// Everything up to the response headers.
    async fn exchange(
        &self,
        url: Url,
        headers: Vec<(String, String)>,
        body: Bytes,
        deadline: Timestamp,
        started_at: Timestamp,
        phases: &Phases,
    ) -> Result<Response<Incoming>, Failure> {
        // The URL as a whole is vetted here. Its host's addresses are vetted when connections are made.
        let url = self
            .targets
            .vet_url(url.as_str())
            .map_err(|refusal| match refusal {
                // The URL was stored before this rule: its requests still fail as unresolvable.
                UrlRefusal::NoName => Failure::unresolvable(),
                _ => Failure::blocked(),
            })?;
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Failure::unsendable())?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().extend(header_map(headers)?);
        match self
            .clock
            .deadline(deadline, phases.of(self.client.request(request)))
            .await
        {
            Ok(Err(error)) if classify::is_unanswered(&error) && self.lacks_name_servers() => {
                Err(Failure::without_name_servers())
            }
            Ok(answer) => answer.map_err(|error| Failure::of_error(&error)),
            Err(_) if phases.current() == Some(Phase::Resolving) && self.lacks_name_servers() => {
                Err(Failure::without_name_servers())
            }
            // An address may have been skipped that would have accepted the connection.
            Err(_) if phases.current() == Some(Phase::Connecting) && phases.exhausted() => {
                Err(Failure::exhausted())
            }
            Err(_) => {
                let limit = deadline.duration_since(started_at).as_millis();
                Err(Failure::timeout(
                    phases.current(),
                    i64::try_from(limit).unwrap_or(i64::MAX),
                ))
            }
        }
    }
}

/// Wraps the creation of a connection: measures its time and marks errors of the TLS handshake.
fn connecting(work: impl Future<Output = Result<Stream, BoxError>> + Send + 'static) -> Connecting {
    Box::pin(async {
        measured(Phase::Connecting, work)
            .await
            .map_err(classify::tag_handshake)
    })
}

/// Converts headers for the client. Credentials are marked as sensitive, so that neither a log nor a compression table
/// contains them.
fn header_map(headers: Vec<(String, String)>) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| Failure::unsendable())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| Failure::unsendable())?;
        value.set_sensitive(name == AUTHORIZATION);
        map.append(name, value);
    }
    Ok(map)
}
