//! The one list of settings: key, default, bounds and meaning. All code that reads, prints or documents settings uses it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::policy::V1_META_KEYS;
use super::value::Value;
use super::{Settings, cors};

/// One setting.
pub struct Entry {
    /// The name in the TOML file; a dot separates a table from its key.
    pub key: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// The smallest and largest value, if there are bounds.
    pub bounds: fn() -> Option<(String, String)>,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
    secret: fn() -> bool,
}

impl Entry {
    /// The name in the environment.
    pub fn variable(&self) -> String {
        match self.key {
            "database_url" => "DATABASE_URL".to_owned(),
            "pg_bin_dir" => "PG_BIN_DIR".to_owned(),
            key => format!("TENTERHOOK_{}", key.to_uppercase().replace('.', "_")),
        }
    }

    /// The name on the command line, without the leading dashes.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The meaning and the bounds.
    pub fn summary(&self) -> String {
        let bounds = (self.bounds)().map(|(least, most)| format!(" From {least} to {most}."));
        format!("{}{}", self.meaning, bounds.unwrap_or_default())
    }

    /// The value in `settings`; empty if none is set. Never a secret.
    pub fn value(&self, settings: &Settings) -> String {
        (self.show)(settings)
    }

    /// Whether it is a secret itself.
    pub fn is_secret(&self) -> bool {
        (self.secret)()
    }
}

/// The value in force is passed only for its type.
fn read_like<T: Value>(_in_force: &T, text: &str) -> Result<T, String> {
    T::read(text)
}

fn within<T: Value + PartialOrd>(value: &T, bounds: RangeInclusive<T>) -> Result<(), String> {
    if bounds.contains(value) {
        Ok(())
    } else {
        Err(format!(
            "must be from {} to {}",
            bounds.start().show(),
            bounds.end().show()
        ))
    }
}

/// The field is passed only for its type, because numbers in the table have no type of their own.
fn show_bounds<T: Value>(_field: fn(&Settings) -> &T, bounds: RangeInclusive<T>) -> Option<(String, String)> {
    Some((bounds.start().show(), bounds.end().show()))
}

/// The field is passed only for its type.
fn is_secret<T: Value>(_field: fn(&Settings) -> &T) -> bool {
    T::SECRET
}

const fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

const fn days(n: u64) -> Duration {
    hours(n * 24)
}

/// Makes an entry of a field of [`Settings`]; the key is the field's path. An optional part restricts the value further:
/// `from bounds`, or `if check`.
macro_rules! setting {
    ($first:ident $(.$rest:ident)*, from $bounds:expr, $meaning:literal) => {
        setting!(@ $first $(.$rest)*, (|value| within(value, $bounds)),
            || show_bounds(|settings| &settings.$first $(.$rest)*, $bounds), $meaning)
    };
    ($first:ident $(.$rest:ident)*, if $check:expr, $meaning:literal) => {
        setting!(@ $first $(.$rest)*, $check, || None, $meaning)
    };
    ($first:ident $(.$rest:ident)*, $meaning:literal) => {
        setting!(@ $first $(.$rest)*, (|_| Ok::<(), String>(())), || None, $meaning)
    };
    (@ $first:ident $(.$rest:ident)*, $check:expr, $bounds:expr, $meaning:literal) => {
        Entry {
            key: concat!(stringify!($first) $(, ".", stringify!($rest))*),
            meaning: $meaning,
            bounds: $bounds,
            set: |settings, text| {
                let value = read_like(&settings.$first $(.$rest)*, text)?;
                $check(&value)?;
                settings.$first $(.$rest)* = value;
                Ok(())
            },
            show: |settings| settings.$first $(.$rest)*.show(),
            secret: || is_secret(|settings| &settings.$first $(.$rest)*),
        }
    };
}

/// The maximum number of retries in the settings, and the bounds of the delays between them.
const MOST_RETRIES: usize = 10;
const RETRY_DELAYS: RangeInclusive<Duration> = milliseconds(1)..=days(7);

fn retry_delays(delays: &[Duration]) -> Result<(), String> {
    if delays.len() > MOST_RETRIES {
        return Err(format!(
            "must have at most {MOST_RETRIES} entries, not {}",
            delays.len()
        ));
    }
    match delays.iter().find(|delay| !RETRY_DELAYS.contains(*delay)) {
        Some(delay) => {
            let (least, most) = (RETRY_DELAYS.start().show(), RETRY_DELAYS.end().show());
            Err(format!(
                "must have entries from {least} to {most}, not {}",
                delay.show()
            ))
        }
        None => Ok(()),
    }
}

