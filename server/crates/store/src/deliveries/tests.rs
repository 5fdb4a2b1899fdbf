use diesel_async::SimpleAsyncConnection;
use jiff::SignedDuration;
use jiff::civil::date;

use super::*;
use crate::{attempts, testing};

const LANE: Lane = Lane(13);

fn at(millis: i64) -> Timestamp {
    "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_millis(millis)
}

fn cutoffs() -> Cutoffs {
    let now = at(1_000_000);
    let before = |days: i64| now - SignedDuration::from_hours(24 * days);
    Cutoffs {
        now,
        window_opened: before(3),
        removed: before(30),
        history: before(30),
        event_dropped: before(30),
    }
}

/// A webhook of company 1.
async fn webhook(conn: &mut Conn) -> WebhookId {
    let id = WebhookId::new(at(0));
    conn.batch_execute(&format!(
        "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret, created_at,
                               updated_at)
         values ({0}, '{id}', 1, 7, 7, 1, 'http://example.com/', 0, '*', 2, '', '{1}', '{1}');
         insert into webhook_health (lane, webhook) values ({0}, '{id}')",
        LANE.0,
        at(0)
    ))
    .await
    .unwrap();
    id
}

/// A delivery with this status, created at `made` for an event accepted at `accepted`, in milliseconds.
async fn delivery(
    conn: &mut Conn,
    webhook: WebhookId,
    status: DeliveryStatus,
    accepted: i64,
    replay: Option<(i32, i64)>,
) -> DeliveryPlace {
    let event = EventId::new(at(accepted));
    let (generation, made) = replay.map_or((0, at(accepted)), |(generation, made)| (generation, at(made)));
    let common = format!("{}, '{webhook}', '{event}', {generation}, 1, '{made}'", LANE.0);
    let ended = made + SignedDuration::from_secs(1);
    conn.batch_execute(&match status {
        DeliveryStatus::Pending => format!(
            "insert into deliveries (lane, webhook, event, generation, company, created_at, number, event_at, due_at,
                                     vis_at, token) values ({common}, 1, '{0}', '{made}', '{made}', 0)",
            at(accepted)
        ),
        DeliveryStatus::Succeeded | DeliveryStatus::Failed => {
            let succeeded = status == DeliveryStatus::Succeeded;
            format!(
                "insert into attempts (lane, webhook, event, generation, company, created_at, number, started_at,
                                       ended_at, duration_us, url, auth_sent, status, error_class, response_headers,
                                       response_truncated, ending)
                 values ({common}, 1, '{made}', '{ended}', 1, '', false, {}, {}, '[]', false, {})",
                if succeeded { 200 } else { 500 },
                if succeeded { "null" } else { "1" },
                status.code()
            )
        }
        DeliveryStatus::Lost | DeliveryStatus::Cancelled => format!(
            "insert into outcomes (lane, webhook, event, generation, company, created_at, at, status, reason)
             values ({common}, '{ended}', {}, {})",
            status.code(),
            if status == DeliveryStatus::Lost { 3 } else { 4 }
        ),
    })
    .await
    .unwrap();
    DeliveryPlace {
        created_at: made,
        key: DeliveryKey {
            lane: LANE,
            webhook,
            event,
            generation,
        },
    }
}

