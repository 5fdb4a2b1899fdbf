//! Settings: what an operator may choose, where each value comes from, and what is refused at start.
//!
//! Guarantees: every setting has one entry in one [`table`]. Unknown names, values out of bounds and settings that
//! contradict each other are refused at start, by name. No secret is ever shown. It is not checked whether the target
//! of a setting (a file, a database, a host) exists: the code that uses the setting reports that.

pub mod api;
pub mod cors;
pub mod files;
pub mod keys;
pub mod policy;
mod ports;
mod service_links;
pub mod sources;
pub mod strength;
pub mod table;
mod value;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use secrecy::SecretString;
use url::Url;

pub use api::ApiSettings;
pub use keys::{JwksSource, KeyError, Keys, TokenKeys};
pub use policy::{AppSees, EveryoneV1, PolicySettings};
pub use ports::{NotPorts, PortRange};
pub use sources::{Loaded, Origin, SettingsError};

/// Which clock the server uses (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockKind {
    /// Real time.
    System,
    /// Simulated time: stands still until an operator advances it.
    Simulated,
}

/// All settings of the server. [`Settings::default`] is for production, with nothing chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address on which the API listens.
    pub listen: SocketAddr,
    /// Whether GraphiQL is served.
    pub graphiql: bool,
    /// Whether the REST routes are served.
    pub rest: bool,
    /// Whether the query string of a REST request may carry a token.
    pub rest_query_token: bool,
    /// Real or simulated time (T1).
    pub clock: ClockKind,
    /// Which log lines are written, as a `tracing` filter.
    pub log: String,
    /// The URL of the database; without it `dev` starts its own.
    pub database_url: Option<SecretString>,
    /// The maximum number of database connections of this process.
    pub database_connections: u16,
    /// The time limit of a statement in the database. Two seconds later the connection is closed.
    pub database_timeout: Duration,
    /// The same limit for statements that rewrite tables.
    pub database_long_timeout: Duration,
    /// The folder for an embedded database and development keys; `None` means the user's usual place.
    pub data_dir: Option<PathBuf>,
    /// A folder with `initdb` and `postgres`.
    pub pg_bin_dir: Option<PathBuf>,
    /// The keys themselves, once the files are read. This is not a setting; the next three are.
    pub keys: Option<Keys>,
    /// Whether no other process can use the database. Not a setting: `dev` sets it for an embedded database.
    pub sole_process: bool,
    /// The secret that signs tokens with HS256.
    pub jwt_secret: Option<SecretString>,
    /// A file with the secret that signs tokens.
    pub jwt_secret_file: Option<PathBuf>,
    /// The public keys that tokens may be signed with instead of the secret.
    pub jwks: Option<JwksSource>,
    /// The keys under which credentials and signing secrets are stored (W11); the first seals.
    pub sealing_key: Option<SecretString>,
    /// A file with the sealing keys.
    pub sealing_key_file: Option<PathBuf>,
    /// The required `iss` of tokens.
    pub jwt_issuer: String,
    /// The required `aud` of tokens.
    pub jwt_audience: String,
    /// Addresses that webhooks may call although they are not public (W10).
    pub allowed_targets: Vec<IpNet>,
    /// Addresses that webhooks may not call although they are public (W10).
    pub denied_targets: Vec<IpNet>,
    /// The ports that webhooks may call; an empty list means all (W10).
    pub target_ports: Vec<PortRange>,
    /// The DNS servers for host names; an empty list means the machine's own configuration.
    pub dns_servers: Vec<SocketAddr>,
    /// The platform's own hosts, which webhooks may not call (W10).
    pub platform_hosts: Vec<String>,
    /// A file with certificate authorities that are trusted for receivers in addition to the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// The URL to which notices are delivered, in addition to the API (R4).
    pub notice_url: Option<Url>,
    /// A file with the secrets that sign notices.
    pub notice_secret_file: Option<PathBuf>,
    /// Concurrent attempts of this process (D8).
    pub in_flight: u32,
    /// Concurrent attempts of this process to one webhook (D8).
    pub in_flight_per_webhook: u32,
    /// Concurrent attempts of this process to one host and port, of all webhooks that lead there.
    pub in_flight_per_host: u32,
    /// How long the server continues after the signal that stops it, while `/readyz` returns 503.
    pub drain_delay: Duration,
    /// How long a delivery stays leased to a process that does not renew the lease (D6). The same in every process of a
    /// database.
    pub lease: Duration,
    /// The settings of the API.
    pub api: ApiSettings,
    /// The numbers of the policy.
    pub policy: PolicySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            graphiql: true,
            rest: true,
            rest_query_token: false,
            clock: ClockKind::System,
            log: "info".to_owned(),
            database_url: None,
            database_connections: 16,
            database_timeout: Duration::from_secs(10),
            database_long_timeout: Duration::from_secs(3600),
            data_dir: None,
            pg_bin_dir: None,
            keys: None,
            sole_process: false,
            jwt_secret: None,
            jwt_secret_file: None,
            jwks: None,
            sealing_key: None,
            sealing_key_file: None,
            jwt_issuer: "tenterhook".to_owned(),
            jwt_audience: "tenterhook".to_owned(),
            allowed_targets: Vec::new(),
            denied_targets: Vec::new(),
            target_ports: Vec::new(),
            dns_servers: Vec::new(),
            platform_hosts: Vec::new(),
            extra_ca_file: None,
            notice_url: None,
            notice_secret_file: None,
            in_flight: 4096,
            in_flight_per_webhook: 8,
            in_flight_per_host: 128,
            drain_delay: Duration::ZERO,
            lease: Duration::from_secs(90),
            api: ApiSettings::default(),
            policy: PolicySettings::default(),
        }
    }
}

