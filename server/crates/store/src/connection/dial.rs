//! Connecting: which host, which of its addresses, with TLS or without.
//!
//! Guarantees: a lookup ends within the address's `connect_timeout`, and so does each attempt at one address; all of them
//! together take about the time of a statement ([`altogether`]). Sockets have keep-alives and a user time-out, so that the
//! machine notices a lost peer while no statement runs.
//!
//! This is not left to the driver: it hides the codes of errors, supports neither `verify-ca` nor `verify-full`, does not
//! fall back to plain text when TLS fails, and has no time limit for a handshake.

mod socket;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use rand::seq::SliceRandom;
use tokio::net::lookup_host;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::line::Line;
use super::pulse::Pulse;
use super::wire::{Socket, Wire};
use super::{Conn, Protection, sqlstate};
use crate::address::Address;
use crate::tls::Mode;
use tenterhook_clock as clock;

/// The maximum time for all attempts together.
const ALTOGETHER: Duration = Duration::from_secs(20);
/// The time limit for ending the session of a connection that is no longer needed.
const GOODBYE: Duration = Duration::from_secs(1);

/// The time limit of all attempts together if a statement may take `limit`: the same, but long enough for one attempt.
pub(crate) fn altogether(address: &Address, limit: Duration) -> Duration {
    limit.min(ALTOGETHER).max(address.connect_within)
}

/// Connects. `limit` is the time limit of statements on the connection.
pub(super) async fn dial(address: &Address, limit: Duration, pulse: Arc<Pulse>) -> ConnectionResult<Conn> {
    let began = clock::monotonic();
    let call = Call {
        address,
        limit,
        pulse: &pulse,
    };
    let altogether = altogether(address, limit);
    let dialled = clock::within(altogether, call.hosts()).await;
    match dialled {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(failures)) => {
            if failures.iter().any(|failure| failure.silent) {
                pulse.cannot_connect(began, address.connect_within);
            }
            if failures.iter().any(|failure| failure.read_only) {
                pulse.refuses_changes();
            }
            let mut said: Vec<String> = failures.into_iter().map(|failure| failure.why).collect();
            said.dedup();
            Err(ConnectionError::BadConnection(said.join("; ")))
        }
        Err(_) => {
            pulse.cannot_connect(began, altogether);
            Err(ConnectionError::BadConnection(format!(
                "no host responded within {altogether:?}"
            )))
        }
    }
}

/// Why an attempt failed.
struct Failure {
    why: String,
    /// The server sent nothing.
    silent: bool,
    /// The connection string requires a server that accepts changes, and this one does not.
    read_only: bool,
    /// Postgres's code, if Postgres refused the connection.
    code: Option<sqlstate::Code>,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            silent: false,
            read_only: false,
            code: None,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error
            .code()
            .and_then(|code| code.code().as_bytes().try_into().ok());
        let why = match (error.as_db_error(), std::error::Error::source(&error)) {
            (Some(said), _) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
            (None, Some(source)) => format!("{error}: {source}"),
            (None, None) => error.to_string(),
        };
        Self {
            why,
            silent: false,
            read_only: false,
            code,
        }
    }
}

/// The target of an attempt.
#[derive(Debug, Clone)]
enum Peer {
    Tcp {
        at: SocketAddr,
        /// The name that the certificate must have.
        host: String,
    },
    Unix(std::path::PathBuf),
}

