//! The enums that several types use.

use async_graphql::Enum;

use tenterhook_model::{attempt, delivery, webhook};

/// The kind of change. Version 1 payloads call them `added`, `updated`, `merged` and `deleted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::EventAction")]
pub enum EventAction {
    /// Matches every action. Only in subscriptions of webhooks, never on an event.
    Any,
    /// The object was created.
    Create,
    /// The object was changed. Version 2 uses it for the surviving object of a merge.
    Change,
    /// The object was merged into another. Available in version 1 only.
    Merge,
    /// The object was deleted. Both versions use it for the object that was merged into another.
    Delete,
}

/// State of a delivery. `PENDING` is the only state that is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "delivery::DeliveryStatus")]
pub enum DeliveryStatus {
    /// Waiting for an attempt, or an attempt is in progress.
    Pending,
    /// An attempt got a response with a 2xx status.
    Succeeded,
    /// All attempts failed.
    Failed,
    /// An attempt was due while the webhook was banned or paused; nothing was sent.
    Lost,
    /// The webhook was removed.
    Cancelled,
}

/// Whom a webhook belongs to. The token that creates it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::WebhookType")]
pub enum WebhookType {
    /// Belongs to a user.
    General,
    /// Belongs to an app, for one user.
    Application,
}

/// State of a webhook. If several apply, `REMOVED` precedes `PAUSED`, and `PAUSED` precedes `BANNED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::WebhookState")]
pub enum WebhookState {
    /// Events are delivered.
    Active,
    /// Too many first tries failed: deliveries that are due are lost until the ban ends by itself.
    Banned,
    /// A user paused it: deliveries that are due are lost until it is resumed.
    Paused,
    /// It was removed. It stays readable for a while, by default 30 days.
    Removed,
}

/// The format of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::PayloadVersion")]
pub enum PayloadVersion {
    /// Has `meta`, `current` and `previous`, with the actions `added`, `updated`, `merged` and `deleted`.
    V1,
    /// Has `meta`, `data` and `previous`, with the actions `create`, `change` and `delete`.
    V2,
}

/// Why a webhook was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook::RemoveReason")]
pub enum RemoveReason {
    /// Its user deleted it.
    DeletedByUser,
    /// An admin of the company deleted it.
    DeletedByAdmin,
    /// Its app deleted it.
    DeletedByApp,
    /// Its user uninstalled the app.
    AppUninstalled,
    /// The app left the marketplace.
    AppRemoved,
    /// Its user was removed.
    UserRemoved,
    /// No delivery succeeded after a failure, by default for 72 hours.
    NoSuccessfulDelivery,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "attempt::AttemptErrorClass")]
pub enum AttemptErrorClass {
    /// The final status was not 2xx. Redirects are not followed.
    Status,
    /// No response headers within the time-out.
    Timeout,
    /// The host's name did not resolve.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed. Self-signed certificates are not accepted.
    Tls,
    /// The connection broke before the response headers were complete.
    Reset,
    /// The response was not HTTP.
    Protocol,
    /// The host resolves to an address that must not be called.
    BlockedAddress,
}
