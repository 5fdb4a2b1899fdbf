//! Faults in the status line or the headers.

use std::io;

use jiff::SignedDuration;

use crate::journal::Arrival;
use crate::wire::connection::Connection;

const UNFINISHED: &[u8] = b"HTTP/1.1 200 OK\r\nserver: unfinished\r\n";

/// Long enough that a byte per second takes longer than any time-out of the policy.
const DRIPPED: &[u8] = b"HTTP/1.1 200 OK\r\nserver: one that takes its time\r\ncontent-length: 0\r\n\r\n";

const DRIP_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// The letter O twice, where a status has the digit 0.
pub(super) const MALFORMED: &[u8] = b"HTTP/1.1 2OO OK\r\ncontent-length: 0\r\n\r\n";

/// A folded header.
pub(super) const FOLDED: &[u8] =
    b"HTTP/1.1 200 OK\r\nx-odd: folded\r\n  over two lines\r\ncontent-length: 0\r\n\r\n";

/// A blank where the syntax forbids it.
pub(super) const BLANK_BEFORE_COLON: &[u8] = b"HTTP/1.1 200 OK\r\nx-odd : blank\r\ncontent-length: 0\r\n\r\n";

/// A line that is not a header.
pub(super) const WITHOUT_COLON: &[u8] = b"HTTP/1.1 200 OK\r\nwithout a colon\r\ncontent-length: 0\r\n\r\n";

/// Total size of [`oversized`] headers, in bytes.
pub(super) const OVERSIZED: usize = 1 << 20;

/// Sends the beginning of the headers, and then nothing more.
pub(super) async fn hang(connection: &mut Connection, arrival: &Arrival) -> io::Result<()> {
    connection.write(UNFINISHED).await?;
    connection.hang(arrival).await;
    Ok(())
}

/// Sends a complete response, one byte per second of the world's time, until the client gives up.
pub(super) async fn drip(connection: &mut Connection, arrival: &Arrival) -> io::Result<()> {
    for byte in DRIPPED.chunks(1) {
        let pause = connection.time.delay(&arrival.name(), DRIP_EVERY);
        tokio::select! {
            () = pause => connection.write(byte).await?,
            () = connection.outlast() => return Ok(()),
        }
    }
    Ok(())
}

/// Sends the beginning of the headers, and resets the connection.
pub(super) async fn reset(mut connection: Connection) -> io::Result<()> {
    connection.write(b"HTTP/1.1 200 OK\r\nserver: unfin").await?;
    connection.let_read().await;
    connection.reset()
}

/// A complete 200 response with more headers than a client should accept.
pub(super) fn oversized() -> Vec<u8> {
    let line = format!("x-padding: {}\r\n", "x".repeat(1011));
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    answer.extend(line.repeat(OVERSIZED / line.len()).bytes());
    answer.extend(b"content-length: 0\r\n\r\n");
    answer
}
