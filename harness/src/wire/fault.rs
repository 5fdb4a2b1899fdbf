//! Named faults of a receiver that are not proper HTTP responses, and how a connection produces each.
//!
//! Each fault does exactly what its name says, and one that never responds tells the clock. Any response that a web
//! server could send, however wrong, is a [`Reply`](crate::reply::Reply) instead.

mod body;
mod head;
mod http2;
mod interim;
mod redirect;

use std::fmt;
use std::io;

use clap::ValueEnum;
use jiff::SignedDuration;

use self::redirect::Destination;
use super::connection::Connection;
use crate::journal::Arrival;

/// How long a connection waits under [`Fault::SlowAccept`], in the world's time.
pub const ACCEPT_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A fault of one connection. The texts are part of help and of the scenarios' sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Fault {
    /// Accepts and never reads or writes: a TLS handshake hangs.
    Silence,
    /// Neither reads nor writes for two seconds, then answers 200.
    SlowAccept,
    /// Resets the connection as soon as it is accepted.
    ResetAtOnce,
    /// Reads the request, then resets the connection.
    ResetAfterRequest,
    /// Reads the request, then closes without an answer.
    CloseWithoutAnswer,
    /// Reads the request, then closes its own direction only, and never answers.
    HalfClose,
    /// Reads the request, then sends nothing.
    #[value(alias = "hang")]
    HangBeforeHeaders,
    /// Sends a status line and a header, but never ends the headers.
    HangInHeaders,
    /// Sends the status line and headers of a 200, one byte per second.
    DripHeaders,
    /// Sends a status line and half a header, then resets the connection.
    ResetInHeaders,
    /// Answers with something that is not HTTP.
    Garbage,
    /// Answers with a status that is not a number.
    MalformedStatusLine,
    /// Answers 200 with 1 MiB of headers.
    OversizedHeaders,
    /// Answers 200 with a header that continues on the next line, which was allowed until 2014.
    FoldedHeader,
    /// Answers 200 with a space between a header's name and its colon.
    BlankBeforeColon,
    /// Answers 200 with a line among the headers that is not a header.
    LineWithoutColon,
    /// Answers 200 and sends half of the body, then nothing.
    HangInBody,
    /// Answers 200 and sends half of the body, then resets the connection.
    ResetInBody,
    /// Sends `200 OK` and a body that never ends, as fast as it is read.
    EndlessBody,
    /// Answers 200 and closes before it has sent as much of the body as content-length says.
    ShortBody,
    /// Answers 200 and sends more of a body than content-length says.
    LongBody,
    /// Answers 200 in chunks, then sends something that is not a chunk.
    ChunkedGarbage,
    /// Answers 200 with 128 KiB of gzip that expand to 128 MiB.
    GzipBomb,
    /// Answers `101 Switching Protocols`.
    SwitchingProtocols,
    /// Sends `103 Early Hints` and then `200 OK`.
    EarlyHints,
    /// Sends five thousand `103 Early Hints` and then `200 OK`.
    EarlyHintsStorm,
    /// Sends `103 Early Hints` without end, and never a final answer.
    EndlessEarlyHints,
    /// Redirects to the same URL, with 301.
    #[value(name = "redirect-301")]
    Redirect301,
    /// Redirects to the same URL, with 302.
    #[value(name = "redirect-302")]
    Redirect302,
    /// Redirects to the same URL, with 303.
    #[value(name = "redirect-303")]
    Redirect303,
    /// Redirects to the same URL, with 307.
    #[value(name = "redirect-307")]
    Redirect307,
    /// Redirects to the same URL, with 308.
    #[value(name = "redirect-308")]
    Redirect308,
    /// Redirects to a cloud's metadata address, with 307.
    RedirectToMetadata,
    /// Redirects to a private address, with 307.
    RedirectToPrivate,
    /// HTTP/2: reads the request, then ends the connection with GOAWAY.
    #[value(name = "http2-goaway")]
    Http2Goaway,
    /// HTTP/2: reads the request, then refuses its stream with RST_STREAM.
    #[value(name = "http2-reset-stream")]
    Http2ResetStream,
    /// HTTP/2: never sends the SETTINGS that open its side of the connection, nor anything else.
    #[value(name = "http2-without-settings")]
    Http2WithoutSettings,
}

impl Fault {
    /// All faults.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The fault's name, which [`ValueEnum`] parses. Names are stable.
    pub fn name(self) -> String {
        self.described().get_name().to_owned()
    }

