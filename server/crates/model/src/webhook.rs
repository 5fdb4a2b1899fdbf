//! A webhook: one subscription of a user or of an app for a user.

use jiff::Timestamp;

use super::ids::{AppId, CompanyId, Lane, UserId, WebhookId, WebhookNumber};
use super::stored_enum;

stored_enum!(
    /// Who a webhook belongs to (W1). Decided by who creates it.
    WebhookType {
        /// A user's own.
        General = 1,
        /// An app's, for one user.
        Application = 2,
    }
);

stored_enum!(
    /// The shape of the payload (W9, E4, E5).
    PayloadVersion {
        /// `meta`, `current`, `previous`.
        V1 = 1,
        /// `meta`, `data`, `previous`.
        V2 = 2,
    }
);

stored_enum!(
    /// The actions, named the same for both payload versions.
    EventAction {
        /// Any action: only in a subscription.
        Any = 0,
        /// `create`, v1 `added`.
        Create = 1,
        /// `change`, v1 `updated`.
        Change = 2,
        /// v1 `merged`; for v2 it is the survivor's `change` (E6).
        Merge = 3,
        /// `delete`, v1 `deleted`.
        Delete = 4,
    }
);

impl EventAction {
    /// The action for a subscriber of `version`. Version 2 has no merge: there the survivor was changed (E6).
    pub fn seen_by(self, version: PayloadVersion) -> Self {
        match (self, version) {
            (Self::Merge, PayloadVersion::V2) => Self::Change,
            (action, _) => action,
        }
    }
}

stored_enum!(
    /// Why a webhook was removed.
    RemoveReason {
        /// By its user.
        DeletedByUser = 1,
        /// By an admin of the company.
        DeletedByAdmin = 2,
        /// By its app.
        DeletedByApp = 3,
        /// Its user uninstalled the app (W8).
        AppUninstalled = 4,
        /// The app left the marketplace (W8).
        AppRemoved = 5,
        /// Its user was removed.
        UserRemoved = 6,
        /// Three days without success (R1).
        NoSuccessfulDelivery = 7,
    }
);

/// The state of a webhook. If several apply, REMOVED takes precedence over PAUSED, and PAUSED over BANNED (W13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WebhookState {
    /// Events are delivered.
    Active,
    /// Events are lost until the ban ends (B4).
    Banned,
    /// Events are lost until its user resumes it (W13).
    Paused,
    /// Removed; readable for a while (W12).
    Removed,
}

/// Bytes sealed with the sealing key (W11), useless without it. Logs show only their length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The signing secrets of a webhook, sealed (E7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSecrets {
    /// Signs every attempt.
    pub current: Sealed,
    /// Also signs until the time next to it, while the secrets of a rotation overlap.
    pub previous: Option<(Sealed, Timestamp)>,
}

/// A webhook as stored, without its health.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The company's lane.
    pub lane: Lane,
    /// Internal id.
    pub id: WebhookId,
    /// The id that payloads carry.
    pub number: WebhookNumber,
    /// The tenant.
    pub company: CompanyId,
    /// Who created it. The owner has no rights from this (W4).
    pub owner: UserId,
    /// The user whose webhook it is, which decides visibility, limit and uninstalling (W4).
    pub user: UserId,
    /// The app of an application webhook; `None` for a general webhook (W1).
    pub app: Option<AppId>,
    /// A label for people.
    pub name: Option<String>,
    /// The subscription URL (W10), in its normalised spelling.
    pub url: String,
    /// The action that it subscribes to.
    pub action: EventAction,
    /// The object that it subscribes to; `*` for all objects of its version's catalogue.
    pub object: String,
    /// The payload version.
    pub version: PayloadVersion,
    /// HTTP basic credentials, sealed (W11).
    pub auth: Option<Sealed>,
    /// Signing secrets, sealed.
    pub secrets: SigningSecrets,
    /// Set while its user has paused it (W13).
    pub paused_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its settings last changed.
    pub updated_at: Timestamp,
    /// When and why it was removed. Set once.
    pub removed: Option<(Timestamp, RemoveReason)>,
}

/// The owner of a webhook: everything that decides who sees it (W4–W6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOwner {
    /// The company's lane.
    pub lane: Lane,
    /// The webhook's internal id.
    pub webhook: WebhookId,
    /// The tenant.
    pub company: CompanyId,
    /// The user whose webhook it is.
    pub user: UserId,
    /// The app of an application webhook.
    pub app: Option<AppId>,
}

impl Webhook {
    /// The part of the webhook that decides who sees it.
    pub fn webhook_owner(&self) -> WebhookOwner {
        WebhookOwner {
            lane: self.lane,
            webhook: self.id,
            company: self.company,
            user: self.user,
            app: self.app.clone(),
        }
    }

    /// The type, which follows from the app (W1).
    pub fn kind(&self) -> WebhookType {
        if self.app.is_some() {
            WebhookType::Application
        } else {
            WebhookType::General
        }
    }
}
