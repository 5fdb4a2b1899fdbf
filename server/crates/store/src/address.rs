//! Connection strings: where the database is and how to connect to it, read as `libpq` reads them.
//!
//! Accepts both forms, `postgres://…` and `key=value …`. An error names a parameter that is unknown, unsupported or has an
//! unusable value. Messages never contain the value of a parameter that may be secret.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, TargetSessionAttrs};

use super::StoreError;
use super::tls::{Mode, Tls};

/// The time limit of an attempt to connect, with all of its steps, unless the address sets another.
pub const CONNECT: Duration = Duration::from_secs(5);
/// The default of `keepalives_idle`: a probe is sent after this time without bytes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The default of `keepalives_interval`.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The default of `keepalives_count`.
const KEEPALIVE_COUNT: u32 = 3;
/// The default of `tcp_user_timeout`: bytes that are unacknowledged for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// The minimum of `tcp_user_timeout`, in milliseconds: a smaller number was probably meant in seconds.
const LEAST_USER_TIMEOUT: u32 = 1000;

/// The maximum of `connect_timeout`, in seconds: a caller waits this long for a connection.
const MOST_CONNECT_SECONDS: u32 = 60;
/// The maximum of `keepalives_idle` and `keepalives_interval`, in seconds.
const MOST_KEEPALIVE_SECONDS: u32 = 3600;
/// The maximum of `keepalives_count`, as on Linux.
const MOST_KEEPALIVES: u32 = 127;
/// The maximum of `tcp_user_timeout`, in milliseconds.
const MOST_USER_TIMEOUT: u32 = 3_600_000;

/// Parameters of `libpq` that are ignored, with the accepted values; an empty list accepts any value.
const INDIFFERENT: &[(&str, &[&str])] = &[
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "auto"]),
    ("fallback_application_name", &[]),
    ("gssencmode", &["disable", "prefer"]),
    ("sslcompression", &["0"]),
    ("sslsni", &["1"]),
];

/// Parameters of `libpq` or of other drivers that are not supported, and what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("client_encoding", "leave it out: it is always UTF8"),
    ("gssdelegation", "leave it out: GSSAPI is not supported"),
    (
        "gssencmode",
        "only `disable` and `prefer` are: encrypt with TLS (sslmode)",
    ),
    ("gsslib", "leave it out: GSSAPI is not supported"),
    ("krbsrvname", "leave it out: GSSAPI is not supported"),
    ("passfile", "put the password into the connection string"),
    ("pgbouncer", "leave it out: it is not a parameter of Postgres's"),
    ("replication", "leave it out"),
    (
        "require_auth",
        "leave it out; `channel_binding=require` is supported",
    ),
    ("requirepeer", "leave it out"),
    ("requiressl", "say sslmode=require, or better sslmode=verify-full"),
    (
        "service",
        "put what the service file says into the connection string",
    ),
    (
        "servicefile",
        "put what the service file says into the connection string",
    ),
    ("ssl_max_protocol_version", "leave it out"),
    (
        "sslcertmode",
        "leave it out: a client certificate is sent if `sslcert` is there and the server asks",
    ),
    ("sslcompression", "leave it out: it is never compressed"),
    (
        "sslcrl",
        "leave it out: lists of revoked certificates are not read",
    ),
    (
        "sslcrldir",
        "leave it out: lists of revoked certificates are not read",
    ),
    (
        "sslpassword",
        "decrypt the key: `openssl pkey -in KEY -out NEW`, and keep it closed to others",
    ),
    ("sslsni", "leave it out"),
];

/// Where the database is and how to connect to it.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// The time limit of an attempt at one of the host's addresses.
    pub(super) connect_within: Duration,
    /// Idle time, interval and count of TCP keep-alive probes. None: no probes are sent.
    pub(super) keepalive: Option<(Duration, Duration, u32)>,
    /// None: the machine's default.
    pub(super) user_timeout: Option<Duration>,
}

impl Address {
    /// Reads a connection string and the files that it names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`], with the name of the parameter.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let address = read(text).map_err(StoreError::Address)?;
        address.tls.check().map_err(StoreError::Address)?;
        Ok(address)
    }

    /// The `sslmode`, as it is written.
    pub fn mode(&self) -> &'static str {
        self.tls.mode.name()
    }
}

fn read(text: &str) -> Result<Address, String> {
    let mut draft = Draft::default();
    let stripped = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    match stripped {
        Some(url) => draft.url(url)?,
        None => draft.pairs(text)?,
    }
    draft.finish()
}

