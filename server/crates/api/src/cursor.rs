//! The content of a cursor: the key that its list is ordered by.
//!
//! A cursor of one list or order is never accepted as one of another.

use jiff::Timestamp;
use uuid::Uuid;

use tenterhook_model::ids::{DeliveryKey, EventId, LANES, Lane, NoticeId, WebhookId};
use tenterhook_policy::input_limits;
use tenterhook_store::apps::AppKey;
use tenterhook_store::deliveries::DeliveryPlace;
use tenterhook_store::notices::NoticePlace;
use tenterhook_store::webhook_list::{WebhookCursor, WebhookOrder};

/// The first byte of a cursor is a tag for its list and order.
const BY_CREATION: u8 = b'c';
const BY_NAME: u8 = b'n';
const OF_DELIVERY: u8 = b'd';
const OF_APP: u8 = b'a';
const OF_NOTICE: u8 = b'o';

/// Encodes a webhook's cursor.
pub fn encode_webhook(key: &WebhookCursor) -> Vec<u8> {
    let mut bytes = Vec::new();
    match key {
        WebhookCursor::Created(at, id) => {
            bytes.push(BY_CREATION);
            bytes.extend(at.as_microsecond().to_be_bytes());
            bytes.extend(id.0.as_bytes());
        }
        WebhookCursor::Name(name, id) => {
            bytes.push(BY_NAME);
            bytes.extend(id.0.as_bytes());
            bytes.push(u8::from(name.is_some()));
            bytes.extend(name.as_deref().unwrap_or_default().as_bytes());
        }
    }
    bytes
}

/// Decodes a webhook's cursor, if it is one of this order.
pub fn decode_webhook(order: WebhookOrder) -> impl Fn(&[u8]) -> Option<WebhookCursor> {
    move |bytes| match (order, bytes.split_first()?) {
        (WebhookOrder::CreatedAscending | WebhookOrder::CreatedDescending, (&BY_CREATION, rest)) => {
            let (at, id) = moment(rest)?;
            Some(WebhookCursor::Created(at, WebhookId(Uuid::from_slice(id).ok()?)))
        }
        (WebhookOrder::NameAscending, (&BY_NAME, rest)) => {
            let (id, rest) = rest.split_first_chunk::<16>()?;
            let (named, name) = rest.split_first()?;
            let name = std::str::from_utf8(name)
                .ok()
                .filter(|name| input_limits::searched(name).is_ok())?;
            let name = match (named, name) {
                (0, "") => None,
                (1, name) => Some(name.to_owned()),
                _ => return None,
            };
            Some(WebhookCursor::Name(name, WebhookId(Uuid::from_bytes(*id))))
        }
        _ => None,
    }
}

/// Encodes a delivery's cursor.
pub fn encode_delivery(place: &DeliveryPlace) -> Vec<u8> {
    let mut bytes = vec![OF_DELIVERY];
    bytes.extend(place.created_at.as_microsecond().to_be_bytes());
    bytes.push(u8::try_from(place.key.lane.0).unwrap_or(u8::MAX));
    bytes.extend(place.key.webhook.0.as_bytes());
    bytes.extend(place.key.event.0.as_bytes());
    bytes.extend(place.key.generation.to_be_bytes());
    bytes
}

/// Decodes a delivery's cursor.
pub fn decode_delivery(bytes: &[u8]) -> Option<DeliveryPlace> {
    let (created_at, rest) = moment(bytes.strip_prefix(&[OF_DELIVERY])?)?;
    let (lane, rest) = rest.split_first()?;
    let (webhook, rest) = rest.split_first_chunk::<16>()?;
    let (event, rest) = rest.split_first_chunk::<16>()?;
    let key = DeliveryKey {
        lane: Some(Lane(i32::from(*lane))).filter(|lane| lane.0 < LANES)?,
        webhook: WebhookId(Uuid::from_bytes(*webhook)),
        event: EventId(Uuid::from_bytes(*event)),
        generation: i32::from_be_bytes(rest.try_into().ok()?),
    };
    Some(DeliveryPlace { created_at, key })
}

