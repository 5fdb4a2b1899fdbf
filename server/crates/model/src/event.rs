//! An event: something that happened to an object of a company.

use std::sync::Arc;

use jiff::Timestamp;

use super::ids::{CompanyId, EventId, Lane, ObjectId, UserId};
use super::stored_enum;
use super::webhook::EventAction;

stored_enum!(
    /// Where a change came from.
    ChangeSource {
        /// A person in the web app.
        App = 1,
        /// A call to the platform's API.
        Api = 2,
    }
);

/// The other side of a merge (E6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// This event is about the survivor; the id is that of the object merged into it.
    From(ObjectId),
    /// This event is about the object that was merged away; the id is the survivor's.
    To(ObjectId),
}

/// A stored event. A published merge is stored as two events (E6).
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The company's lane.
    pub lane: Lane,
    /// Its id: `webhook-id` in requests. It contains the time of acceptance to the millisecond.
    pub id: EventId,
    /// The tenant.
    pub company: CompanyId,
    /// The action; never `Any`. `Merge` for the survivor of a merge, `Delete` for the other object.
    pub action: EventAction,
    /// Which kind of object, such as `deal`; never `*`.
    pub object: String,
    /// The object's id.
    pub object_id: ObjectId,
    /// The user who did it.
    pub user: UserId,
    /// The object's state after it, as JSON text; `None` for JSON null. Shared, because several tasks use a publication at
    /// once and it may be large.
    pub data: Option<Arc<str>>,
    /// The object's whole state before it, as JSON text; `None` for JSON null.
    pub previous: Option<Arc<str>>,
    /// Who may see the object; `None` means everyone in the company (E2).
    pub permitted: Option<Vec<UserId>>,
    /// Whether a person or the platform's API made the change.
    pub change_source: ChangeSource,
    /// Whether the object was one of many that were changed together.
    pub is_bulk_edit: bool,
    /// The other object, if this event is half of a merge.
    pub merge: Option<Merge>,
    /// Groups events with one cause; both events of a merge have the same.
    pub correlation_id: String,
    /// The company's host in payloads; `None` means the host of the settings.
    pub host: Option<String>,
    /// When it happened, according to the platform; `None` means at acceptance.
    pub occurred_at: Option<Timestamp>,
    /// When it was accepted: the time in the id, to the millisecond.
    pub accepted_at: Timestamp,
}

/// A published event, checked and typed, before it has an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The tenant.
    pub company: CompanyId,
    /// The action; never `Any`.
    pub action: EventAction,
    /// Which kind of object; never `*`.
    pub object: String,
    /// The object's id; for a merge, the survivor's.
    pub object_id: ObjectId,
    /// The user who did it.
    pub user: UserId,
    /// See [`Event::data`].
    pub data: Option<Arc<str>>,
    /// See [`Event::previous`].
    pub previous: Option<Arc<str>>,
    /// For a merge: the object that was merged away, and its last state as JSON text.
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
    /// Publishing it again with the same key and content returns the first event (E1).
    pub idempotency_key: Option<String>,
}
