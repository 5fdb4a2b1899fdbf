//! Connection strings: where the database is and how to connect to it, read as `libpq` reads them.
//!
//! Accepts both forms, `postgres://…` and `key=value …`. An error names a parameter that is unknown, unsupported or has an
//! unusable value. Messages never contain the value of a parameter that may be secret.

mod parameters;

use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use self::parameters::shown;
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
                return Err("there is a key without `=` after it".to_owned());
            }
            let (value, after) = value(key, after.trim_start())?;
            self.parameter(key, &value)?;
            rest = after.trim_start();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Address, String> {
        let hosts = self.config.get_hosts().len();
        let addresses = self.config.get_hostaddrs().len();
        let ports = self.config.get_ports().len();
        let most = hosts.max(addresses);
        if most == 0 {
            return Err("it has no `host`".to_owned());
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

#[cfg(test)]
mod tests;