struct Draft {
    config: Config,
    mode: Option<Mode>,
    tls: Tls,
    connect_within: Duration,
    keepalive: bool,
    idle: Duration,
    interval: Duration,
    count: u32,
    user_timeout: Option<Duration>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            config: Config::new(),
            mode: None,
            tls: Tls::default(),
            connect_within: CONNECT,
            keepalive: true,
            idle: KEEPALIVE_IDLE,
            interval: KEEPALIVE_INTERVAL,
            count: KEEPALIVE_COUNT,
            user_timeout: Some(USER_TIMEOUT),
        }
    }
}

impl Draft {
    /// `user:password@host:port,host:port/database?key=value&…`. Every part is optional.
    fn url(&mut self, url: &str) -> Result<(), String> {
        let before_parameters = url.split('?').next().unwrap_or_default();
        // A password may contain any character except `@` unencoded, so the `@` decides where the hosts begin.
        let at = match before_parameters.find('@') {
            None if before_parameters.contains('/') => None,
            None => url.find('@'),
            found => found,
        };
        let rest = match at.map(|at| url.split_at(at)) {
            Some((credentials, rest)) => {
                let (user, password) = match credentials.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (credentials, None),
                };
                self.config.user(decoded("user", user)?);
                if let Some(password) = password {
                    self.config
                        .password(percent_decode_str(password).collect::<Vec<u8>>());
                }
                &rest[1..]
            }
            None => url,
        };
        let (hosts, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
        if !database.is_empty() {
            self.config.dbname(decoded("dbname", database)?);
        }
        for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
            let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                Some((host, port)) => (host, port),
                None => host.split_at(host.find(':').unwrap_or(host.len())),
            };
            self.config.host(decoded("host", host)?);
            self.port(&decoded("port", port.strip_prefix(':').unwrap_or(port))?)?;
        }
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter
                .split_once('=')
                .ok_or("a parameter after `?` has no `=`")?;
            let key = decoded("a parameter's name", key)?;
            let value = decoded(&key, value)?;
            self.parameter(&key, &value)?;
        }
        Ok(())
    }

    /// `key=value key='value with blanks'`. A backslash escapes a character that would end the value.
    fn pairs(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (key, after) = rest
                .split_once('=')
                .ok_or("it is neither a URL (postgres://…) nor pairs of key=value")?;
            let key = key.trim();
            if key.contains(char::is_whitespace) {
                return Err("a key has no `=` after it".to_owned());
            }
            let (value, after) = value(key, after.trim_start())?;
            self.parameter(key, &value)?;
            rest = after.trim_start();
        }
        Ok(())
    }

    fn port(&mut self, text: &str) -> Result<(), String> {
        let port = match text {
            "" => 5432,
            text => text
                .parse()
                .map_err(|_| invalid("port", "a number from 1 to 65535"))?,
        };
        self.config.port(port);
        Ok(())
    }

    fn parameter(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "user" => {
                self.config.user(value);
            }
            "password" => {
                self.config.password(value);
            }
            "dbname" => {
                self.config.dbname(value);
            }
            "options" => {
                self.config.options(value);
            }
            "application_name" => {
                self.config.application_name(value);
            }
            "host" => {
                for host in value.split(',') {
                    self.config.host(host);
                }
            }
            "hostaddr" => {
                for address in value.split(',') {
                    let address = address.parse();
                    self.config.hostaddr(
                        address.map_err(|_| invalid(key, "an IP address, or several with commas"))?,
                    );
                }
            }
            "port" => value.split(',').try_for_each(|port| self.port(port))?,
            "connect_timeout" => {
                if let Some(limit) = seconds(key, value, MOST_CONNECT_SECONDS)? {
                    self.connect_within = limit;
                }
            }
            "keepalives" => self.keepalive = number(key, value)? != 0,
            "keepalives_idle" => {
                self.idle = seconds(key, value, MOST_KEEPALIVE_SECONDS)?.unwrap_or(self.idle);
            }
            "keepalives_interval" => {
                self.interval = seconds(key, value, MOST_KEEPALIVE_SECONDS)?.unwrap_or(self.interval);
            }
            // The second is the name that this server used before.
            "keepalives_count" | "keepalives_retries" => match at_most(key, value, MOST_KEEPALIVES)? {
                0 => {}
                count => self.count = count,
            },
            "tcp_user_timeout" => {
                self.user_timeout = match at_most(key, value, MOST_USER_TIMEOUT)? {
                    0 => None,
                    1..LEAST_USER_TIMEOUT => {
                        return Err(invalid(
                            key,
                            "milliseconds, at least 1000, or 0 for what the machine has",
                        ));
                    }
                    milliseconds => Some(Duration::from_millis(milliseconds.into())),
                };
            }
            "target_session_attrs" => {
                let attributes = one_of(
                    key,
                    value,
                    &[
                        ("any", TargetSessionAttrs::Any),
                        ("read-write", TargetSessionAttrs::ReadWrite),
                        ("primary", TargetSessionAttrs::ReadWrite),
                        ("read-only", TargetSessionAttrs::ReadOnly),
                    ],
                )?;
                self.config.target_session_attrs(attributes);
            }
            "channel_binding" => {
                let binding = one_of(
                    key,
                    value,
                    &[
                        ("disable", ChannelBinding::Disable),
                        ("prefer", ChannelBinding::Prefer),
                        ("require", ChannelBinding::Require),
                    ],
                )?;
                self.config.channel_binding(binding);
            }
            "load_balance_hosts" => {
                let order = one_of(
                    key,
                    value,
                    &[
                        ("disable", LoadBalanceHosts::Disable),
                        ("random", LoadBalanceHosts::Random),
                    ],
                )?;
                self.config.load_balance_hosts(order);
            }
            "sslmode" => self.mode = Some(one_of(key, value, &Mode::NAMES)?),
            "sslnegotiation" => {
                self.tls.direct = one_of(key, value, &[("postgres", false), ("direct", true)])?;
            }
            "sslrootcert" => self.tls.roots = (!value.is_empty()).then(|| value.to_owned()),
            "sslcert" => self.tls.certificate = (!value.is_empty()).then(|| value.into()),
            "sslkey" => self.tls.key = (!value.is_empty()).then(|| value.into()),
            "ssl_min_protocol_version" => {
                self.tls.only_newest = one_of(
                    key,
                    value,
                    &[
                        ("TLSv1", false),
                        ("TLSv1.1", false),
                        ("TLSv1.2", false),
                        ("TLSv1.3", true),
                    ],
                )?;
            }
            _ => return indifferent(key, value),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Address, String> {
        let hosts = self.config.get_hosts().len();
        let addresses = self.config.get_hostaddrs().len();
        let ports = self.config.get_ports().len();
        let most = hosts.max(addresses);
        if most == 0 {
            return Err("it names no `host`".to_owned());
        }
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(format!(
                "`host` has {hosts} entries and `hostaddr` {addresses}: both need the same number"
            ));
        }
        if ports > 1 && ports != most {
            return Err(format!(
                "`port` has {ports} entries and there are {most} hosts: give one port, or one for each host"
            ));
        }
        self.tls.mode = self.tls.mode_of(self.mode)?;
        if self.config.get_channel_binding() == ChannelBinding::Require && self.tls.mode == Mode::Disable {
            return Err("`channel_binding=require` needs TLS, and `sslmode=disable` forbids it".to_owned());
        }
        Ok(Address {
            config: self.config,
            tls: self.tls,
            connect_within: self.connect_within,
            keepalive: self.keepalive.then_some((self.idle, self.interval, self.count)),
            user_timeout: self.user_timeout,
        })
    }
}

