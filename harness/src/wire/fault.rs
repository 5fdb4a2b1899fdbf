//! Named ways of a receiver to misbehave below or beside HTTP, and how each is done to one connection.
//!
//! Promises that each does exactly what its name says, and that one which never answers tells the clock. What a web
//! server could answer, however wrong, is a [`Reply`](crate::reply::Reply).

use std::io;

use clap::ValueEnum;
use tokio::io::AsyncWriteExt;

use super::connection::Connection;

/// One misbehaviour, of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Fault {
    /// Accepts and never reads or writes: a TLS handshake hangs.
    Silence,
    /// Resets the connection as soon as it is accepted.
    ResetAtOnce,
    /// Reads the request, then resets the connection.
    ResetAfterRequest,
    /// Reads the request, then closes without an answer.
    CloseWithoutAnswer,
    /// Reads the request, then sends nothing.
    HangBeforeHeaders,
    /// Sends a status line and a header, but never ends the headers.
    HangInHeaders,
    /// Answers with something that is not HTTP.
    Garbage,
    /// Answers `101 Switching Protocols`.
    SwitchingProtocols,
    /// Sends `103 Early Hints` and then `200 OK`.
    EarlyHints,
    /// Sends `200 OK` and a body that never ends, as fast as it is read.
    EndlessBody,
}

impl Fault {
    /// Whether it happens to the bare connection, before a TLS handshake.
    pub(super) fn comes_before_tls(self) -> bool {
        matches!(self, Self::Silence | Self::ResetAtOnce)
    }

    pub(super) async fn commit(self, mut connection: Connection) -> io::Result<()> {
        if !self.comes_before_tls() {
            let attempt = connection.receive().await?.name();
            if matches!(self, Self::HangBeforeHeaders | Self::HangInHeaders) {
                connection.time.stall(&attempt);
            }
        }
        match self {
            Self::Silence => connection.keep_silent().await,
            Self::ResetAtOnce | Self::ResetAfterRequest => connection.reset()?,
            Self::CloseWithoutAnswer => {}
            Self::HangBeforeHeaders => connection.outlast().await,
            Self::HangInHeaders => {
                connection
                    .stream
                    .write_all(b"HTTP/1.1 200 OK\r\nserver: unfinished\r\n")
                    .await?;
                connection.outlast().await;
            }
            Self::Garbage => connection.stream.write_all(b"ICY 200 OK\r\n\r\n").await?,
            Self::SwitchingProtocols => connection.stream.write_all(SWITCHING).await?,
            Self::EarlyHints => connection.stream.write_all(HINTS_THEN_OK).await?,
            Self::EndlessBody => {
                connection
                    .stream
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                    .await?;
                loop {
                    connection.stream.write_all(&[b'x'; 4096]).await?;
                }
            }
        }
        Ok(())
    }
}

const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const HINTS_THEN_OK: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