impl Settings {
    /// The defaults for development: receivers on the same machine are allowed.
    pub fn development() -> Self {
        let loopback = [
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        ];
        Self {
            allowed_targets: loopback.to_vec(),
            ..Self::default()
        }
    }

    /// Settings that exclude each other. Each line names both.
    pub fn contradictions(&self) -> Vec<String> {
        let policy = &self.policy;
        let rules = [
            (
                self.clock == ClockKind::Simulated && !self.listen.ip().is_loopback(),
                "clock=simulated needs a loopback listen address (such as 127.0.0.1:8080): everybody who can connect \
                 could advance the time",
            ),
            (
                (self.jwt_secret.is_some() || self.jwt_secret_file.is_some()) && self.jwks.is_some(),
                "jwt_secret_file (or jwt_secret) and jwks are both set: tokens are signed either with a secret or with \
                 the keys of a key set, choose one",
            ),
            (
                self.jwt_secret.is_some() && self.jwt_secret_file.is_some(),
                "jwt_secret and jwt_secret_file are both set: there is only one secret, choose where it is",
            ),
            (
                self.sealing_key.is_some() && self.sealing_key_file.is_some(),
                "sealing_key and sealing_key_file are both set: put all keys in one of them, first the key that encrypts",
            ),
            (
                self.notice_url.is_some() != self.notice_secret_file.is_some(),
                "notice_url and notice_secret_file must be set together: notices are never sent unsigned",
            ),
            (
                self.in_flight_per_webhook > self.in_flight,
                "in_flight_per_webhook is above in_flight: one webhook can't have more attempts than all webhooks",
            ),
            (
                self.in_flight_per_webhook > self.in_flight_per_host,
                "in_flight_per_webhook is above in_flight_per_host: one webhook can't have more attempts than its host",
            ),
            (
                policy.attempt_timeout > self.lease / 3,
                "policy.attempt_timeout is above a third of lease: the lease could end before the attempt has ended \
                 and is recorded",
            ),
            (
                self.api.rate_per_token > self.api.rate_per_company,
                "api.rate_per_token is above api.rate_per_company: one token can't have more than its company",
            ),
            (
                policy.success_excerpt > policy.response_excerpt,
                "policy.success_excerpt is above policy.response_excerpt: no more than the latter is read",
            ),
            (
                policy.idempotency_window > policy.history_retention,
                "policy.idempotency_window is above policy.history_retention: the response to a repeated key needs the \
                 first event",
            ),
            (
                !policy.removal_warnings.is_sorted_by(|a, b| a < b),
                "policy.removal_warnings must be in ascending order",
            ),
            (
                policy
                    .removal_warnings
                    .iter()
                    .any(|warning| *warning >= policy.removal_window),
                "policy.removal_warnings must come before policy.removal_window ends",
            ),
        ];
        rules
            .into_iter()
            .filter(|(broken, _)| *broken)
            .map(|(_, why)| why.to_owned())
            .collect()
    }

    /// The settings that `serve` requires and that are not set. In production nothing gets a made-up value.
    pub fn missing_in_production(&self) -> Vec<String> {
        let needed = [
            (
                self.database_url.is_none(),
                "DATABASE_URL: the connection string of the Postgres database",
            ),
            (
                self.jwt_secret.is_none() && self.jwt_secret_file.is_none() && self.jwks.is_none(),
                "TENTERHOOK_JWT_SECRET_FILE or TENTERHOOK_JWKS: the key or keys that tokens are signed with",
            ),
            (
                self.sealing_key.is_none() && self.sealing_key_file.is_none(),
                "TENTERHOOK_SEALING_KEY_FILE: the key that stored credentials are encrypted with (`openssl rand -hex 32`)",
            ),
        ];
        needed
            .into_iter()
            .filter(|(missing, _)| *missing)
            .map(|(_, what)| what.to_owned())
            .collect()
    }
}

/// Reads a duration in the format of the settings: ISO 8601 or friendly, in whole milliseconds.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    value::Value::read(text)
}

#[cfg(test)]
mod tests;