/// Accepts a parameter that is ignored; refuses any other.
fn indifferent(key: &str, value: &str) -> Result<(), String> {
    let harmless = INDIFFERENT
        .iter()
        .any(|(name, values)| *name == key && (values.is_empty() || values.contains(&value)));
    if harmless {
        return Ok(());
    }
    match UNSUPPORTED.iter().find(|(name, _)| *name == key) {
        Some((_, instead)) => Err(format!("`{key}` is not supported: {instead}")),
        None => Err(format!(
            "`{}` is not a parameter of a connection: leave it out",
            shown(key)
        )),
    }
}

/// A key for a message. It is hidden if it may be part of a password that was not encoded.
fn shown(key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match key.len() {
        1..=40 if is_plain => key.to_owned(),
        _ => "…".to_owned(),
    }
}

fn value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), String> {
    let quoted = text.strip_prefix('\'');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            '\'' if quoted.is_some() => return Ok((value, &text[at + 1..])),
            c if quoted.is_none() && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    match quoted {
        Some(_) => Err(format!(
            "the value of `{}` has no closing quotation mark",
            shown(key)
        )),
        None => Ok((value, "")),
    }
}

fn decoded(key: &str, text: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| format!("`{}` is not UTF-8 once %-sequences are decoded", shown(key)))
}

fn invalid(key: &str, wanted: &str) -> String {
    format!("`{key}` must be {wanted}")
}

fn number(key: &str, value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| invalid(key, "a whole number, 0 or more"))
}

fn at_most(key: &str, value: &str, most: u32) -> Result<u32, String> {
    let number = number(key, value)?;
    if number > most {
        return Err(invalid(key, &format!("at most {most}")));
    }
    Ok(number)
}

/// Zero means the default: `None`.
fn seconds(key: &str, value: &str, most: u32) -> Result<Option<Duration>, String> {
    let seconds = at_most(key, value, most)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        invalid(key, &format!("one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;