/// Encodes an app's cursor.
pub fn encode_app(key: &AppKey) -> Vec<u8> {
    let mut bytes = vec![OF_APP];
    bytes.extend(key.created_at.as_microsecond().to_be_bytes());
    bytes.extend(key.app.as_str().as_bytes());
    bytes
}

/// Decodes an app's cursor.
pub fn decode_app(bytes: &[u8]) -> Option<AppKey> {
    let (created_at, app) = moment(bytes.strip_prefix(&[OF_APP])?)?;
    Some(AppKey {
        created_at,
        app: std::str::from_utf8(app).ok()?.parse().ok()?,
    })
}

/// Encodes a notice's cursor.
pub fn encode_notice(place: &NoticePlace) -> Vec<u8> {
    let mut bytes = vec![OF_NOTICE];
    bytes.extend(place.at.as_microsecond().to_be_bytes());
    bytes.extend(place.id.0.as_bytes());
    bytes
}

/// Decodes a notice's cursor.
pub fn decode_notice(bytes: &[u8]) -> Option<NoticePlace> {
    let (at, id) = moment(bytes.strip_prefix(&[OF_NOTICE])?)?;
    Some(NoticePlace {
        at,
        id: NoticeId(Uuid::from_slice(id).ok()?),
    })
}

fn moment(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let at = Timestamp::from_microsecond(i64::from_be_bytes(*micros)).ok()?;
    Some((input_limits::moment(at).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T10:11:12.345678Z".parse().unwrap()
    }

    #[test]
    fn cursors_read_back_in_their_own_list_only() {
        let webhook = WebhookId::new(at());
        let by_creation = WebhookCursor::Created(at(), webhook);
        let key = DeliveryKey {
            lane: Lane(5),
            webhook,
            event: EventId::new(at()),
            generation: 1,
        };
        let place = DeliveryPlace {
            created_at: at(),
            key,
        };
        let app = AppKey {
            created_at: at(),
            app: "crm".parse().unwrap(),
        };
        let created = decode_webhook(WebhookOrder::CreatedDescending);
        let named = decode_webhook(WebhookOrder::NameAscending);

        assert_eq!(created(&encode_webhook(&by_creation)), Some(by_creation.clone()));
        assert_eq!(named(&encode_webhook(&by_creation)), None);
        for name in [None, Some(String::new()), Some("Näme".to_owned())] {
            let by_name = WebhookCursor::Name(name, webhook);
            assert_eq!(named(&encode_webhook(&by_name)), Some(by_name.clone()));
            assert_eq!(created(&encode_webhook(&by_name)), None);
        }
        let mut nameless = encode_webhook(&WebhookCursor::Name(None, webhook));
        nameless.extend(b"name");
        assert_eq!(named(&nameless), None, "a second spelling");
        assert_eq!(decode_delivery(&encode_delivery(&place)), Some(place));
        assert_eq!(decode_app(&encode_app(&app)), Some(app.clone()));
        assert_eq!(decode_delivery(&encode_app(&app)), None);
        let notice = NoticePlace {
            at: at(),
            id: NoticeId::new(at()),
        };
        assert_eq!(decode_notice(&encode_notice(&notice)), Some(notice));
        assert_eq!(decode_app(&encode_notice(&notice)), None);
        assert_eq!(decode_app(&[]), None);
    }

    /// No row has a time outside the range of years that the database supports.
    #[test]
    fn a_cursor_with_an_unsupported_time_is_refused() {
        let app = |created_at| AppKey {
            created_at,
            app: "crm".parse().unwrap(),
        };
        let created = decode_webhook(WebhookOrder::CreatedAscending);
        let first = input_limits::FIRST_MOMENT;
        assert_eq!(decode_app(&encode_app(&app(first))), Some(app(first)));
        for beyond in [first - SignedDuration::from_micros(1), Timestamp::MIN] {
            let notice = NoticePlace {
                at: beyond,
                id: NoticeId::new(at()),
            };
            let webhook = WebhookCursor::Created(beyond, WebhookId::new(at()));
            assert_eq!(decode_app(&encode_app(&app(beyond))), None);
            assert_eq!(decode_notice(&encode_notice(&notice)), None);
            assert_eq!(created(&encode_webhook(&webhook)), None);
        }
    }
}
