//! Global ids and the contents of cursors, with arbitrary bytes from a client.
//!
//! Properties: Nothing panics. Each value has one spelling: writing what was read gives the same bytes. A cursor is
//! valid for at most one list.

use tenterhook_api::cursor;
use tenterhook_api::global_id::{GlobalId, carried_event};
use tenterhook_model::ids::Lane;
use tenterhook_store::webhook_list::WebhookOrder;

/// Reads the bytes as a cursor, and as an id if they are text.
pub fn check(data: &[u8]) {
    cursors(data);
    if let Ok(text) = std::str::from_utf8(data) {
        ids(text);
    }
}

fn cursors(bytes: &[u8]) {
    let by_creation = cursor::decode_webhook(WebhookOrder::CreatedAscending)(bytes);
    let descending = cursor::decode_webhook(WebhookOrder::CreatedDescending)(bytes);
    assert_eq!(by_creation, descending, "the direction changes the place");
    let by_name = cursor::decode_webhook(WebhookOrder::NameAscending)(bytes);
    let written: Vec<Vec<u8>> = [
        by_creation.map(|key| cursor::encode_webhook(&key)),
        by_name.map(|key| cursor::encode_webhook(&key)),
        cursor::decode_delivery(bytes).map(|key| cursor::encode_delivery(&key)),
        cursor::decode_app(bytes).map(|key| cursor::encode_app(&key)),
        cursor::decode_notice(bytes).map(|key| cursor::encode_notice(&key)),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(written.len() <= 1, "a cursor of {} lists", written.len());
    assert!(written.iter().all(|again| again == bytes), "a second spelling");
}

fn ids(text: &str) {
    if let Some(id) = GlobalId::parse(text) {
        assert_eq!(id.to_id().0, text, "a second spelling");
        let webhook = GlobalId::webhook(text);
        assert_eq!(webhook.is_some(), matches!(id, GlobalId::Webhook(..)));
        let event = GlobalId::event(text, None);
        assert_eq!(event.is_some(), matches!(id, GlobalId::Event(..)));
    }
    let lane = Lane(5);
    if let Some(event) = carried_event(text) {
        assert_eq!(event.to_string(), text, "a second spelling");
        assert_eq!(GlobalId::event(text, Some(lane)), Some((lane, event)));
    }
}
