//! One HTTP request to a receiver, and how it went, as data.
//!
//! Promises that whatever the receiver does becomes an [`Outcome`], within the deadline (D2); that one attempt is one
//! wire request, never repeated and never redirected (D3, D5); that only vetted addresses are connected to (W10), over
//! TLS 1.2 or later with a certificate that is checked where the URL says `https`; and that a receiver can make us hold
//! no more than a bounded part of its answer. A certificate that was revoked is not known as such: no list is asked.
//!
//! The one exception of D5 is hyper's: a request that was still queued when its kept-alive connection turned out closed
//! goes out on another one. A request of which a byte was written never does.
//!
//! Does not decide when to send or what a failure leads to, does not render or sign, and keeps no log. Connections and
//! certificates live in real time, whatever the clock: how long one is kept, whether one has expired.

mod classify;
mod connector;
mod dns;
mod phases;
mod resolve;
mod response;
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
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::util::{BoxCloneSyncService, MapFutureLayer};
use tower::{BoxError, Layer};
use url::{Host, Url};

use self::classify::Failure;
use self::connector::Connector;
pub use self::dns::{DnsResolver, NoResolver};
use self::phases::{Phase, Phases, measured};
pub use self::resolve::{LookupError, MAX_ADDRESSES, Resolver};
use self::resolve::{ResolveError, Vetted};
pub use self::response::{ExcerptLimits, MAX_HEADER_BYTES, MAX_HEADERS};
use tenterhook_clock::{Clock, RequestInFlight};
use tenterhook_model::attempt::Outcome;
use tenterhook_policy::postponement::{Lack, Patience};
use tenterhook_policy::target::{Blocked, TargetPolicy, UrlRefusal};