fn window(size: u16, from_end: bool, bound: Option<DeliveryPlace>) -> Window<DeliveryPlace> {
    let (after, before) = if from_end { (None, bound) } else { (bound, None) };
    Window {
        size,
        from_end,
        after,
        before,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_and_replays_have_one_order() {
    let (store, _) = testing::database(date(2026, 11, 22)..=date(2026, 11, 25)).await;
    let mut conn = store.conn().await.unwrap();
    let webhooks = [webhook(&mut conn).await, webhook(&mut conn).await];
    let mut places = Vec::new();
    let states = DeliveryStatus::ALL;
    for n in 0..30_usize {
        let (webhook, status, accepted) = (webhooks[n % 2], states[n % 5], (n as i64) * 7 % 40);
        let replay = (n % 3 == 0).then_some((1, 20 + n as i64));
        places.push(delivery(&mut conn, webhook, status, accepted, replay).await);
    }
    let order = |place: &DeliveryPlace| {
        (
            place.created_at,
            place.key.event,
            place.key.webhook,
            place.key.generation,
        )
    };
    places.sort_by_key(|place| std::cmp::Reverse(order(place)));
    let owners = Owners {
        scope: WebhookScope::Everything,
        cutoffs: cutoffs(),
        webhook: None,
    };
    let all = DeliveryQuery::default();
    assert_eq!(count(&mut conn, &owners, &all).await.unwrap(), 30);
    for (size, from_end) in [
        (1, false),
        (7, false),
        (30, false),
        (1, true),
        (7, true),
        (31, true),
    ] {
        let mut walked: Vec<DeliveryPlace> = Vec::new();
        loop {
            let bound = if from_end {
                walked.split_first().map(|(first, _)| first)
            } else {
                walked.last()
            };
            let slice = page(&mut conn, &owners, &all, &window(size, from_end, bound.copied()))
                .await
                .unwrap();
            let found: Vec<DeliveryPlace> = slice.rows.iter().map(DeliveryPlace::of).collect();
            walked = if from_end {
                [found, walked].concat()
            } else {
                [walked, found].concat()
            };
            if !(if from_end {
                slice.has_previous
            } else {
                slice.has_next
            }) {
                break;
            }
        }
        assert_eq!(walked, places, "pages of {size}, from the end: {from_end}");
    }
    let keys = webhooks.map(|id| (LANE, id));
    let each = page_of_each(
        &mut conn,
        &keys,
        &all,
        &cutoffs(),
        &window(4, false, Some(places[5])),
    )
    .await
    .unwrap();
    for id in webhooks {
        let found: Vec<DeliveryPlace> = each[&id].rows.iter().map(DeliveryPlace::of).collect();
        let expected: Vec<_> = places[6..]
            .iter()
            .filter(|place| place.key.webhook == id)
            .take(4)
            .copied()
            .collect();
        assert_eq!(found, expected);
    }
    let found = find(&mut conn, &places, &WebhookScope::Everything, &cutoffs())
        .await
        .unwrap();
    assert_eq!(found.len(), places.len());
    assert!(
        find(&mut conn, &places, &WebhookScope::Nothing, &cutoffs())
            .await
            .unwrap()
            .is_empty()
    );
    for place in &places {
        let of_event = DeliveryQuery {
            event: Some(place.key.event),
            ..DeliveryQuery::default()
        };
        let slice = page(&mut conn, &owners, &of_event, &window(9, false, None))
            .await
            .unwrap();
        assert_eq!(
            slice.rows.iter().map(DeliveryPlace::of).collect::<Vec<_>>(),
            [*place]
        );
    }
}

/// D10: the end of a delivery counts, not the acceptance of its event. Here each ended a second after it was created.
#[tokio::test(flavor = "multi_thread")]
async fn rows_past_their_retention_are_not_read() {
    let (store, _) = testing::database(date(2026, 11, 22)..=date(2026, 11, 25)).await;
    let mut conn = store.conn().await.unwrap();
    let webhook = webhook(&mut conn).await;
    let mut places = Vec::new();
    for (status, replay) in [
        (DeliveryStatus::Succeeded, None),
        (DeliveryStatus::Lost, None),
        (DeliveryStatus::Pending, None),
        (DeliveryStatus::Failed, Some((1, 5_000))),
    ] {
        places.push(delivery(&mut conn, webhook, status, 0, replay).await);
    }
    let read = async |conn: &mut Conn, history, event_dropped| {
        let cutoffs = Cutoffs {
            history,
            event_dropped,
            ..cutoffs()
        };
        let owners = Owners {
            scope: WebhookScope::Everything,
            cutoffs,
            webhook: Some((LANE, webhook)),
        };
        let all = count(conn, &owners, &DeliveryQuery::default()).await.unwrap();
        let found = find(conn, &places, &WebhookScope::Everything, &cutoffs)
            .await
            .unwrap();
        (all, found.len())
    };
    assert_eq!(read(&mut conn, at(999), at(-1)).await, (4, 4));
    assert_eq!(read(&mut conn, at(1_000), at(-1)).await, (2, 2));
    assert_eq!(read(&mut conn, at(5_999), at(-1)).await, (2, 2));
    assert_eq!(
        read(&mut conn, at(6_000), at(-1)).await,
        (1, 1),
        "what has not ended is always read"
    );
    assert_eq!(
        read(&mut conn, at(999), at(0)).await,
        (1, 1),
        "the event may have been dropped, unless a delivery is open"
    );
}

/// The clock of the process that made the attempt may be behind that of the process that created the delivery.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_dated_before_its_delivery_is_read() {
    let (store, _) = testing::database(date(2026, 11, 22)..=date(2026, 11, 25)).await;
    let mut conn = store.conn().await.unwrap();
    let webhook = webhook(&mut conn).await;
    let place = delivery(&mut conn, webhook, DeliveryStatus::Succeeded, 0, None).await;
    conn.batch_execute("update attempts set started_at = created_at - interval '10 s', ended_at = created_at - interval '9 s'")
        .await
        .unwrap();
    let found = find(&mut conn, &[place], &WebhookScope::Everything, &cutoffs())
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    let attempts = attempts::of(&mut conn, &[(place.key, place.created_at)])
        .await
        .unwrap();
    assert_eq!(attempts.len(), 1);
}

/// A delivery that a process has postponed (D13) is tried again at its new time. If a process holds it, `vis_at` is the
/// end of the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_postponed_delivery_shows_when_it_is_tried_again() {
    let (store, _) = testing::database(date(2026, 11, 22)..=date(2026, 11, 25)).await;
    let mut conn = store.conn().await.unwrap();
    let webhook = webhook(&mut conn).await;
    let mut places = Vec::new();
    for replay in [None, Some((1, 2))] {
        places.push(delivery(&mut conn, webhook, DeliveryStatus::Pending, 1, replay).await);
    }
    for (owner, seconds, shown) in [("null", 5, 5), ("null", 35, 35), ("17", 90, 0)] {
        conn.batch_execute(&format!(
            "update deliveries set owner = {owner}, vis_at = due_at + interval '{seconds} s'"
        ))
        .await
        .unwrap();
        let found = find(&mut conn, &places, &WebhookScope::Everything, &cutoffs())
            .await
            .unwrap();
        let waits: Vec<_> = found
            .iter()
            .map(|delivery| Some(delivery.next_attempt_at? - delivery.created_at))
            .collect();
        assert_eq!(waits.len(), 2);
        for wait in waits {
            assert_eq!(wait.unwrap().get_seconds(), shown, "held by {owner}");
        }
    }
}
