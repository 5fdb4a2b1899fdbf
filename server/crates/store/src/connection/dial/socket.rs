//! Opens the socket of an attempt, with TLS if the mode wants it, and with probes that notice a lost peer.

use std::io;
use std::sync::Arc;

use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Call, Failure, Peer};
use crate::connection::Protection;
use crate::connection::wire::Socket;
use crate::tls::{self, Mode};

/// Postgres's request for TLS: its length and its code number.
const TLS_PLEASE: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

impl Call<'_> {
    pub(super) async fn socket(
        &self,
        peer: &Peer,
        encrypted: bool,
        again: bool,
    ) -> Result<(Socket, Protection), Failure> {
        let unreachable = |error: io::Error| Failure::new(format!("{}: {error}", peer.shown()));
        let (at, host) = match peer {
            Peer::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                return Ok((Socket::Unix(stream), Protection::Local));
            }
            Peer::Tcp { at, host } => (*at, host),
        };
        let mut stream = TcpStream::connect(at).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        self.watch(&stream).map_err(unreachable)?;
        let tls = &self.address.tls;
        if !encrypted {
            let why = match (tls.mode, again) {
                (Mode::Prefer, true) => "sslmode=prefer, and TLS failed",
                (Mode::Prefer, false) => "sslmode=prefer, and the server has no TLS",
                (Mode::Allow, _) => "sslmode=allow",
                _ => "sslmode=disable",
            };
            return Ok((Socket::Tcp(stream), Protection::None(why)));
        }
        if !tls.direct && !offers_tls(&mut stream).await.map_err(unreachable)? {
            if matches!(tls.mode, Mode::Prefer) {
                let why = "sslmode=prefer, and the server has no TLS";
                return Ok((Socket::Tcp(stream), Protection::None(why)));
            }
            return Err(Failure::new(format!(
                "{} has no TLS, and sslmode={} needs it: switch on TLS in the server (ssl = on)",
                peer.shown(),
                tls.mode.name()
            )));
        }
        let config = tls
            .client(self.address.connect_within)
            .await
            .map_err(Failure::new)?;
        let name = match ServerName::try_from(host.clone()) {
            Ok(name) => name,
            Err(_) if tls.mode == Mode::VerifyFull => {
                return Err(Failure::new(format!(
                    "{host} is not a name that a certificate can have, and sslmode=verify-full needs one"
                )));
            }
            Err(_) => ServerName::from(at.ip()),
        };
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| Failure::new(tls::explained(&error, tls, &peer.shown())))?;
        let protection = self.protection(&stream);
        Ok((Socket::Tls(Box::new(stream)), protection))
    }

    /// Makes the machine notice when the peer no longer responds.
    fn watch(&self, stream: &TcpStream) -> io::Result<()> {
        if let Some((idle, interval, count)) = self.address.keepalive {
            sockopt::set_socket_keepalive(stream, true)?;
            sockopt::set_tcp_keepidle(stream, idle)?;
            sockopt::set_tcp_keepintvl(stream, interval)?;
            sockopt::set_tcp_keepcnt(stream, count)?;
        }
        #[cfg(target_os = "linux")]
        if let Some(limit) = self.address.user_timeout {
            let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(stream, limit)?;
        }
        Ok(())
    }

    fn protection(&self, stream: &tokio_rustls::client::TlsStream<TcpStream>) -> Protection {
        let (_, session) = stream.get_ref();
        let protocol = session
            .protocol_version()
            .map_or_else(String::new, |version| format!("{version:?}").replace('_', "."));
        let cipher = session
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
        Protection::Tls {
            protocol,
            cipher,
            checked: self.address.tls.checked(),
        }
    }
}

/// Requests TLS. The reply is one byte, and nothing is read beyond it: plain text that follows is not from the server.
async fn offers_tls(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(&TLS_PLEASE).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::other("the response does not come from Postgres")),
    }
}
