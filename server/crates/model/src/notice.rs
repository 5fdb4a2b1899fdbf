//! A notice: informs people about a webhook's health, once per transition (R4).

use jiff::Timestamp;

pub use super::health::NoticeKind;
use super::ids::{CompanyId, Lane, NoticeId, WebhookId};

/// A stored notice. It is written in the transaction of its transition.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The company's lane.
    pub lane: Lane,
    /// Its id.
    pub id: NoticeId,
    /// The tenant.
    pub company: CompanyId,
    /// The webhook that it is about.
    pub webhook: WebhookId,
    /// The kind of transition.
    pub kind: NoticeKind,
    /// The number of the ban or window. Together with webhook and kind it makes the notice unique.
    pub episode: i32,
    /// When the transition happened.
    pub at: Timestamp,
    /// Details of the transition, as a JSON object.
    pub data: String,
}
