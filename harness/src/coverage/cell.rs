//! A cell of the matrix: a rule, a type of webhook, and an error class or fault.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::webhook_type::WebhookType;

/// The type with this name in the API.
///
/// # Errors
///
/// If there is none.
pub fn type_named(name: &str) -> anyhow::Result<WebhookType> {
    let found = WebhookType::ALL.into_iter().find(|kind| kind.word() == name);
    found.with_context(|| format!("no type of webhook is called {name:?}"))
}

/// A column: the result of an attempt, or an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Only the type of the webhook counts.
    Any,
    /// The attempt succeeded.
    Success,
    /// The attempt failed with class `STATUS` (D10).
    Status,
    /// The attempt failed with class `TIMEOUT`.
    Timeout,
    /// The attempt failed with class `DNS`.
    Dns,
    /// The attempt failed with class `CONNECT`.
    Connect,
    /// The attempt failed with class `TLS`.
    Tls,
    /// The attempt failed with class `RESET`.
    Reset,
    /// The attempt failed with class `PROTOCOL`.
    Protocol,
    /// The attempt failed with class `BLOCKED_ADDRESS`.
    BlockedAddress,
    /// Servers were killed.
    Crash,
    /// A server was stopped in an orderly way.
    Stop,
    /// No name server answered for the receiver's host.
    SilentDns,
}

impl Column {
    /// Every column, in the order in which they are shown.
    pub const ALL: [Self; 13] = [
        Self::Any,
        Self::Success,
        Self::Status,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Protocol,
        Self::BlockedAddress,
        Self::Crash,
        Self::Stop,
        Self::SilentDns,
    ];

    /// The name: that of the error class in the API, if it is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "ANY",
            Self::Success => "SUCCESS",
            Self::Status => "STATUS",
            Self::Timeout => "TIMEOUT",
            Self::Dns => "DNS",
            Self::Connect => "CONNECT",
            Self::Tls => "TLS",
            Self::Reset => "RESET",
            Self::Protocol => "PROTOCOL",
            Self::BlockedAddress => "BLOCKED_ADDRESS",
            Self::Crash => "CRASH",
            Self::Stop => "STOP",
            Self::SilentDns => "SILENT_DNS",
        }
    }

    /// The column with this name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|column| column.name() == name);
        found.with_context(|| format!("no column is called {name:?}"))
    }

    /// The column of an attempt with this error class; `None` is a success.
    ///
    /// # Errors
    ///
    /// If the matrix has no column for the class: a new class must not stay uncounted.
    pub fn of_attempt(error_class: Option<&str>) -> anyhow::Result<Self> {
        error_class.map_or(Ok(Self::Success), Self::named)
    }
}

/// A cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The rule of the policy.
    pub rule: &'static str,
    /// The type of the webhook.
    pub kind: WebhookType,
    /// The error class or fault.
    pub column: Column,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.rule, self.kind.word(), self.column.name())
    }
}

/// Exercised cells, each with the number of webhooks that exercised it.
pub type Cells = BTreeMap<Cell, u64>;
