//! Global ids: opaque to clients, with the kind of the object and all that is needed to find it by key.
//!
//! An id has one spelling, and an id of one kind is never taken for another's. The content may change with a release:
//! clients store ids, but do not make them.

use async_graphql::ID;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use uuid::Uuid;

use tenterhook_model::ids::{AppId, DeliveryKey, EventId, LANES, Lane, NoticeId, WebhookId};
use tenterhook_policy::input_limits;
use tenterhook_store::deliveries::DeliveryPlace;

/// The object that a global id names. It contains the lane, so that an operator, who has no company, finds the object
/// in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobalId {
    /// A webhook.
    Webhook(Lane, WebhookId),
    /// A delivery, with its creation time.
    Delivery(DeliveryPlace),
    /// An event.
    Event(Lane, EventId),
    /// A notice.
    Notice(Lane, NoticeId),
    /// An app.
    App(AppId),
}

const WEBHOOK: u8 = b'W';
const DELIVERY: u8 = b'D';
const EVENT: u8 = b'E';
const NOTICE: u8 = b'N';
const APP: u8 = b'A';

impl GlobalId {
    /// The id for clients.
    pub fn to_id(&self) -> ID {
        let mut bytes = Vec::with_capacity(48);
        match self {
            Self::Webhook(lane, id) => {
                bytes.extend([WEBHOOK, lane_byte(*lane)]);
                bytes.extend(id.0.as_bytes());
            }
            Self::Delivery(place) => {
                bytes.extend([DELIVERY, lane_byte(place.key.lane)]);
                bytes.extend(place.key.webhook.0.as_bytes());
                bytes.extend(place.key.event.0.as_bytes());
                bytes.extend(place.key.generation.to_be_bytes());
                bytes.extend(place.created_at.as_microsecond().to_be_bytes());
            }
            Self::Event(lane, id) => {
                bytes.extend([EVENT, lane_byte(*lane)]);
                bytes.extend(id.0.as_bytes());
            }
            Self::Notice(lane, id) => {
                bytes.extend([NOTICE, lane_byte(*lane)]);
                bytes.extend(id.0.as_bytes());
            }
            Self::App(id) => {
                bytes.push(APP);
                bytes.extend(id.as_str().as_bytes());
            }
        }
        ID(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Parses an id; `None` if the text is not an id.
    pub fn parse(id: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
        let (kind, rest) = bytes.split_first()?;
        if *kind == APP {
            return Some(Self::App(std::str::from_utf8(rest).ok()?.parse().ok()?));
        }
        let (lane, rest) = rest.split_first()?;
        let lane = Some(Lane(i32::from(*lane))).filter(|lane| lane.0 < LANES)?;
        match *kind {
            WEBHOOK => Some(Self::Webhook(lane, WebhookId(Uuid::from_slice(rest).ok()?))),
            EVENT => Some(Self::Event(lane, EventId(Uuid::from_slice(rest).ok()?))),
            NOTICE => Some(Self::Notice(lane, NoticeId(Uuid::from_slice(rest).ok()?))),
            DELIVERY => delivery(lane, rest).map(Self::Delivery),
            _ => None,
        }
    }

    /// Parses a webhook's id.
    pub fn webhook(id: &str) -> Option<(Lane, WebhookId)> {
        match Self::parse(id)? {
            Self::Webhook(lane, id) => Some((lane, id)),
            Self::Delivery(_) | Self::Event(..) | Self::Notice(..) | Self::App(_) => None,
        }
    }

    /// Parses an event's id: the global one, or if `lane` is given the one in payloads.
    pub fn event(id: &str, lane: Option<Lane>) -> Option<(Lane, EventId)> {
        match Self::parse(id) {
            Some(Self::Event(lane, id)) => Some((lane, id)),
            _ => Some((lane?, carried_event(id)?)),
        }
    }
}

/// Parses the event id of payloads and headers, in its one spelling.
pub fn carried_event(text: &str) -> Option<EventId> {
    Uuid::try_parse(text)
        .ok()
        .map(EventId)
        .filter(|id| id.to_string() == text)
}

fn lane_byte(lane: Lane) -> u8 {
    u8::try_from(lane.0).unwrap_or(u8::MAX)
}

fn delivery(lane: Lane, bytes: &[u8]) -> Option<DeliveryPlace> {
    let (webhook, rest) = bytes.split_first_chunk::<16>()?;
    let (event, rest) = rest.split_first_chunk::<16>()?;
    let (generation, rest) = rest.split_first_chunk::<4>()?;
    let created = i64::from_be_bytes(rest.try_into().ok()?);
    Some(DeliveryPlace {
        created_at: input_limits::moment(Timestamp::from_microsecond(created).ok()?).ok()?,
        key: DeliveryKey {
            lane,
            webhook: WebhookId(Uuid::from_bytes(*webhook)),
            event: EventId(Uuid::from_bytes(*event)),
            generation: i32::from_be_bytes(*generation),
        },
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T10:11:12.345678Z".parse().unwrap()
    }

    #[test]
    fn ids_can_be_read_back() {
        let (webhook, event) = (WebhookId::new(at()), EventId::new(at()));
        let key = DeliveryKey {
            lane: Lane(63),
            webhook,
            event,
            generation: 7,
        };
        for id in [
            GlobalId::Webhook(Lane(0), webhook),
            GlobalId::Event(Lane(63), event),
            GlobalId::Notice(Lane(7), NoticeId::new(at())),
            GlobalId::Delivery(DeliveryPlace {
                created_at: at(),
                key,
            }),
            GlobalId::App("crm.sync-1_0".parse().unwrap()),
        ] {
            assert_eq!(GlobalId::parse(&id.to_id()), Some(id));
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        let id = GlobalId::Webhook(Lane(1), WebhookId::new(at())).to_id().0;
        let cut = &id[..id.len() - 2];
        let beyond = GlobalId::Webhook(Lane(64), WebhookId::new(at())).to_id().0;
        for text in [
            "",
            "1",
            "W",
            "x y",
            cut,
            &format!("{id}AA"),
            &format!("{id}="),
            &beyond,
            "QQ",
        ] {
            assert_eq!(GlobalId::parse(text), None, "{text:?}");
        }
    }

    /// Nothing has a time outside the range of years that the database supports.
    #[test]
    fn a_delivery_id_with_an_unsupported_time_is_refused() {
        let made = |created_at| {
            let key = DeliveryKey {
                lane: Lane(3),
                webhook: WebhookId::new(at()),
                event: EventId::new(at()),
                generation: 0,
            };
            GlobalId::Delivery(DeliveryPlace { created_at, key })
        };
        let first = made(input_limits::FIRST_MOMENT);
        assert_eq!(GlobalId::parse(&first.to_id()), Some(first));
        for beyond in [
            input_limits::FIRST_MOMENT - SignedDuration::from_micros(1),
            Timestamp::MIN,
        ] {
            assert_eq!(GlobalId::parse(&made(beyond).to_id()), None, "{beyond}");
        }
    }

    #[test]
    fn an_event_is_found_by_the_id_that_payloads_carry() {
        let event = EventId::new(at());
        let carried = event.to_string();
        assert_eq!(GlobalId::event(&carried, Some(Lane(3))), Some((Lane(3), event)));
        assert_eq!(GlobalId::event(&carried, None), None);
        assert_eq!(carried_event(&carried.to_uppercase()), None);
        assert_eq!(
            GlobalId::event(&GlobalId::Event(Lane(9), event).to_id(), None),
            Some((Lane(9), event))
        );
    }
}