    /// A description of the fault, in one sentence without a full stop.
    pub fn help(self) -> String {
        self.described()
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn described(self) -> clap::builder::PossibleValue {
        self.to_possible_value()
            .expect("no fault is hidden from the command line")
    }

    /// Whether the fault concerns the TCP connection, before a TLS handshake.
    pub(super) fn comes_before_tls(self) -> bool {
        matches!(self, Self::Silence | Self::ResetAtOnce)
    }

    /// Whether the fault needs HTTP/2. A connection over TLS offers HTTP/2 only for these faults.
    pub fn needs_http2(self) -> bool {
        matches!(
            self,
            Self::Http2Goaway | Self::Http2ResetStream | Self::Http2WithoutSettings
        )
    }

    /// Produces the fault on a connection. Reads the request first if the fault comes after it.
    pub(super) async fn commit(self, mut connection: Connection) -> io::Result<()> {
        if self.needs_http2() {
            return http2::commit(self, connection).await;
        }
        match self {
            Self::Silence => {
                connection.keep_silent().await;
                Ok(())
            }
            Self::ResetAtOnce => connection.reset(),
            _ => {
                let arrival = connection.receive().await?;
                self.commit_after(connection, &arrival).await
            }
        }
    }

    /// Produces the fault on a connection whose request has been read. A fault that belongs before the request comes
    /// now. One of HTTP/2 closes without a response, because the connection does not use HTTP/2.
    pub(super) async fn commit_after(self, mut connection: Connection, arrival: &Arrival) -> io::Result<()> {
        match self {
            Self::Silence | Self::HangBeforeHeaders => connection.hang(arrival).await,
            Self::SlowAccept => {
                connection.time.delay(&arrival.name(), ACCEPT_AFTER).await;
                return connection.send(&200.into()).await;
            }
            Self::ResetAtOnce | Self::ResetAfterRequest => return connection.reset(),
            Self::CloseWithoutAnswer
            | Self::Http2Goaway
            | Self::Http2ResetStream
            | Self::Http2WithoutSettings => {}
            Self::HalfClose => {
                connection.half_close().await?;
                connection.outlast().await;
            }
            Self::HangInHeaders => head::hang(&mut connection, arrival).await?,
            Self::DripHeaders => head::drip(&mut connection, arrival).await?,
            Self::ResetInHeaders => return head::reset(connection).await,
            Self::Garbage => connection.write(b"ICY 200 OK\r\n\r\n").await?,
            Self::MalformedStatusLine => connection.write(head::MALFORMED).await?,
            Self::OversizedHeaders => connection.write(&head::oversized()).await?,
            Self::FoldedHeader => connection.write(head::FOLDED).await?,
            Self::BlankBeforeColon => connection.write(head::BLANK_BEFORE_COLON).await?,
            Self::LineWithoutColon => connection.write(head::WITHOUT_COLON).await?,
            Self::HangInBody => body::hang(&mut connection, arrival).await?,
            Self::ResetInBody => return body::reset(connection).await,
            Self::EndlessBody => body::endless(&mut connection).await?,
            Self::ShortBody => connection.write(body::SHORT).await?,
            Self::LongBody => connection.write(body::LONG).await?,
            Self::ChunkedGarbage => connection.write(body::CHUNKED_GARBAGE).await?,
            Self::GzipBomb => connection.write(&body::gzip_bomb()).await?,
            Self::SwitchingProtocols => connection.write(interim::SWITCHING).await?,
            Self::EarlyHints => interim::hints(&mut connection, 1).await?,
            Self::EarlyHintsStorm => interim::hints(&mut connection, interim::STORM).await?,
            Self::EndlessEarlyHints => interim::endless(&mut connection, arrival).await?,
            Self::Redirect301 => {
                return redirect::answer(connection, arrival, 301, Destination::Itself).await;
            }
            Self::Redirect302 => {
                return redirect::answer(connection, arrival, 302, Destination::Itself).await;
            }
            Self::Redirect303 => {
                return redirect::answer(connection, arrival, 303, Destination::Itself).await;
            }
            Self::Redirect307 => {
                return redirect::answer(connection, arrival, 307, Destination::Itself).await;
            }
            Self::Redirect308 => {
                return redirect::answer(connection, arrival, 308, Destination::Itself).await;
            }
            Self::RedirectToMetadata => {
                return redirect::answer(connection, arrival, 307, Destination::Metadata).await;
            }
            Self::RedirectToPrivate => {
                return redirect::answer(connection, arrival, 307, Destination::Private).await;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
