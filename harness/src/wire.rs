//! A receiver on raw sockets, for behaviour that no web server has. Each connection has one request and a scripted
//! [`Behaviour`].
//!
//! A connection does exactly what its [`Behaviour`] says, over plain TCP or TLS with a good or bad [`Certificate`]. The
//! receiver does not keep connections alive, and uses HTTP/2 only for faults of HTTP/2.

mod behaviour;
mod certificate;
mod connection;
mod fault;
mod release_signal;
pub mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use self::behaviour::{Behaviour, Behaviours, Choice};
pub use self::certificate::{Authority, Certificate, Tls};
use self::connection::{Connection, Silence, Socket};
pub use self::fault::{ACCEPT_AFTER, Fault};
pub use self::release_signal::ReleaseSignal;
pub use self::script::Script;
use crate::journal::{Arrival, Journal};
use crate::realtime;
use crate::signature::Keyring;
use crate::timekeeper::Time;

/// A running receiver. Dropping it closes the port and every connection.
pub struct WireReceiver {
    address: SocketAddr,
    scheme: &'static str,
    journal: Journal,
    time: Time,
    behaviours: Arc<Mutex<Behaviours>>,
    work: Option<JoinHandle<()>>,
    /// Sockets that keep the port as it is: one that does not listen, or connections that fill the backlog.
    held: Vec<Held>,
}

#[expect(dead_code, reason = "held for the sake of its drop")]
enum Held {
    Socket(TcpSocket),
    Listener(TcpListener),
    Filler(TcpStream),
}

/// The address to listen on, and whether with TLS.
#[derive(Clone)]
pub struct Listen {
    /// The address. Port 0 selects a free port.
    pub address: SocketAddr,
    /// TLS with this certificate.
    pub tls: Option<Tls>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
        }
    }
}

impl WireReceiver {
    /// Starts a receiver whose connections do what `behaviours` says.
    pub async fn start(
        listen: Listen,
        time: Time,
        keyring: Keyring,
        behaviours: Behaviours,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen.address).await?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        let mut receiver = Self::at(listener.local_addr()?, scheme, time, keyring, behaviours);
        receiver.work = Some(realtime::spawn(receiver.acceptor(listener, listen.tls)));
        Ok(receiver)
    }

    /// A port that refuses every connection. It stays reserved, so that no other socket can take it.
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

    /// A port with a full backlog: further connections get no response at all.
    pub async fn deaf(time: Time, keyring: Keyring) -> io::Result<Self> {
        Self::deaf_at((Ipv4Addr::LOCALHOST, 0).into(), time, keyring).await
    }

    /// As [`WireReceiver::deaf`], at this IPv4 address.
    pub async fn deaf_at(address: SocketAddr, time: Time, keyring: Keyring) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        // A backlog of 0 still accepts one connection.
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
        time.stall_target(&address.to_string());
        Ok(receiver)
    }

    fn at(
        address: SocketAddr,
        scheme: &'static str,
        time: Time,
        keyring: Keyring,
        behaviours: Behaviours,
    ) -> Self {
        let journal = Journal::new(Arc::clone(&time), keyring);
        let behaviours = Arc::new(Mutex::new(behaviours));
        Self {
            address,
            scheme,
            journal,
            time,
            behaviours,
            work: None,
            held: Vec::new(),
        }
    }

    /// Its URL, for a webhook.
    pub fn url(&self) -> String {
        format!("{}://{}/hook", self.scheme, self.address)
    }

    /// The requests that arrived.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Sets the behaviour from the next connection on.
    pub fn behave(&self, behaviour: impl Into<Behaviour>) {
        let behaviour = behaviour.into();
        *self.behaviours.lock().unwrap_or_else(PoisonError::into_inner) = behaviour.for_all();
    }

    fn acceptor(&self, listener: TcpListener, tls: Option<Tls>) -> impl Future<Output = ()> + use<> {
        let (time, journal, behaviours) = (
            Arc::clone(&self.time),
            self.journal.clone(),
            Arc::clone(&self.behaviours),
        );
        let silence = Silence::new(Arc::clone(&time), self.address);
        async move {
            // Dropped with the acceptor, together with all connections.
            let mut connections = JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let behaviour = behaviours.lock().unwrap_or_else(PoisonError::into_inner)(number);
                let (time, journal, noted) = (Arc::clone(&time), journal.clone(), Arc::clone(&silence));
                let connected = move |stream| Connection {
                    number,
                    stream,
                    time,
                    journal,
                    silence: noted,
                };
                connections.spawn(serve(
                    stream,
                    tls.clone(),
                    behaviour,
                    Arc::clone(&silence),
                    connected,
                ));
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

impl Drop for WireReceiver {
    fn drop(&mut self) {
        self.time.resume_target(&self.address.to_string());
        if let Some(work) = &self.work {
            work.abort();
        }
    }
}

/// Serves one connection. The caller ignores errors: the client has closed the connection or refused the certificate,
/// and tests check how the client reports that.
async fn serve(
    stream: TcpStream,
    tls: Option<Tls>,
    behaviour: Behaviour,
    silence: Arc<Silence>,
    connected: impl FnOnce(Box<dyn Socket>) -> Connection,
) -> io::Result<()> {
    let fault = match &behaviour {
        Behaviour::Fault(fault) => Some(*fault),
        _ => None,
    };
    if let Some(fault) = fault.filter(|fault| fault.comes_before_tls()) {
        return fault.commit(connected(Box::new(stream))).await;
    }
    if fault == Some(Fault::SlowAccept) {
        Silence::last(&silence, ACCEPT_AFTER).await;
    }
    let mut connection = connected(match tls {
        Some(tls) => Box::new(
            tls.acceptor(fault.is_some_and(Fault::needs_http2))
                .accept(stream)
                .await?,
        ),
        None => Box::new(stream),
    });
    match behaviour {
        Behaviour::Fault(Fault::SlowAccept) => {
            connection.receive().await?;
            connection.send(&200.into()).await
        }
        Behaviour::Fault(fault) => fault.commit(connection).await,
        behaviour => {
            let arrival = connection.receive().await?;
            act(behaviour, connection, &arrival).await
        }
    }
}

/// Responds to a request that has been read.
async fn act(mut behaviour: Behaviour, mut connection: Connection, arrival: &Arrival) -> io::Result<()> {
    let reply = loop {
        match behaviour {
            Behaviour::Chosen(choice) => behaviour = choice.of(arrival),
            Behaviour::Fault(fault) => return fault.commit_after(connection, arrival).await,
            Behaviour::Reply(reply) => break reply,
            Behaviour::ReplyAfter(wait, reply) => {
                connection.time.delay(&arrival.name(), wait).await;
                break reply;
            }
            Behaviour::ReplyOnRelease(signal, reply) => {
                signal.wait(&connection.time, arrival.name()).await;
                break reply;
            }
        }
    };
    connection.send(&reply).await
}

#[cfg(test)]
mod tests;
