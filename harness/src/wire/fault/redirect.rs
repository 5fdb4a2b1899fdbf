//! Redirects that a client must not follow.

use std::io;

use crate::journal::Arrival;
use crate::reply::Reply;
use crate::wire::connection::Connection;

/// The target of a redirect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Destination {
    /// The called URL itself: a client that follows it never ends.
    Itself,
    /// The metadata service of a cloud.
    Metadata,
    /// A private network.
    Private,
}

/// Responds with this status and a redirect to the destination.
pub(super) async fn answer(
    mut connection: Connection,
    arrival: &Arrival,
    status: u16,
    destination: Destination,
) -> io::Result<()> {
    let location = match destination {
        Destination::Itself => arrival.path.as_str(),
        Destination::Metadata => "http://169.254.169.254/latest/meta-data/",
        Destination::Private => "http://10.0.0.1/",
    };
    connection
        .send(&Reply::status(status).header("location", location))
        .await
}
