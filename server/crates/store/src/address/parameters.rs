//! The parameters of a connection string: which are used, which are ignored, and what to write instead of the others.

use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, TargetSessionAttrs};

use super::Draft;
use crate::tls::Mode;

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
        "use `disable` or `prefer`, and encrypt with TLS (sslmode)",
    ),
    ("gsslib", "leave it out: GSSAPI is not supported"),
    ("krbsrvname", "leave it out: GSSAPI is not supported"),
    ("passfile", "put the password into the connection string"),
    ("pgbouncer", "leave it out: it is not a parameter of Postgres"),
    ("replication", "leave it out"),
    (
        "require_auth",
        "leave it out; `channel_binding=require` is supported",
    ),
    ("requirepeer", "leave it out"),
    ("requiressl", "use sslmode=require, or better sslmode=verify-full"),
    (
        "service",
        "put the parameters of the service file into the connection string",
    ),
    (
        "servicefile",
        "put the parameters of the service file into the connection string",
    ),
    ("ssl_max_protocol_version", "leave it out"),
    (
        "sslcertmode",
        "leave it out: a client certificate is sent if `sslcert` is set and the server asks for one",
    ),
    (
        "sslcompression",
        "leave it out: the connection is never compressed",
    ),
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
        "decrypt the key with `openssl pkey -in KEY -out NEW`, and let only its owner read it",
    ),
    ("sslsni", "leave it out"),
];

impl Draft {
    pub(super) fn port(&mut self, text: &str) -> Result<(), String> {
        let port = match text {
            "" => 5432,
            text => text
                .parse()
                .map_err(|_| invalid("port", "a number from 1 to 65535"))?,
        };
        self.config.port(port);
        Ok(())
    }

    /// Uses a parameter.
    ///
    /// # Errors
    ///
    /// If it is unknown, unsupported or has an unusable value.
    pub(super) fn parameter(&mut self, key: &str, value: &str) -> Result<(), String> {
        let used = self.place(key, value)?
            || self.time(key, value)?
            || self.kind(key, value)?
            || self.encryption(key, value)?;
        if used { Ok(()) } else { indifferent(key, value) }
    }

    /// Who connects, and where. Like the three functions below, returns whether the parameter is one of these.
    fn place(&mut self, key: &str, value: &str) -> Result<bool, String> {
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
                        address.map_err(|_| invalid(key, "one or more IP addresses, separated by commas"))?,
                    );
                }
            }
            "port" => value.split(',').try_for_each(|port| self.port(port))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Time limits.
    fn time(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
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
                            "at least 1000 milliseconds, or 0 for the default of the machine",
                        ));
                    }
                    milliseconds => Some(Duration::from_millis(milliseconds.into())),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Which of several servers is wanted, and how it authenticates.
    fn kind(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// TLS.
    fn encryption(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
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
            _ => return Ok(false),
        }
        Ok(true)
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
pub(super) fn shown(key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match key.len() {
        1..=40 if is_plain => key.to_owned(),
        _ => "…".to_owned(),
    }
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