impl Peer {
    fn shown(&self) -> String {
        match self {
            Self::Tcp { at, host } if *host == at.ip().to_string() => at.to_string(),
            Self::Tcp { at, host } => format!("{host} ({at})"),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

struct Call<'a> {
    address: &'a Address,
    limit: Duration,
    pulse: &'a Arc<Pulse>,
}

impl Call<'_> {
    async fn hosts(&self) -> Result<Conn, Vec<Failure>> {
        let config = &self.address.config;
        let mut places: Vec<usize> =
            (0..config.get_hosts().len().max(config.get_hostaddrs().len())).collect();
        let shuffled = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        if shuffled {
            places.shuffle(&mut rand::rng());
        }
        let mut failures = Vec::new();
        for place in places {
            let mut peers = match self.peers(place).await {
                Ok(peers) => peers,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            };
            if shuffled {
                peers.shuffle(&mut rand::rng());
            }
            for peer in peers {
                match self.peer(&peer).await {
                    Ok(conn) => return Ok(conn),
                    Err(mut failed) => failures.append(&mut failed),
                }
            }
        }
        Err(failures)
    }

    /// The addresses of one host of the connection string.
    async fn peers(&self, place: usize) -> Result<Vec<Peer>, Failure> {
        let config = &self.address.config;
        let port = config
            .get_ports()
            .get(place)
            .or_else(|| config.get_ports().first());
        let port = port.copied().unwrap_or(5432);
        let named = config.get_hosts().get(place);
        if let Some(ip) = config.get_hostaddrs().get(place) {
            let host = match named {
                Some(Host::Tcp(host)) => host.clone(),
                _ => ip.to_string(),
            };
            let at = SocketAddr::new(*ip, port);
            return Ok(vec![Peer::Tcp { at, host }]);
        }
        match named {
            Some(Host::Unix(folder)) => Ok(vec![Peer::Unix(folder.join(format!(".s.PGSQL.{port}")))]),
            Some(Host::Tcp(host)) => {
                let found =
                    clock::within(self.address.connect_within, lookup_host((host.as_str(), port))).await;
                let found = found.map_err(|_| self.late(&format!("looking up {host}")))?;
                let found =
                    found.map_err(|error| Failure::new(format!("{host} cannot be looked up: {error}")))?;
                let host = host.clone();
                Ok(found
                    .map(|at| Peer::Tcp {
                        at,
                        host: host.clone(),
                    })
                    .collect())
            }
            None => Err(Failure::new("no host")),
        }
    }

    fn late(&self, doing: &str) -> Failure {
        Failure {
            why: format!(
                "{doing} took longer than {:?} (connect_timeout)",
                self.address.connect_within
            ),
            silent: true,
            read_only: false,
            code: None,
        }
    }

    /// Connects with TLS or without, as the mode says; tries both if the mode allows both.
    async fn peer(&self, peer: &Peer) -> Result<Conn, Vec<Failure>> {
        let mode = self.address.tls.mode;
        let attempts: &[bool] = match (peer, mode) {
            (Peer::Unix(_), _) | (_, Mode::Disable) => &[false],
            (_, Mode::Allow) => &[false, true],
            (_, Mode::Prefer) => &[true, false],
            (_, Mode::Require | Mode::VerifyCa | Mode::VerifyFull) => &[true],
        };
        let mut failures = Vec::new();
        for encrypted in attempts {
            let attempt = self.attempt(peer, *encrypted, !failures.is_empty());
            let failure = match clock::within(self.address.connect_within, attempt).await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(failure)) => failure,
                Err(_) => self.late(&format!("connecting to {}", peer.shown())),
            };
            // The other way is tried only for a failure that it may avoid.
            let otherwise = !failure.silent && failure.code.is_none_or(|code| code == sqlstate::NOT_ALLOWED);
            failures.push(failure);
            if !otherwise {
                break;
            }
        }
        Err(failures)
    }

    async fn attempt(&self, peer: &Peer, encrypted: bool, again: bool) -> Result<Conn, Failure> {
        let (socket, protection) = self.socket(peer, encrypted, again).await?;
        let line = Line::new(self.limit, self.pulse.clone());
        let mut config = self.address.config.clone();
        // At this point the socket is encrypted, or never will be.
        config.ssl_mode(match socket {
            Socket::Tls(_) => SslMode::Require,
            Socket::Tcp(_) | Socket::Unix(_) => SslMode::Disable,
        });
        config.ssl_negotiation(SslNegotiation::Direct);
        let plain = matches!(protection, Protection::None(_));
        let wire = Wire::new(socket, line.clone());
        let (client, mut connection) = config.connect_raw(wire, Encrypted).await.map_err(|error| {
            let mut failure = Failure::from(error);
            if plain && failure.code == Some(sqlstate::NOT_ALLOWED) {
                failure.why += &format!(
                    " – this was tried without encryption (sslmode={}); if the server requires TLS, set sslmode=require or \
                     stronger",
                    self.address.mode()
                );
            }
            failure
        })?;
        let driven = line.clone();
        drop(clock::spawn_io(async move {
            tokio::select! {
                biased;
                // The driver ends the session when its client is dropped, if the server still receives anything.
                () = driven.until_closed() => {
                    if !driven.is_given_up() {
                        let _ = clock::within(GOODBYE, &mut connection).await;
                    }
                }
                ended = &mut connection => {
                    driven.end(match ended {
                        Ok(()) => "the connection has ended".to_owned(),
                        Err(error) => Failure::from(error).why,
                    });
                }
            }
        }));
        let open = Open(Some(line.clone()));
        self.session(&client).await?;
        let inner = AsyncPgConnection::try_from(client)
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        open.keep();
        Ok(Conn::new(inner, line, protection))
    }

    /// Checks that the session is of the kind that the connection string requires.
    async fn session(&self, client: &Client) -> Result<(), Failure> {
        let wanted = match self.address.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let rows = client.simple_query("show transaction_read_only").await?;
        let found = rows.iter().find_map(|row| match row {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        match (found, wanted) {
            (Some(found), wanted) if found == wanted => Ok(()),
            (_, "off") => Err(Failure {
                read_only: true,
                ..Failure::new(
                    "the server is read-only, and target_session_attrs asks for one that accepts writes",
                )
            }),
            _ => Err(Failure::new(
                "the server accepts writes, and target_session_attrs asks for one that is read-only",
            )),
        }
    }
}

/// Closes the connection on drop, unless `keep` is called.
struct Open(Option<Arc<Line>>);

impl Open {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.close();
        }
    }
}

/// Tells the driver that the TLS handshake is already done.
struct Encrypted;

impl TlsConnect<Wire> for Encrypted {
    type Stream = Wire;
    type Error = Infallible;
    type Future = Ready<Result<Wire, Infallible>>;

    fn connect(self, wire: Wire) -> Self::Future {
        ready(Ok(wire))
    }
}
