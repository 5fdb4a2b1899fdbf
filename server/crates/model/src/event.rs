//! An event: something that happened to an object of a company.

use std::sync::Arc;

use jiff::Timestamp;

use super::ids::{CompanyId, EventId, Lane, ObjectId, UserId};
use super::stored_enum;
use super::webhook::EventAction;

stored_enum!(
    /// Where the change came from.
    ChangeSource {
        /// Somebody in the web app.
        App = 1,
        /// A call of the platform's API.
        Api = 2,
    }
);

/// The other side of a merge (E6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// This event is about the survivor; here is the one merged into it.
    From(ObjectId),
    /// This event is about the one that went; here is the survivor.
    To(ObjectId),
}

/// An event as stored. A published merge is two of them (E6).
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The company's lane.
    pub lane: Lane,
    /// Its id: `webhook-id` on the wire. Carries the moment of acceptance to the millisecond.
    pub id: EventId,
    /// The tenant.
    pub company: CompanyId,
    /// What happened; never `Any`. `Merge` for the survivor of a merge, `Delete` for the other.
    pub action: EventAction,
    /// Which kind of object, such as `deal`; never `*`.
    pub object: String,
    /// Which object.
    pub object_id: ObjectId,
    /// Who did it.
    pub user: UserId,
    /// The object's state after it, as JSON text; `None` for JSON null. Shared: a publication is in several hands at
    /// once, and may be large.
    pub data: Option<Arc<str>>,
    /// The object's whole state before it, as JSON text; `None` for JSON null.
    pub previous: Option<Arc<str>>,
    /// Who may see the object; `None` means everyone in the company (E2).
    pub permitted: Option<Vec<UserId>>,
    /// Where the change came from.
    pub change_source: ChangeSource,
    /// Whether it was one of many changed together.
    pub is_bulk_edit: bool,
    /// The other side, if this is half of a merge.
    pub merge: Option<Merge>,
    /// Groups events of one cause; the two halves of a merge share it.
    pub correlation_id: String,
    /// The company's host for payloads; `None` means the setting's.
    pub host: Option<String>,
    /// When it happened, as the platform says; `None` means at acceptance.
    pub occurred_at: Option<Timestamp>,
    /// When it was accepted: the id's moment, to the millisecond.
    pub accepted_at: Timestamp,
}

/// What the platform publishes, checked and typed, before it has an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The tenant.
    pub company: CompanyId,
    /// What happened; never `Any`.
    pub action: EventAction,
    /// Which kind of object; never `*`.
    pub object: String,
    /// Which object; of a merge, the survivor.
    pub object_id: ObjectId,
    /// Who did it.
    pub user: UserId,
    /// See [`Event::data`].
    pub data: Option<Arc<str>>,
    /// See [`Event::previous`].
    pub previous: Option<Arc<str>>,
    /// Of a merge: the object that went, and its last state as JSON text.
    pub merged_from: Option<(ObjectId, Option<Arc<str>>)>,
    /// See [`Event::permitted`].
    pub permitted: Option<Vec<UserId>>,
    /// See [`Event::change_source`].
    pub change_source: ChangeSource,
    /// See [`Event::is_bulk_edit`].
    pub is_bulk_edit: bool,
    /// See [`Event::correlation_id`]; `None` makes a new one.
    pub correlation_id: Option<String>,
    /// See [`Event::host`].
    pub host: Option<String>,
    /// See [`Event::occurred_at`].
    pub occurred_at: Option<Timestamp>,
    /// Publishing it again with the same content answers the first event (E1).
    pub idempotency_key: Option<String>,
}
