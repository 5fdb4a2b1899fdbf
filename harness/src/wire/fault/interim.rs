//! Responses with a 1xx status: before the final response, instead of it, and without end.

use std::io;
use std::time::Duration;

use crate::journal::Arrival;
use crate::realtime;
use crate::wire::connection::Connection;

pub(super) const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Number of hints in a storm.
pub(super) const STORM: usize = 5_000;

/// The pause between two bursts of endless hints. Without it one connection would use a whole core.
const BREATH: Duration = Duration::from_millis(5);

/// Sends `count` hints, and then 200.
pub(super) async fn hints(connection: &mut Connection, count: usize) -> io::Result<()> {
    let mut answer = HINT.repeat(count);
    answer.extend(OK);
    connection.write(&answer).await
}

/// Sends hints until the other side gives up.
pub(super) async fn endless(connection: &mut Connection, arrival: &Arrival) -> io::Result<()> {
    connection.time.stall(&arrival.name());
    let burst = HINT.repeat(100);
    loop {
        connection.write(&burst).await?;
        realtime::pause(BREATH).await;
    }
}
