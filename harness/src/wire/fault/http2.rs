//! Faults of HTTP/2, on a connection whose TLS handshake selected it, or with a client that uses it without one.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::Request as Head;

use super::Fault;
use crate::journal::{Arrival, Journal, Request};
use crate::wire::connection::Connection;

/// Reads one request, and produces the fault on its stream or its connection.
pub(super) async fn commit(fault: Fault, connection: Connection) -> io::Result<()> {
    if fault == Fault::Http2WithoutSettings {
        connection.keep_silent().await;
        return Ok(());
    }
    let Connection {
        number,
        stream,
        journal,
        ..
    } = connection;
    let mut http2 = h2::server::Builder::new()
        .max_concurrent_streams(1)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(io::Error::other)?;
    let Some(accepted) = http2.accept().await else {
        return Ok(());
    };
    let (request, mut answer) = accepted.map_err(io::Error::other)?;
    {
        let reading = pin!(receive(request, number, &journal));
        // The stream makes progress only while the connection is polled too.
        let driving = pin!(poll_fn(|context| http2.poll_closed(context)));
        match select(reading, driving).await {
            Either::Left((received, _)) => received.map_err(io::Error::other)?,
            Either::Right((closed, _)) => return closed.map_err(io::Error::other),
        };
    }
    match fault {
        Fault::Http2ResetStream => refuse(&mut answer),
        _ => http2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
    }
    poll_fn(|context| http2.poll_closed(context))
        .await
        .map_err(io::Error::other)
}

/// Uses the code that demands most of a client: it says that the request may safely be sent again.
fn refuse(answer: &mut SendResponse<Bytes>) {
    answer.send_reset(Reason::REFUSED_STREAM);
}

async fn receive(
    request: Head<RecvStream>,
    connection: usize,
    journal: &Journal,
) -> Result<Arc<Arrival>, h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = BytesMut::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        // The window opens again only for data that is released.
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let path = head
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    Ok(journal.enter(Request {
        connection: Some(connection),
        method: head.method.to_string(),
        path,
        headers: headers.collect(),
        body: body.freeze(),
    }))
}
