//! Connections to a Postgres, and their connection strings.

use std::net::SocketAddr;

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use crate::realtime;

/// A connection string, direct or through a proxy at this address.
pub(crate) fn url(config: &Config, through: Option<SocketAddr>) -> String {
    let (host, port) = match through {
        Some(proxy) => (proxy.ip().to_string(), proxy.port()),
        None => host(config),
    };
    let user = config.get_user().unwrap_or("postgres");
    let password = config.get_password().map(String::from_utf8_lossy);
    let password = password.map_or_else(String::new, |password| format!(" password='{password}'"));
    let name = config.get_dbname().unwrap_or_default();
    format!("host='{host}' port={port} user={user}{password} dbname={name}")
}

/// The host, or the folder of its Unix socket, and the port.
pub(crate) fn host(config: &Config) -> (String, u16) {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "localhost".to_owned(),
    };
    (host, config.get_ports().first().copied().unwrap_or(5432))
}

pub(crate) async fn connect(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    realtime::spawn(async move { drop(connection.await) });
    Ok(client)
}
