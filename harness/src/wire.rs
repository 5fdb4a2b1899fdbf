//! A receiver on raw sockets, for what no web server would do: one request per connection, each by a script.
//!
//! Promises that a connection does what its [`Conduct`] says and nothing else, over plain TCP or TLS with a certificate
//! that nobody trusts. Does not keep connections alive and speaks HTTP/1.1 only.

mod connection;
mod cue;
mod fault;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use self::connection::{Connection, Silence, Socket};
pub use self::cue::Cue;
pub use self::fault::Fault;
use crate::journal::Journal;
use crate::realtime;
use crate::reply::Reply;
use crate::signature::Keyring;
use crate::timekeeper::Time;

/// What one connection does.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// Reads the request and answers.
    Reply(Reply),
    /// Reads the request and answers when this much of the world's time has passed.
    ReplyAfter(SignedDuration, Reply),
    /// Reads the request and answers when the test gives the cue.
    ReplyOnCue(Cue, Reply),
    /// Misbehaves.
    Fault(Fault),
}

impl From<Fault> for Conduct {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<u16> for Conduct {
    fn from(status: u16) -> Self {
        Self::Reply(status.into())
    }
}

/// What each connection does, by its number from 0.
pub type Conducts = Arc<dyn Fn(usize) -> Conduct + Send + Sync>;

/// A running receiver; dropping it closes the port and every connection.
pub struct WireReceiver {
    address: SocketAddr,
    scheme: &'static str,
    journal: Journal,
    time: Time,
    conducts: Arc<Mutex<Conducts>>,
    work: Option<JoinHandle<()>>,
    /// Whatever keeps the port as it is: a socket that does not listen, or connections that fill the queue.
    held: Vec<Held>,
}

#[expect(dead_code, reason = "held for the sake of its drop")]
enum Held {
    Socket(TcpSocket),
    Listener(TcpListener),
    Filler(TcpStream),
}

/// Where and as what to listen.
#[derive(Clone)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// TLS, with this certificate.
    pub tls: Option<TlsAcceptor>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
        }
    }
}

/// TLS with a certificate for this machine that is its own issuer, made now.
pub fn self_signed() -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl WireReceiver {
    /// Starts one in which every connection does what `conducts` says.
    pub async fn start(listen: Listen, time: Time, keyring: Keyring, conducts: Conducts) -> io::Result<Self> {
        let listener = TcpListener::bind(listen.address).await?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        let mut receiver = Self::at(listener.local_addr()?, scheme, time, keyring, conducts);
        receiver.work = Some(realtime::spawn(receiver.acceptor(listener, listen.tls)));
        Ok(receiver)
    }

    /// A port that refuses every connection, and that nobody else can take meanwhile.
    pub fn refusing(time: Time, keyring: Keyring) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let mut receiver = Self::at(
            socket.local_addr()?,
            "http",
            time,
            keyring,
            Arc::new(|_| 200.into()),
        );
        receiver.held.push(Held::Socket(socket));
        Ok(receiver)
    }

    /// A port whose queue of connections is full: a further one gets no answer at all.
    pub async fn deaf(time: Time, keyring: Keyring) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        // A backlog of 0 still admits one.
        let filler = TcpStream::connect(address).await?;
        let mut receiver = Self::at(
            address,
            "http",
            Arc::clone(&time),
            keyring,
            Arc::new(|_| 200.into()),
        );
        receiver
            .held
            .extend([Held::Listener(listener), Held::Filler(filler)]);
        time.stall_target(address);
        Ok(receiver)
    }

    fn at(
        address: SocketAddr,
        scheme: &'static str,
        time: Time,
        keyring: Keyring,
        conducts: Conducts,
    ) -> Self {
        let journal = Journal::new(Arc::clone(&time), keyring);
        let conducts = Arc::new(Mutex::new(conducts));
        Self {
            address,
            scheme,
            journal,
            time,
            conducts,
            work: None,
            held: Vec::new(),
        }
    }

    /// Where it listens, as a subscription URL.
    pub fn url(&self) -> String {
        format!("{}://{}/hook", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Behaves otherwise from the next connection on.
    pub fn behave(&self, conduct: impl Into<Conduct>) {
        let conduct = conduct.into();
        *self.conducts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(move |_| conduct.clone());
    }

    fn acceptor(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> impl Future<Output = ()> + use<> {
        let (time, journal, conducts) = (
            Arc::clone(&self.time),
            self.journal.clone(),
            Arc::clone(&self.conducts),
        );
        let silence = Silence::new(Arc::clone(&time), self.address);
        async move {
            // Dropped with the acceptor, and every connection with it.
            let mut connections = JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let conduct = conducts.lock().unwrap_or_else(PoisonError::into_inner)(number);
                let (time, journal, silence) = (Arc::clone(&time), journal.clone(), Arc::clone(&silence));
                let connected = move |stream| Connection {
                    number,
                    stream,
                    time,
                    journal,
                    silence,
                };
                connections.spawn(serve(stream, tls.clone(), conduct, connected));
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

impl Drop for WireReceiver {
    fn drop(&mut self) {
        self.time.resume_target(self.address);
        if let Some(work) = &self.work {
            work.abort();
        }
    }
}

/// An error here is the other side's doing (it went away, or refused the certificate); what it makes of it is
/// what tests look at.
async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    conduct: Conduct,
    connected: impl FnOnce(Box<dyn Socket>) -> Connection,
) -> io::Result<()> {
    let before_tls = matches!(&conduct, Conduct::Fault(fault) if fault.comes_before_tls());
    let mut connection = connected(match tls {
        Some(tls) if !before_tls => Box::new(tls.accept(stream).await?),
        _ => Box::new(stream),
    });
    let reply = match conduct {
        Conduct::Fault(fault) => return fault.commit(connection).await,
        Conduct::Reply(reply) => {
            connection.receive().await?;
            reply
        }
        Conduct::ReplyAfter(wait, reply) => {
            let arrival = connection.receive().await?;
            connection.time.delay(&arrival.name(), wait).await;
            reply
        }
        Conduct::ReplyOnCue(cue, reply) => {
            let arrival = connection.receive().await?;
            cue.wait(&connection.time, arrival.name()).await;
            reply
        }
    };
    connection.send(&reply).await
}

#[cfg(test)]
mod tests;
