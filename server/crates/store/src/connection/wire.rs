//! Passes the bytes of a connection to the driver, and reads the error codes in them.
//!
//! The driver that Diesel uses reads the code of each error but does not pass it on, so it is read here from what Postgres
//! sends: messages of a letter, a length and a body. The body of an error is a list of fields, and the field `C` is the
//! code.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::line::Line;
use super::sqlstate::Code;
use crate::tls;

/// The socket of a connection.
pub enum Socket {
    /// TCP, in plain text.
    Tcp(TcpStream),
    /// TCP, encrypted.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

macro_rules! each {
    ($socket:expr, $inner:ident => $does:expr) => {
        match $socket {
            Socket::Tcp($inner) => $does,
            Socket::Tls($inner) => $does,
            Socket::Unix($inner) => $does,
        }
    };
}

/// A socket that reports to its [`Line`] when bytes arrive, and the codes of errors among them.
pub struct Wire {
    socket: Socket,
    line: Arc<Line>,
    codes: Codes,
}

impl Wire {
    pub fn new(socket: Socket, line: Arc<Line>) -> Self {
        Self {
            socket,
            line,
            codes: Codes::default(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self { socket, line, codes } = &mut *self;
        ready!(each!(socket, inner => Pin::new(inner).poll_read(cx, buffer)))?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        if !came.is_empty() {
            line.hear(codes.pass(came));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut self.socket, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.socket, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.socket, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        let Socket::Tls(stream) = &self.socket else {
            return ChannelBinding::none();
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        certificate
            .and_then(|certificate| tls::end_point(certificate))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// The number of bytes of an error that are read: its code comes before the message.
const FIELDS: usize = 512;

/// Finds the codes of errors in a stream of messages, wherever reads split it.
#[derive(Default)]
struct Codes {
    /// The bytes of the next message's letter and length that have arrived.
    head: Vec<u8>,
    /// The number of bytes of the message's body that have not arrived yet.
    left: usize,
    /// The body, if the message is an error.
    error: Option<Vec<u8>>,
}

impl Codes {
    /// Reads more bytes; returns the last code that is now complete.
    fn pass(&mut self, mut bytes: &[u8]) -> Option<Code> {
        let mut found = None;
        loop {
            if self.left == 0 {
                if let Some(error) = self.error.take() {
                    found = code_of(&error).or(found);
                }
                let taken = bytes.len().min(5 - self.head.len());
                let (head, rest) = bytes.split_at(taken);
                self.head.extend_from_slice(head);
                bytes = rest;
                let [letter, length @ ..] = self.head.as_slice() else {
                    return found;
                };
                let Ok(length) = <[u8; 4]>::try_from(length) else {
                    return found;
                };
                // The length includes itself.
                self.left =
                    usize::try_from(u32::from_be_bytes(length).saturating_sub(4)).unwrap_or(usize::MAX);
                self.error = (*letter == b'E').then(Vec::new);
                self.head.clear();
            }
            if bytes.is_empty() && self.left > 0 {
                return found;
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.left));
            if let Some(error) = &mut self.error {
                let room = FIELDS.saturating_sub(error.len());
                error.extend(body.iter().take(room));
            }
            self.left -= body.len();
            bytes = rest;
        }
    }
}

/// The field `C`. Each field is a letter and a text that ends with a zero byte.
fn code_of(error: &[u8]) -> Option<Code> {
    error.split(|byte| *byte == 0).find_map(|field| match field {
        [b'C', code @ ..] => code.try_into().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[letter], length.as_slice(), body].concat()
    }

    fn error(code: &str) -> Vec<u8> {
        message(
            b'E',
            format!("SFEHLER\0VERROR\0C{code}\0MVerklemmung (Deadlock) entdeckt\0\0").as_bytes(),
        )
    }

    #[test]
    fn a_code_is_found_wherever_the_stream_is_cut() {
        let stream = [
            message(b'Z', b"I"),
            message(b'D', b"\0\0C12345\0"),
            error("40P01"),
            message(b'Z', b"I"),
        ]
        .concat();
        for at in 0..=stream.len() {
            let mut codes = Codes::default();
            let (first, second) = stream.split_at(at);
            let found = codes.pass(first);
            assert_eq!(codes.pass(second).or(found), Some(*b"40P01"), "cut at {at}");
        }
        let mut codes = Codes::default();
        let found: Vec<_> = stream.iter().filter_map(|byte| codes.pass(&[*byte])).collect();
        assert_eq!(found, [*b"40P01"]);
    }

    #[test]
    fn only_errors_have_a_code_and_the_last_one_counts() {
        let mut codes = Codes::default();
        assert_eq!(
            codes.pass(&[error("57014"), error("25P02")].concat()),
            Some(*b"25P02")
        );
        assert_eq!(codes.pass(&message(b'N', b"SHINWEIS\0C00000\0\0")), None);
        assert_eq!(codes.pass(&message(b'E', b"")), None);
    }

    #[test]
    fn an_error_of_any_length_is_passed_over() {
        let mut long = b"SERROR\0C57014\0M".to_vec();
        long.extend(vec![b'x'; 1 << 20]);
        let mut codes = Codes::default();
        let found: Vec<_> = message(b'E', &long)
            .chunks(4096)
            .filter_map(|some| codes.pass(some))
            .collect();
        assert_eq!(found, [*b"57014"]);
        assert!(codes.error.is_none());
        assert_eq!(codes.pass(&error("57P01")), Some(*b"57P01"));
    }
}
