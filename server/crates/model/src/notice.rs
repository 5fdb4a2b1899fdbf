//! A notice: what people are told about a webhook's health, once per transition (R4).

use jiff::Timestamp;

pub use super::health::NoticeKind;
use super::ids::{CompanyId, Lane, NoticeId, WebhookId};

/// A notice as stored, written in the transaction of the transition it tells of.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The company's lane.
    pub lane: Lane,
    /// Its id.
    pub id: NoticeId,
    /// The tenant.
    pub company: CompanyId,
    /// About which webhook.
    pub webhook: WebhookId,
    /// About what.
    pub kind: NoticeKind,
    /// The ban's or window's number: with webhook and kind it makes the notice unique.
    pub episode: i32,
    /// When the transition happened.
    pub at: Timestamp,
    /// Figures of the transition, as a JSON object.
    pub data: String,
}
