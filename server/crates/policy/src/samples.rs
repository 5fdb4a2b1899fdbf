//! Values that the policy's tests start from.

use jiff::Timestamp;

use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::ids::{CompanyId, EventId, Lane, UserId, WebhookId, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, Sealed, SigningSecrets, Webhook};

/// A change of deal 8 of company 1 by user 11, visible to everyone.
pub fn event() -> Event {
    let company = CompanyId::new(1).unwrap();
    Event {
        lane: Lane::of(company),
        id: EventId("019ab0b4-6d80-7abc-8def-0123456789ab".parse().unwrap()),
        company,
        action: EventAction::Change,
        object: "deal".to_owned(),
        object_id: "8".parse().unwrap(),
        user: UserId::new(11).unwrap(),
        data: Some(r#"{"id":8,"title":"A boat","value":1200}"#.into()),
        previous: Some(r#"{"id":8,"title":"A canoe","value":1200}"#.into()),
        permitted: None,
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        merge: None,
        correlation_id: "2a8b3c52-5f6e-4d7a-9b8c-0d1e2f3a4b5c".to_owned(),
        host: None,
        occurred_at: None,
        accepted_at: "2026-11-23T10:11:12.345Z".parse().unwrap(),
    }
}

/// A general webhook of user 11 of company 1, for all actions and objects.
pub fn webhook() -> Webhook {
    let company = CompanyId::new(1).unwrap();
    let user = UserId::new(11).unwrap();
    Webhook {
        lane: Lane::of(company),
        id: WebhookId("019ab0b4-0000-7000-8000-000000000001".parse().unwrap()),
        number: WebhookNumber::new(501).unwrap(),
        company,
        owner: user,
        user,
        app: None,
        name: None,
        url: "https://receiver.example/hook".to_owned(),
        action: EventAction::Any,
        object: "*".to_owned(),
        version: PayloadVersion::V2,
        auth: None,
        secrets: SigningSecrets {
            current: Sealed(vec![]),
            previous: None,
        },
        paused_at: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        removed: None,
    }
}
