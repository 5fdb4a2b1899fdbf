//! Settings: what an operator may choose, where a value comes from, and what is refused at start.
//!
//! Promises that every setting has one entry in one [`table`], that a name nobody knows, a value out of bounds and
//! settings that contradict each other are refused at start with their names, and that no secret is ever shown.
//! Does not promise that what a setting points at (a file, a database, a host) is there: its user finds out.

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
pub use policy::PolicySettings;
pub use ports::{NotPorts, PortRange};
pub use sources::{Loaded, Origin, SettingsError};

/// Which time the server lives in (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockKind {
    /// The real one.
    System,
    /// Stands still until an operator moves it.
    Simulated,
}

/// Everything the server can be told. [`Settings::default`] is production, before anything is chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Whether GraphiQL is served.
    pub graphiql: bool,
    /// Real or simulated time (T1).
    pub clock: ClockKind,
    /// Which log lines are written: a `tracing` filter.
    pub log: String,
    /// The database; without it `dev` starts its own.
    pub database_url: Option<SecretString>,
    /// Connections to the database that this process holds at most.
    pub database_connections: u16,
    /// How long a statement may take in the database. Two seconds later its connection is given up.
    pub database_timeout: Duration,
    /// The same for statements that rewrite tables.
    pub database_long_timeout: Duration,
    /// Where a database of our own and development keys are kept; `None` means the user's usual place.
    pub data_dir: Option<PathBuf>,
    /// A folder with `initdb` and `postgres`.
    pub pg_bin_dir: Option<PathBuf>,
    /// The keys themselves, once the files are read. Not a setting: the next three are.
    pub keys: Option<Keys>,
    /// Whether no other process can be using the database. Not a setting: `dev` knows it of a database of its own.
    pub sole_process: bool,
    /// The secret that signs tokens with HS256.
    pub jwt_secret: Option<SecretString>,
    /// A file with that secret.
    pub jwt_secret_file: Option<PathBuf>,
    /// The public keys that tokens may be signed with instead.
    pub jwks: Option<JwksSource>,
    /// The keys under which credentials and signing secrets are stored (W11); the first seals.
    pub sealing_key: Option<SecretString>,
    /// A file with those keys.
    pub sealing_key_file: Option<PathBuf>,
    /// The `iss` that tokens must have.
    pub jwt_issuer: String,
    /// The `aud` that tokens must have.
    pub jwt_audience: String,
    /// Addresses that webhooks may call although they are not public (W10).
    pub allowed_targets: Vec<IpNet>,
    /// Addresses that webhooks may not call although they are public (W10).
    pub denied_targets: Vec<IpNet>,
    /// The ports that webhooks may call; none means all (W10).
    pub target_ports: Vec<PortRange>,
    /// The servers that host names are looked up at; none means the machine's own configuration.
    pub dns_servers: Vec<SocketAddr>,
    /// The platform's own hosts, which webhooks may not call (W10).
    pub platform_hosts: Vec<String>,
    /// Certificates that receivers may be signed by besides the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// Where notices are delivered besides the API (R4).
    pub notice_url: Option<Url>,
    /// A file with the secrets that sign them.
    pub notice_secret_file: Option<PathBuf>,
    /// Attempts in flight at once in this process (D8).
    pub in_flight: u32,
    /// Attempts in flight at once to one webhook, in this process (D8).
    pub in_flight_per_webhook: u32,
    /// Attempts in flight at once to one host and port, from all webhooks that lead there, in this process.
    pub in_flight_per_host: u32,
    /// How long it serves on after the signal that ends it, while `/readyz` answers 503.
    pub drain_delay: Duration,
    /// How long a delivery is one process's without a word from it (D6). The same in every process of a database.
    pub lease: Duration,
    /// How the API answers.
    pub api: ApiSettings,
    /// The numbers of the policy.
    pub policy: PolicySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            graphiql: true,
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
    /// The defaults of development: a receiver on the same machine may be called at once.
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

    /// What can't both be. Each line names both settings.
    pub fn contradictions(&self) -> Vec<String> {
        let policy = &self.policy;
        let rules = [
            (
                self.clock == ClockKind::Simulated && !self.listen.ip().is_loopback(),
                "clock=simulated needs a listen address of this machine (such as 127.0.0.1:8080): whoever reaches \
                 it could move time",
            ),
            (
                (self.jwt_secret.is_some() || self.jwt_secret_file.is_some()) && self.jwks.is_some(),
                "jwt_secret_file (or jwt_secret) and jwks are both set: tokens are signed either with a secret or with \
                 the keys of a key set, choose one",
            ),
            (
                self.jwt_secret.is_some() && self.jwt_secret_file.is_some(),
                "jwt_secret and jwt_secret_file are both set: there is one secret, choose where it is",
            ),
            (
                self.sealing_key.is_some() && self.sealing_key_file.is_some(),
                "sealing_key and sealing_key_file are both set: put all keys in one of them, the one that seals first",
            ),
            (
                self.notice_url.is_some() != self.notice_secret_file.is_some(),
                "notice_url and notice_secret_file go together: notices are never sent unsigned",
            ),
            (
                self.in_flight_per_webhook > self.in_flight,
                "in_flight_per_webhook is above in_flight: one webhook can't have more attempts than all",
            ),
            (
                self.in_flight_per_webhook > self.in_flight_per_host,
                "in_flight_per_webhook is above in_flight_per_host: one webhook can't have more attempts than all \
                 that lead where it does",
            ),
            (
                policy.attempt_timeout > self.lease / 3,
                "policy.attempt_timeout is above a third of lease: a delivery is given back before its attempt could \
                 be over and recorded",
            ),
            (
                self.api.rate_per_token > self.api.rate_per_company,
                "api.rate_per_token is above api.rate_per_company: one token can't have more than its company",
            ),
            (
                policy.success_excerpt > policy.response_excerpt,
                "policy.success_excerpt is above policy.response_excerpt: no more is read than that",
            ),
            (
                policy.idempotency_window > policy.history_retention,
                "policy.idempotency_window is above policy.history_retention: the first event must still be there \
                 to answer with",
            ),
            (
                !policy.removal_warnings.is_sorted_by(|a, b| a < b),
                "policy.removal_warnings must ascend",
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

    /// What `serve` lacks: nothing is made up in production.
    pub fn missing_in_production(&self) -> Vec<String> {
        let needed = [
            (
                self.database_url.is_none(),
                "DATABASE_URL: the Postgres to keep everything in",
            ),
            (
                self.jwt_secret.is_none() && self.jwt_secret_file.is_none() && self.jwks.is_none(),
                "TENTERHOOK_JWT_SECRET_FILE or TENTERHOOK_JWKS: what tokens are signed with",
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

/// Reads a duration as the settings do: ISO 8601 or friendly, in whole milliseconds.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    value::Value::read(text)
}

#[cfg(test)]
mod tests;