/// An object's name must not contain a dot: payloads show it in `event`, with a dot between action and object (E5).
fn objects(names: &BTreeSet<String>) -> Result<(), String> {
    let valid = |name: &str| {
        (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    match names.iter().find(|name| !valid(name)) {
        _ if names.is_empty() => Err("must not be empty".to_owned()),
        Some(name) => Err(format!(
            "has {name:?}: a name must be 1 to 64 characters of A-Z a-z 0-9 _ -, beginning with a letter"
        )),
        None => Ok(()),
    }
}

/// The most names of fields that are compared one level deeper.
const MOST_NESTED: usize = 100;

/// Names of fields may have any characters but the comma, which separates them.
fn nested(names: &BTreeSet<String>) -> Result<(), String> {
    if names.len() > MOST_NESTED {
        return Err(format!(
            "must have at most {MOST_NESTED} entries, not {}",
            names.len()
        ));
    }
    names.iter().try_for_each(|name| short(name))
}

/// The bounds of a limit on requests per second.
const RATES: RangeInclusive<u32> = 1..=1_000_000;
/// The bounds of a time limit for slow callers.
const SOCKET_TIMES: RangeInclusive<Duration> = milliseconds(1000)..=hours(1);

/// The minimum memory for publications: the largest publication, with 8 MiB and half a million JSON values, must fit.
pub const LARGEST_PUBLICATION: usize = 100 * 1024 * 1024;
const MOST_PUBLISHING_MEMORY: usize = 16 * 1024 * 1024 * 1024;

fn short(text: &str) -> Result<(), String> {
    if text.chars().count() <= 253 {
        Ok(())
    } else {
        Err("must have at most 253 characters".to_owned())
    }
}

fn service_key(name: &str) -> Result<(), String> {
    if V1_META_KEYS.contains(&name) {
        return Err("must not be another key of `meta` in payloads of version 1".to_owned());
    }
    short(name)
}

/// Every setting, in the order in which they are printed.
pub static TABLE: &[Entry] = &[
    setting!(listen, "Where the API listens: address and port."),
    setting!(
        graphiql,
        "Whether GraphiQL, a page to try the API with, is served at /graphiql."
    ),
    setting!(
        rest,
        "Whether the REST routes /v1/webhooks and /api/v1/webhooks are served, with their description at \
         /openapi.json: docs/rest.md."
    ),
    setting!(
        rest_query_token,
        "Whether REST requests may carry their token in the query string (api_token). Proxies and browsers keep query \
         strings in their logs and histories, so leave it off unless an integration cannot send a header."
    ),
    setting!(
        clock,
        "system or simulated. Simulated time stands still until an operator advances it; it is possible only on a \
         loopback address."
    ),
    setting!(
        log,
        "Which log lines are written, such as info or tenterhook=debug,warn."
    ),
    setting!(
        database_url,
        "The connection string of the Postgres database. Without it `dev` starts its own; `serve` needs it. Other \
         users of the machine can read a command line, so put a password into the environment or the file. Its \
         parameters, such as sslmode, are those of `psql`: docs/operations.md."
    ),
    setting!(database_connections, from 4..=1000,
        "Maximum number of database connections of one process."),
    setting!(database_timeout, from milliseconds(1000)..=milliseconds(60_000),
        "Time limit of a statement in the database. If nothing arrives within two more seconds, the connection is \
         closed: the database or the network does not respond."),
    setting!(database_long_timeout, from milliseconds(1000)..=hours(24),
        "How long the client waits for a statement of `migrate` or `distribute`; the database has no limit for these."),
    setting!(
        data_dir,
        "Where development keeps its database and keys. Default: /var/lib/tenterhook for root, otherwise tenterhook \
         in the user's data folder (~/.local/share)."
    ),
    setting!(
        pg_bin_dir,
        "A folder with initdb and postgres, for the database that `dev` starts."
    ),
    setting!(
        jwt_secret,
        "The secret that tokens are signed with (HS256), at least 32 bytes. A file is better: the server checks its \
         permissions, and no child process inherits it."
    ),
    setting!(
        jwt_secret_file,
        "A file with the secret that tokens are signed with, which only its owner and group can read or change. Development \
         creates its own."
    ),
    setting!(
        jwks,
        "Instead of a secret: a file or URL with the public keys that tokens are signed with (RS, ES, EdDSA)."
    ),
    setting!(jwt_issuer, if short,
        "The `iss` that tokens must have."),
    setting!(jwt_audience, if short,
        "The `aud` that tokens must have."),
    setting!(
        sealing_key,
        "The keys that encrypt stored credentials and signing secrets, at most 8, separated by white space or commas: \
         32 random bytes each, in hexadecimal or base64. The first key encrypts, all keys decrypt; docs/security.md \
         says how to replace one."
    ),
    setting!(
        sealing_key_file,
        "A file with the keys that encrypt stored credentials and signing secrets, which only its owner and group can read \
         or change. Development creates its own."
    ),
    setting!(
        allowed_targets,
        "Networks that webhooks may call although they are not public, separated by commas. If it is not set, \
         development allows loopback; an empty value allows none."
    ),
    setting!(
        denied_targets,
        "Networks that webhooks may not call although they are public, separated by commas: the platform's own, or \
         the NAT64 prefix of this network. It takes precedence over allowed_targets."
    ),
    setting!(
        target_ports,
        "Ports that webhooks may call, such as 80,443,8000-8999. Default: all."
    ),
    setting!(
        dns_servers,
        "DNS servers that resolve the hosts of webhooks, such as 10.0.0.2:53. Default: those of /etc/resolv.conf."
    ),
    setting!(
        platform_hosts,
        "The platform's own API hosts, which webhooks may not call."
    ),
    setting!(
        extra_ca_file,
        "Certificates (PEM) of additional authorities to trust for receivers."
    ),
    setting!(
        notice_url,
        "The platform's own endpoint for notices, in addition to the API: docs/notices.md. It may be on any network."
    ),
    setting!(
        notice_secret_file,
        "A file with the secrets that sign notices, whsec_ and base64, one per line, at most 4. All of them sign."
    ),
    setting!(in_flight, from 1..=100_000,
        "Maximum number of attempts in flight in one process. Slow receivers, and receivers that have not responded \
         yet, get at most half. Each attempt needs an open file."),
    setting!(in_flight_per_webhook, from 1..=1000,
        "Maximum number of attempts in flight to one webhook from one process."),
    setting!(in_flight_per_host, from 1..=100_000,
        "Maximum number of attempts in flight to one host and port from one process, for all webhooks together."),
    setting!(drain_delay, from milliseconds(0)..=milliseconds(60_000),
        "How long a server continues to accept and serve requests after SIGTERM or SIGINT, while /readyz returns 503; \
         then it drains. Behind a load balancer use 5s, or the time that it needs to notice. A second signal ends the \
         wait."),
    setting!(lease, from milliseconds(18_000)..=hours(1),
        "How long a process keeps a delivery without renewing its lease. Other processes take over the deliveries of \
         a dead process after a sixth of this time. It must be the same in every process of a database."),
    setting!(
        api.introspection,
        "Whether the schema can be queried through GraphQL. /schema.graphql always shows it."
    ),
    setting!(
        api.suggestions,
        "Whether validation errors suggest names that exist."
    ),
    setting!(
        api.automatic_persisted_documents,
        "Whether clients may register documents and then send their SHA-256 alone (APQ)."
    ),
    setting!(
        api.document_allow_list,
        "A JSON file that maps SHA-256 hashes (hexadecimal) to documents. If it is set, no other document is executed, \
         whoever the caller is."
    ),
    setting!(api.cors_origins, if cors::origins,
        "Origins whose pages may call the API from a browser, such as https://app.example.com, spelled exactly as a \
         browser sends them; * means all."),
    setting!(api.cors_headers, if cors::headers,
        "Request headers that pages of these origins may send, in addition to those that GraphQL clients, error \
         trackers and tracing are known to send (docs/graphql.md lists them); * means all."),
    setting!(api.rate_per_token, from RATES,
        "Requests per second with one user's token, with or without an app, to one process."),
    setting!(api.rate_per_company, from RATES,
        "Requests per second with all tokens of a company, to one process."),
    setting!(api.rate_per_platform_token, from RATES,
        "Requests per second with one of the platform's tokens to one process, other than publishing. Tokens with the same \
         subject (`sub`) count as one token; tokens without a subject are distinguished by their `jti`, and tokens without \
         either by their key (`kid`)."),
    setting!(api.rate_per_publishing_token, from RATES,
        "Calls of publishEvents per second with one of the platform's tokens to one process, each with up to 1000 \
         events."),
    setting!(api.rate_of_platform, from RATES,
        "Requests per second with all of the platform's tokens to one process, other than publishing."),
    setting!(api.rate_of_publishing, from RATES,
        "Calls of publishEvents per second with all of the platform's tokens to one process, each with up to 1000 \
         events."),
    setting!(api.publishing_calls, from 1..=10_000,
        "Maximum number of publishEvents calls in progress in one process; half of them may wait for one company. \
         Further calls get UNAVAILABLE, with Retry-After."),
    setting!(api.publishing_memory, from LARGEST_PUBLICATION..=MOST_PUBLISHING_MEMORY,
        "Memory for publications in progress in one process, estimated from bytes and JSON values. Calls that would \
         exceed it get UNAVAILABLE, with Retry-After."),
    setting!(api.publishing_of_company, from 1000..=1_000_000,
        "Maximum number of events of one company that wait to be stored in one process. Calls that would exceed it \
         get RATE_LIMITED, with Retry-After."),
    setting!(api.rate_burst, from milliseconds(1000)..=hours(1),
        "How long an unused rate limit accumulates: a caller may send at once as many requests as its rate allows in \
         this time. Each process counts for itself: behind N processes that share the load, a caller may send N times \
         as many."),
    setting!(api.head_within, from SOCKET_TIMES,
        "How long a connection may take to send a request's head, and so how long it may stay idle. Set it longer \
         than a proxy in front keeps idle connections."),
    setting!(api.body_within, from SOCKET_TIMES,
        "How long a request's body may take to arrive; after that the response is 408."),
    setting!(policy.webhook_limit, from 1..=10_000,
        "General webhooks per user, and application webhooks per app and user."),
    setting!(
        policy.app_sees,
        "application or own_general. What a token through an app sees: only the webhooks that the app created for the \
         token's user, or also the general webhooks of that user, which it can read and not change."
    ),
    setting!(policy.removed_retention, from hours(1)..=days(3650),
        "How long a removed webhook stays readable."),
    setting!(policy.idempotency_window, from hours(1)..=days(30),
        "How long an idempotency key is remembered."),
    setting!(policy.secret_overlap, from milliseconds(0)..=days(30),
        "How long the old secret also signs after a rotation."),
    setting!(policy.attempt_timeout, from milliseconds(100)..=milliseconds(300_000),
        "The timeout of an attempt: one deadline for DNS, connection, TLS, request and response headers."),
    setting!(policy.retry_delays, if retry_delays,
        "Delays from the end of a failed attempt to the next, one entry per retry, at most 10."),
    setting!(policy.dns_silence, from milliseconds(500)..=hours(1),
        "How long all name servers must have been silent before an attempt whose lookup got no response is postponed \
         and not counted."),
    setting!(policy.dns_give_up, from milliseconds(0)..=days(1),
        "How long name servers may be silent before an attempt whose lookup got no response counts as a failure."),
    setting!(policy.response_excerpt, from 0..=1024 * 1024,
        "How much of a response body is read, and stored for a failed attempt."),
    setting!(policy.success_excerpt, from 0..=1024 * 1024,
        "How much of a response body is stored for a successful attempt."),
    setting!(policy.history_retention, from days(1)..=days(3650),
        "How long events and attempts are kept."),
    setting!(policy.ban_threshold, from 1..=1_000_000,
        "Number of failed first tries after which a webhook is banned."),
    setting!(policy.ban_duration, from milliseconds(1000)..=days(30),
        "How long a ban lasts."),
    setting!(
        policy.success_resets_counter,
        "Whether a success resets the ban counter to zero."
    ),
    setting!(policy.removal_window, from hours(1)..=days(365),
        "Time without a successful delivery, counted from the first failure, after which a webhook is removed."),
    setting!(
        policy.removal_warnings,
        "When people are warned before a removal, counted from the first failure: three durations, ascending."
    ),
    setting!(policy.catalog.v1, if objects,
        "The objects in the catalogue of payload version 1."),
    setting!(policy.catalog.v2, if objects,
        "The objects in the catalogue of payload version 2."),
    setting!(
        policy.everyone_v1,
        "empty, star or absent: how payloads of version 1 write that everyone may see the object. empty is an empty \
         permitted_user_ids, star is [\"*\"], absent leaves the key out."
    ),
    setting!(policy.previous_nested, if nested,
        "The fields that are compared one level deeper for `previous` in payloads of version 2, separated by commas: \
         only the changed fields of such an object are sent. An empty value compares none."),
    setting!(policy.v1_service_key, if service_key,
        "The key in `meta` of payloads of version 1 whose value is always false. It must differ from all other keys of \
         `meta`."),
    setting!(policy.default_host, if short,
        "The `host` in payloads of events that have none."),
];

/// Settings that nothing reads any more. They are accepted for one release, with a warning: a server that still has one starts.
/// The meaning of each says why it has no effect.
pub const RETIRED: &[Entry] = &[retired(
    "policy.ban_propagation",
    "every server reads the changes feed every 100 ms, whatever the value",
)];

const fn retired(key: &'static str, meaning: &'static str) -> Entry {
    Entry {
        key,
        meaning,
        bounds: || None,
        set: |_, _| Ok(()),
        show: |_| String::new(),
        secret: || false,
    }
}

/// The table as the text of `docs/settings.md`.
pub fn markdown() -> String {
    let mut page = include_str!("table.md").to_owned();
    let defaults = Settings::default();
    for entry in TABLE {
        let mut allowed = (entry.bounds)()
            .map(|(least, most)| format!(" From {least} to {most}."))
            .unwrap_or_default();
        let value = entry.value(&defaults);
        if !value.is_empty() {
            allowed = format!(" Default `{value}`.{allowed}");
        }
        page += &format!(
            "| `{}` | `{}` | {}{allowed} |\n",
            entry.variable(),
            entry.key,
            entry.meaning
        );
    }
    page
}
