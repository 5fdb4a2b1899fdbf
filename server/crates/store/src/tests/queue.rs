//! The queue's statements with a real database: publishing, claiming, settling, the feed and the partitions.

mod leases;
mod maintenance;
mod notices;
mod processes;
mod publishing;

use diesel_async::{AsyncConnection, RunQueryDsl};
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use crate::delivery_counters::Tally;
use crate::queue::claim::{self, Unsent};
use crate::queue::publish::{self, InitialState, NewDelivery, Publication, ROWS_PER_STATEMENT, Room};
use crate::queue::settle::{self, Action, Settlement};
use crate::testing::{WAITING, count};
use crate::{
    Conn, Store, StoreError, changes, delivery_counters, events, health, idempotency, nodes, partitions,
    testing,
};
use tenterhook_model::attempt::{Attempt, AttemptErrorClass, Outcome, Timings};
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::ids::{CompanyId, EventId, EventIds, Lane, NodeId, UserId, WebhookId};
use tenterhook_model::webhook::{EventAction, PayloadVersion};
use tenterhook_policy::matching::selector;
use tenterhook_settings::policy::Catalog;

const DAY: Date = date(2026, 11, 23);
const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn now() -> Timestamp {
    "2026-11-23T12:00:00.000250Z".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn company() -> CompanyId {
    CompanyId::new(7).unwrap()
}

fn lane() -> Lane {
    Lane::of(company())
}

async fn store() -> Store {
    testing::database(DAY..=DAY).await.0
}

pub(super) fn event(action: EventAction, object: &str, permitted: Option<Vec<i64>>) -> Event {
    let user = |id| UserId::new(id).unwrap();
    let id = EventIds::default().next(now());
    Event {
        lane: lane(),
        id,
        company: company(),
        action,
        object: object.to_owned(),
        object_id: "8".parse().unwrap(),
        user: user(1),
        data: Some("{\"id\":8}".into()),
        previous: None,
        permitted: permitted.map(|ids| ids.into_iter().map(user).collect()),
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        merge: None,
        correlation_id: id.to_string(),
        host: None,
        occurred_at: None,
        accepted_at: id.accepted_at(),
    }
}

/// A webhook of user 1 for all events, changed by `set`.
async fn webhook(conn: &mut Conn, set: &str) -> WebhookId {
    let id = WebhookId::new(now());
    let lane = lane().0;
    let insert = format!(
        "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret,
                               created_at, updated_at)
         values ({lane}, '{id}', 7, 1, 1, 1, 'https://example.com/', 0, '*', 2, '', '2026-11-01', '2026-11-01')"
    );
    let insert_health = format!("insert into webhook_health (lane, webhook) values ({lane}, '{id}')");
    diesel::sql_query(insert).execute(conn).await.unwrap();
    diesel::sql_query(insert_health).execute(conn).await.unwrap();
    if !set.is_empty() {
        diesel::sql_query(format!("update {} = '{id}'", set))
            .execute(conn)
            .await
            .unwrap();
    }
    id
}

/// Publishes as the engine does: in one statement if possible, otherwise in a transaction.
async fn publish(conn: &mut Conn, events: &[Event], room: i64) -> Vec<NewDelivery> {
    if let Some(made) = publish_at_once(conn, events, room).await {
        return made;
    }
    let (publications, room) = (publications(events), with_room(room));
    conn.transaction(async |conn| {
        let mut made = Vec::new();
        publish::insert_in_tx(conn, &publications, now(), &room, |one| made.push(one)).await?;
        Ok::<_, StoreError>(made)
    })
    .await
    .unwrap()
}

pub(super) async fn publish_at_once(
    conn: &mut Conn,
    events: &[Event],
    room: i64,
) -> Option<Vec<NewDelivery>> {
    let (publications, room, mut made) = (publications(events), with_room(room), Vec::new());
    let stored = publish::insert(conn, &publications, now(), &room, |one| made.push(one)).await;
    stored.unwrap().then_some(made)
}

fn publications(events: &[Event]) -> Vec<Publication<'_>> {
    let catalog = Catalog::default();
    let publication = |event| {
        let seen = selector(event, &catalog);
        Publication {
            event,
            seen_by_v1: seen.v1,
            seen_by_v2: seen.v2,
        }
    };
    events.iter().map(publication).collect()
}

fn with_room(room: i64) -> Room<'static> {
    Room {
        node: ME,
        lease_until: later(90),
        total: room,
        per_webhook: room,
        full: &[],
    }
}

fn settlement(made: &NewDelivery, token: i64, action: Action) -> Settlement {
    let ending = match action {
        Action::Finish(status) => Some(status),
        _ => None,
    };
    let failed = ending != Some(DeliveryStatus::Succeeded);
    let outcome = Outcome {
        status: Some(if failed { 500 } else { 200 }),
        error_class: failed.then_some(AttemptErrorClass::Status),
        error_message: None,
        timings: Timings::default(),
        response_headers: vec![("x".to_owned(), "a\0b".to_owned())],
        response_body: Some("a\0b".to_owned()),
        response_truncated: false,
    };
    let attempt = Attempt {
        delivery: made.key,
        number: 1,
        started_at: now(),
        ended_at: later(1),
        duration_us: 1_000_000,
        url: "https://example.com/".to_owned(),
        auth_sent: false,
        outcome,
        ending,
    };
    Settlement {
        key: made.key,
        company: company(),
        created_at: made.key.event.accepted_at(),
        token,
        attempt: Some(Box::new(attempt)),
        action,
    }
}

/// Checks D7 for the whole database.
async fn assert_conserved(conn: &mut Conn) -> Tally {
    let tally = delivery_counters::all(conn).await.unwrap();
    assert_eq!(
        tally.accepted,
        tally.succeeded + tally.failed + tally.lost + tally.cancelled + tally.open,
        "{tally:?}"
    );
    tally
}
