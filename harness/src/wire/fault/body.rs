//! Faults in the body of a 200 response. The status has been sent by then, and decides the result.

use std::io;
use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::journal::Arrival;
use crate::wire::connection::Connection;

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nhalf";
pub(super) const SHORT: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\nless than promised";
pub(super) const LONG: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmore than promised";
pub(super) const CHUNKED_GARBAGE: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nfirst\r\nno chunk\r\n";

const MIB: usize = 1 << 20;

/// Size of an expanded [`gzip_bomb`], in MiB.
pub(super) const EXPANDED_MIB: usize = 128;

/// Sends the headers and half of the body, and then nothing more.
///
/// The clock may move only after the client has had time to read the headers. Otherwise it could pass the deadline
/// before that, and the attempt would time out.
pub(super) async fn hang(connection: &mut Connection, arrival: &Arrival) -> io::Result<()> {
    connection.write(HALF).await?;
    connection.let_read().await;
    connection.hang(arrival).await;
    Ok(())
}

/// Sends the headers and half of the body, and resets the connection.
pub(super) async fn reset(mut connection: Connection) -> io::Result<()> {
    connection.write(HALF).await?;
    connection.let_read().await;
    connection.reset()
}

/// Sends the headers, and then a body as fast as the client reads it. Ends only with an error, when the client has
/// closed the connection.
pub(super) async fn endless(connection: &mut Connection) -> io::Result<()> {
    connection
        .write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        .await?;
    loop {
        connection.write(&[b'x'; 4096]).await?;
    }
}

/// A complete 200 response whose body expands a thousandfold.
///
/// It compresses one MiB of zeros to a run of bytes without references to earlier data, and repeats the run. The result
/// is as valid as compressing everything, and takes a hundredth of the time.
pub(super) fn gzip_bomb() -> Vec<u8> {
    let zeros = vec![0; MIB];
    let (mut whole, mut once) = (Crc::new(), Crc::new());
    once.update(&zeros);
    let run = compressed(&zeros).expect("writing to memory does not fail");
    // Magic number, deflate, no flags, no time, no compression hint, unknown system.
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..EXPANDED_MIB {
        body.extend(&run);
        whole.combine(&once);
    }
    // An empty last block, then checksum and length.
    body.extend([3, 0]);
    body.extend(whole.sum().to_le_bytes());
    body.extend(whole.amount().to_le_bytes());
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

/// Compresses to a whole number of bytes without a last block, so that more can follow.
fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.flush()?;
    Ok(encoder.get_ref().clone())
}