/// How long an unused connection is kept. Under the 5 s after which common servers close it, so that we do first.
const KEPT_IDLE: Duration = Duration::from_secs(4);
/// How long an HTTP/2 connection with requests on it may be silent before it is asked for a sign of life.
///
/// Without that a dead connection would go on taking attempts, and let each of them time out.
const PING_AFTER: Duration = Duration::from_secs(5);
/// How long the sign of life may take. Long, since giving up the connection breaks off the attempts on it: a receiver
/// that is busy for a while and then answers in time must not be cut off.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// The most response headers that are taken; with one more the answer is not valid HTTP. How many bytes they may have
/// is hyper's choice in HTTP/1: 408 KiB.
const MOST_HEADERS: usize = 100;
/// Over HTTP/2 fewer bytes of response headers than this are taken, counted as it does: 32 more for each.
const MOST_HTTP2_HEADER_BYTES: u32 = 16 * 1024;
/// What a receiver may send over HTTP/2, of one answer and of all on a connection, before we have read what came. Small:
/// more than an excerpt is never read, and what is underway lies in our memory.
const HTTP2_STREAM_WINDOW: u32 = 65_535;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;
/// How long the lookup of a name may take when a webhook is created.
const VET_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// What a [`Transport`] is made of.
pub struct TransportSettings {
    /// Which addresses may be called (W10).
    pub targets: Arc<TargetPolicy>,
    /// Where names are looked up; a [`DnsResolver`] unless a test says otherwise.
    pub resolver: Arc<dyn Resolver>,
    /// Authorities to trust besides the built-in ones, as PEM.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// The `user-agent` of every request.
    pub user_agent: String,
    /// When name servers that do not answer make an attempt none (D13).
    pub patience: Patience,
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The extra authorities are not PEM.
    #[error("the extra CA file is not PEM")]
    ExtraCa(#[source] pem::Error),
    /// The extra authorities are none.
    #[error("the extra CA file has no certificate in it")]
    NoExtraCa,
    /// An extra authority is PEM, but not of a certificate.
    #[error("the extra CA file has something in it that is not a certificate")]
    NoCertificate(#[source] rustls::Error),
    /// The user agent is no header value.
    #[error("the user agent cannot be sent")]
    UserAgent,
}

/// One attempt's request, ready to be sent. A POST.
pub struct Request {
    /// Where to.
    pub url: Url,
    /// Headers, signature and credentials included.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub body: Bytes,
    /// When there must be response headers at the latest (D2).
    pub deadline: Timestamp,
    /// How much of the response is kept.
    pub excerpt_limits: ExcerptLimits,
    /// Who it is, for simulated time.
    pub in_flight: RequestInFlight,
}

impl fmt::Debug for Request {
    /// Neither header values nor the URL: both can carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deadline,
            body,
            in_flight,
            ..
        } = self;
        f.debug_struct("Request")
            .field("in_flight", in_flight)
            .field("body_bytes", &body.len())
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// What came of it.
    pub outcome: Outcome,
    /// When it started.
    pub started_at: Timestamp,
    /// When its result was known: headers, error or time-out. Reading the body may have taken longer.
    pub ended_at: Timestamp,
    /// Microseconds from start to result: of real time, or of simulated time if that has moved in between.
    pub duration_us: i32,
    /// What this machine lacked, so that no request was made. Then it is not an attempt (D13).
    pub lack: Option<Lack>,
}

/// A connection, with TLS or without.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting = BoxFuture<'static, Result<Stream, BoxError>>;

/// Sends requests. Clones share the connections.
#[derive(Clone)]
pub struct Transport {
    client: Client<BoxCloneSyncService<Uri, Stream, BoxError>, Full<Bytes>>,
    /// What goes with every request.
    headers: HeaderMap,
    targets: Arc<TargetPolicy>,
    names: Vetted,
    patience: Patience,
    clock: Clock,
}

impl Transport {
    /// A transport without connections yet.
    ///
    /// # Errors
    ///
    /// If the extra authorities cannot be read.
    pub fn new(clock: Clock, settings: TransportSettings) -> Result<Self, TransportError> {
        let TransportSettings {
            targets,
            resolver,
            extra_ca_pem,
            user_agent,
            patience,
        } = settings;
        let names = Vetted::new(resolver, targets.clone());
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("*/*")),
            // What is read of a body is bounded on the wire, so we unpack it ourselves: see `response`.
            (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            (
                USER_AGENT,
                HeaderValue::try_from(user_agent).map_err(|_| TransportError::UserAgent)?,
            ),
        ]);
        let tcp = Connector::new(names.clone(), clock.clone());
        let https = HttpsConnector::from((tcp, tls(extra_ca_pem.as_deref())?));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_IDLE)
            .http1_max_headers(MOST_HEADERS)
            // The status decides, whatever the other lines look like (D1): folded lines are joined, a blank before the colon is
            // passed over, and so is a line that is no header.
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

    /// Makes the request, once, and reads of the answer what the log keeps.
    ///
    /// The status is decided at the headers; the rest of the deadline goes to the body, which changes nothing.
    pub async fn send(&self, request: Request) -> Sent {
        let Request {
            url,
            headers,
            body,
            deadline,
            excerpt_limits,
            in_flight,
        } = request;
        let started_at = self.clock.now();
        let phases = Phases::new(self.clock.clone(), deadline);
        let _in_flight = self.clock.external(in_flight);

        let answer = self
            .exchange(url, headers, body, deadline, started_at, &phases)
            .await;

        let ended_at = self.clock.now();
        let simulated = self.clock.simulation().map(|_| {
            let passed = ended_at.duration_since(started_at);
            passed.try_into().unwrap_or_default()
        });
        let (timings, duration_us) = phases.end(answer.is_ok(), simulated);
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
            duration_us,
            lack,
        }
    }

    /// Whether every address that the URL's host has now may be called (W10): asked when a webhook is created, after
    /// [`TargetPolicy::vet_url`].
    ///
    /// A name that does not resolve, or not in time, is not refused: each attempt vets again what it connects to.
    ///
    /// # Errors
    ///
    /// The reason, if one may not.
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
        // The place to vet the URL as a whole; its host's addresses are vetted where they are connected to.
        let url = self
            .targets
            .vet_url(url.as_str())
            .map_err(|refusal| match refusal {
                // A webhook from before such names were refused: it fails as it did.
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
            // An address may have been left out that would have answered.
            Err(_) if phases.current() == Some(Phase::Connecting) && phases.lacked_means() => {
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

/// Wraps the making of a connection: times it, and keeps apart what TLS makes of it.
fn connecting(work: impl Future<Output = Result<Stream, BoxError>> + Send + 'static) -> Connecting {
    Box::pin(async {
        measured(Phase::Connecting, work)
            .await
            .map_err(classify::tag_handshake)
    })
}

/// TLS 1.2 or later, HTTP/2 if the receiver has it, and certificates by these authorities alone.
fn tls(extra_ca_pem: Option<&[u8]>) -> Result<ClientConfig, TransportError> {
    // An error says that another part of the process has installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for authority in authorities(extra_ca_pem)? {
        roots.add(authority).map_err(TransportError::NoCertificate)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The built-in authorities, and the extra ones. The machine's own store is not asked: it may be empty or missing.
///
/// # Errors
///
/// If the extra ones are not PEM, or there are none.
pub fn authorities(extra_pem: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let mut all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec();
    if let Some(pem) = extra_pem {
        let extra = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(TransportError::ExtraCa)?;
        if extra.is_empty() {
            return Err(TransportError::NoExtraCa);
        }
        all.extend(extra);
    }
    Ok(all)
}

/// Headers as the client wants them, credentials marked so that no log and no compression table shows them.
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
