//! The queue's statements against a real database: publishing, claiming, settling, the feed and the partitions.

use diesel_async::{AsyncConnection, RunQueryDsl};
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use super::claim::{self, Unsent};
use super::publish::{self, Fate, Made, Publication, ROWS_PER_STATEMENT, Room};
use super::settle::{self, Settlement, Then};
use super::tallies::Tally;
use super::{Conn, Store, StoreError, changes, health, idempotency, nodes, partitions, tallies, testing};
use crate::config::policy::Catalog;
use crate::model::attempt::{Attempt, AttemptErrorClass, Outcome, Timings};
use crate::model::delivery::{DeliveryReason, DeliveryStatus};
use crate::model::event::{ChangeSource, Event};
use crate::model::ids::{CompanyId, EventId, EventIds, Lane, NodeId, UserId, WebhookId};
use crate::model::webhook::{EventAction, PayloadVersion};
use crate::policy::matching::{selector, wants};

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

fn event(action: EventAction, object: &str, permitted: Option<Vec<i64>>) -> Event {
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
        data: Some("{\"id\":8}".to_owned()),
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

/// A webhook of user 1 for everything, changed by `set`.
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

async fn publish(conn: &mut Conn, events: &[Event], room: i64) -> Vec<Made> {
    let catalog = Catalog::default();
    let publications: Vec<Publication<'_>> = events
        .iter()
        .map(|event| {
            let seen = selector(event, &catalog);
            Publication {
                event,
                seen_by_v1: seen.v1,
                seen_by_v2: seen.v2,
            }
        })
        .collect();
    let room = Room {
        node: ME,
        lease_until: later(90),
        total: room,
        per_webhook: room,
        full: &[],
    };
    conn.transaction(async |conn| publish::insert_in_tx(conn, &publications, now(), &room).await)
        .await
        .unwrap()
}

fn settlement(made: &Made, token: i64, then: Then) -> Settlement {
    let ending = match then {
        Then::End(status) => Some(status),
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
        then,
    }
}

async fn count(conn: &mut Conn, table: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let rows: Count = diesel::sql_query(format!("select count(*) as count from {table}"))
        .get_result(conn)
        .await
        .unwrap();
    rows.count
}

/// D7, of the whole database.
async fn assert_conserved(conn: &mut Conn) -> Tally {
    let tally = tallies::all(conn).await.unwrap();
    assert_eq!(
        tally.accepted,
        tally.succeeded + tally.failed + tally.lost + tally.cancelled + tally.open,
        "{tally:?}"
    );
    tally
}

/// W9, E2, E6: the join says exactly what the policy says, for every kind of subscription and event.
#[tokio::test(flavor = "multi_thread")]
async fn the_statement_matches_as_the_policy_does() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let mut webhooks = Vec::new();
    for version in PayloadVersion::ALL {
        for action in EventAction::ALL {
            for object in ["*", "deal", "lead", "activityType"] {
                for user in [1, 2] {
                    if *action == EventAction::Merge && *version == PayloadVersion::V2 {
                        continue;
                    }
                    let set = format!(
                        "webhooks set version = {}, action = {}, object = '{object}', user_id = {user} where id",
                        version.code(),
                        action.code()
                    );
                    let id = webhook(conn, &set).await;
                    webhooks.push((id, *action, object, *version, UserId::new(user).unwrap()));
                }
            }
        }
    }
    let catalog = Catalog::default();
    let published = [
        EventAction::Create,
        EventAction::Change,
        EventAction::Merge,
        EventAction::Delete,
    ];
    for action in published {
        for object in ["deal", "lead", "activityType"] {
            for permitted in [None, Some(vec![]), Some(vec![2]), Some(vec![1, 2, 3])] {
                let event = event(action, object, permitted);
                let mut got: Vec<WebhookId> = publish(conn, std::slice::from_ref(&event), 0)
                    .await
                    .iter()
                    .map(|made| made.key.webhook)
                    .collect();
                let mut expected: Vec<WebhookId> = webhooks
                    .iter()
                    .filter(|(_, action, object, version, user)| {
                        wants(*action, object, *version, *user, &event, &catalog)
                    })
                    .map(|(id, ..)| *id)
                    .collect();
                got.sort();
                expected.sort();
                assert_eq!(got, expected, "{event:?}");
            }
        }
    }
    assert_conserved(conn).await;
}

/// E3: a fan-out larger than one statement takes is complete, each delivery once.
#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_past_the_bound_of_one_statement_is_complete() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    for statement in [
        format!(
            "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret,
                                   created_at, updated_at)
             select {}, gen_random_uuid(), 7, 1, 1, 1, 'https://example.com/', 0, '*', 2, '', '2026-11-01', '2026-11-01'
             from generate_series(1, {})",
            lane().0,
            ROWS_PER_STATEMENT + 1
        ),
        "insert into webhook_health (lane, webhook) select lane, id from webhooks".to_owned(),
    ] {
        diesel::sql_query(statement).execute(conn).await.unwrap();
    }
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    assert_eq!(made.len() as i64, ROWS_PER_STATEMENT + 1);
    assert_eq!(made.iter().filter(|made| made.fate == Fate::Leased).count(), 10);
    assert_eq!(count(conn, "deliveries").await, ROWS_PER_STATEMENT + 1);
    assert_eq!(count(conn, "events").await, 1);
    assert_conserved(conn).await;
}

/// B4, W13, W12: what comes due for a banned or paused webhook is recorded as lost; a removed one gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_is_lost_for_the_banned_and_the_paused_and_nothing_to_the_removed() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let banned_until = |at: Timestamp| {
        format!(
            "webhook_health set ban_episode = 3, ban_started_at = '2026-11-23T11:30:00Z', banned_until = '{at}',
             ban_open = true where webhook"
        )
    };
    let active = webhook(conn, &banned_until(now())).await;
    let banned = webhook(conn, &banned_until(now() + SignedDuration::from_micros(1))).await;
    let paused = webhook(conn, "webhooks set paused_at = '2026-11-02' where id").await;
    webhook(
        conn,
        "webhooks set removed_at = '2026-11-02', remove_reason = 1 where id",
    )
    .await;
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    let fate = |id| {
        made.iter()
            .find(|made| made.key.webhook == id)
            .map(|made| made.fate)
    };
    assert_eq!(made.len(), 3);
    assert_eq!(
        fate(active),
        Some(Fate::Leased),
        "at the ban's very end the webhook is active again (B7, T2)"
    );
    assert_eq!((fate(banned), fate(paused)), (Some(Fate::Lost), Some(Fate::Lost)));
    assert_eq!(
        count(conn, "outcomes where reason = 2 and ban_episode = 3").await,
        1
    );
    assert_eq!(
        count(conn, "outcomes where reason = 3 and ban_episode is null").await,
        1
    );
    assert_eq!(assert_conserved(conn).await.lost, 2);
}

/// D6: only the holder of the lease moves anything, and only once.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_fenced_by_its_tokens_and_settles_once() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let (a, b) = (webhook(conn, "").await, webhook(conn, "").await);
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    let of = |id| made.iter().find(|made| made.key.webhook == id).unwrap();
    let batch = [
        settlement(of(a), 1, Then::End(DeliveryStatus::Succeeded)),
        settlement(of(b), 2, Then::End(DeliveryStatus::Failed)),
    ];
    let settled = settle::batch(conn, &batch, ME, false).await.unwrap();
    assert_eq!(settled.won, [0], "the second names a token that nobody was given");
    assert_eq!(
        (count(conn, "attempts").await, count(conn, "deliveries").await),
        (1, 1)
    );
    let again = settle::batch(conn, &batch, ME, false).await.unwrap();
    assert!(again.won.is_empty());
    let tally = assert_conserved(conn).await;
    assert_eq!(
        (tally.accepted, tally.succeeded, tally.failed, tally.open),
        (2, 1, 0, 1)
    );
}

/// D4: a retry is anybody's when it is due, with the next number; a release changes neither number nor due time.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_moves_on_and_a_release_does_not() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    settle::batch(conn, &[settlement(&made[0], 1, Then::Retry(later(4)))], ME, false)
        .await
        .unwrap();
    assert!(
        claim::claim(conn, lane(), &[(id, 8)], later(3), OTHER, later(99))
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(4), OTHER, later(99))
        .await
        .unwrap();
    let (leased, event) = &claimed[0];
    assert_eq!(
        (leased.attempt, leased.due_at, leased.lease.token),
        (2, later(4), 3)
    );
    assert_eq!(event.data.as_deref(), Some("{\"id\":8}"));
    let release = Settlement {
        attempt: None,
        ..settlement(&made[0], 3, Then::Release(later(50)))
    };
    assert_eq!(
        settle::batch(conn, &[release], OTHER, false).await.unwrap().won,
        [0]
    );
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(50), ME, later(140))
        .await
        .unwrap();
    assert_eq!((claimed[0].0.attempt, claimed[0].0.due_at), (2, later(4)));
}

/// D6: two claimers never hold the same delivery, and neither waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_claimers_share_what_is_due() {
    let store = store().await;
    let id = webhook(&mut store.conn().await.unwrap(), "").await;
    let events: Vec<Event> = (0..20)
        .map(|_| event(EventAction::Create, "deal", None))
        .collect();
    publish(&mut store.conn().await.unwrap(), &events, 0).await;
    let mut first = store.conn().await.unwrap();
    let second = &mut *store.conn().await.unwrap();
    first
        .transaction(async |conn| {
            let mine = claim::claim(conn, lane(), &[(id, 12)], later(1), ME, later(91)).await?;
            let theirs = claim::claim(second, lane(), &[(id, 12)], later(1), OTHER, later(91)).await?;
            assert_eq!((mine.len(), theirs.len()), (12, 8));
            let held = |claimed: &[(crate::model::delivery::Leased, Event)]| -> Vec<EventId> {
                claimed.iter().map(|(leased, _)| leased.key.event).collect()
            };
            assert!(held(&mine).iter().all(|event| !held(&theirs).contains(event)));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

/// D8: whatever one webhook's backlog, each webhook with open deliveries is found, with its earliest.
#[tokio::test(flavor = "multi_thread")]
async fn discovery_finds_every_webhook_once() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let mut ids = [
        webhook(conn, "").await,
        webhook(conn, "").await,
        webhook(conn, "").await,
    ];
    ids.sort();
    let events: Vec<Event> = (0..50)
        .map(|_| event(EventAction::Create, "deal", None))
        .collect();
    publish(conn, &events, 0).await;
    let found = claim::discover(conn).await.unwrap();
    assert_eq!(found, ids.map(|id| (lane(), id, now())));
    assert_eq!(
        claim::next_visible(conn, &[(lane(), ids[0])]).await.unwrap(),
        [(ids[0], now())]
    );
}

/// W8, R3: of a removed webhook everything ends that nobody holds, due or not.
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_takes_what_is_due_later_but_not_what_is_held() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let events: Vec<Event> = (0..3).map(|_| event(EventAction::Create, "deal", None)).collect();
    let made = publish(conn, &events, 2).await;
    settle::batch(
        conn,
        &[settlement(&made[0], 1, Then::Retry(later(150)))],
        ME,
        false,
    )
    .await
    .unwrap();
    let cancel = Unsent {
        status: DeliveryStatus::Cancelled,
        reason: DeliveryReason::WebhookRemoved,
        ban_episode: None,
    };
    assert_eq!(
        claim::drop_unsent(conn, (lane(), id), cancel, later(1), ME, 10)
            .await
            .unwrap(),
        2
    );
    let tally = assert_conserved(conn).await;
    assert_eq!((tally.cancelled, tally.open), (2, 1));
}

/// D6: an extension keeps what is held and says what is lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_extension_says_what_is_still_held() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let events: Vec<Event> = (0..2).map(|_| event(EventAction::Create, "deal", None)).collect();
    let made = publish(conn, &events, 2).await;
    let held = [(made[0].key, 1), (made[1].key, 9)];
    assert_eq!(claim::extend(conn, &held, later(200)).await.unwrap(), [0]);
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(150), OTHER, later(250))
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1, "the one that was not extended has run out");
    assert_eq!(claim::release_of(conn, &[OTHER], later(151)).await.unwrap(), 1);
}

/// E1: a key is taken once, read by whoever comes second, and free again when it has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_its_first_event_until_it_expires() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let claim = |event: &Event, hash: u8| idempotency::Claim {
        company: company(),
        key: "k".to_owned(),
        event: event.id,
        request_hash: vec![hash],
    };
    let (first, second) = (
        event(EventAction::Create, "deal", None),
        event(EventAction::Create, "deal", None),
    );
    let taken = idempotency::claim_in_tx(conn, &[claim(&first, 1)], now(), later(60))
        .await
        .unwrap();
    assert!(taken.is_empty());
    idempotency::count_in_tx(conn, &[(company(), "k".to_owned(), 5)])
        .await
        .unwrap();
    let taken = idempotency::claim_in_tx(conn, &[claim(&second, 2)], later(59), later(119))
        .await
        .unwrap();
    let taken = &taken[&(company(), "k".to_owned())];
    assert_eq!(
        (taken.event, taken.request_hash.as_slice(), taken.deliveries),
        (first.id, [1].as_slice(), 5)
    );
    let taken = idempotency::claim_in_tx(conn, &[claim(&second, 2)], later(60), later(120))
        .await
        .unwrap();
    assert!(taken.is_empty(), "at its very end a key is free (T2)");
}

/// A reader that goes by sequence would miss the row of a transaction that commits after a later one.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_misses_no_transaction_however_late_it_commits() {
    let store = store().await;
    let reader = &mut *store.conn().await.unwrap();
    let mut slow = store.conn().await.unwrap();
    let quick = &mut *store.conn().await.unwrap();
    let (late, early) = (WebhookId::new(now()), WebhookId::new(now()));
    let start = changes::present(reader).await.unwrap();
    let (mark, seen_meanwhile) = slow
        .transaction(async |conn| {
            let mark = changes::announce_in_tx(conn, now(), &[(lane(), late)])
                .await?
                .unwrap();
            changes::announce_in_tx(quick, now(), &[(lane(), early)]).await?;
            let (snapshot, rows) = changes::read(reader, start.oldest_running()).await?;
            assert_eq!(
                rows.iter().map(|row| row.webhook).collect::<Vec<_>>(),
                [Some((lane(), early))]
            );
            Ok::<_, StoreError>((mark, snapshot))
        })
        .await
        .unwrap();
    assert!(!seen_meanwhile.shows(&mark));
    let (snapshot, rows) = changes::read(reader, seen_meanwhile.oldest_running())
        .await
        .unwrap();
    assert!(rows.iter().any(|row| row.webhook == Some((lane(), late))));
    assert!(snapshot.shows(&mark));
}

/// W8: a process that has not read the feed past a change is waited for; one that is dead is not.
#[tokio::test(flavor = "multi_thread")]
async fn only_live_processes_that_do_not_know_are_waited_for() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let me = nodes::register(conn, now()).await.unwrap();
    let other = nodes::register(conn, now()).await.unwrap();
    let before = changes::present(conn).await.unwrap();
    let mark = changes::announce_in_tx(conn, now(), &[(lane(), WebhookId::new(now()))])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        nodes::unaware(conn, me, 15.0, &mark).await.unwrap(),
        1,
        "it has read nothing yet"
    );
    assert!(
        nodes::beat(conn, other, Some(before.text()), now())
            .await
            .unwrap()
    );
    assert_eq!(
        nodes::unaware(conn, me, 15.0, &mark).await.unwrap(),
        1,
        "it has read, but not this"
    );
    let after = changes::present(conn).await.unwrap();
    assert!(
        nodes::beat(conn, other, Some(after.text()), later(1))
            .await
            .unwrap()
    );
    assert_eq!(nodes::unaware(conn, me, 15.0, &mark).await.unwrap(), 0);
    assert_eq!(nodes::behind(conn, me, 15.0, later(1)).await.unwrap(), 0);
    assert_eq!(nodes::behind(conn, me, 15.0, later(2)).await.unwrap(), 1);
    assert_eq!(nodes::bury_in_tx(conn, me, 0.0).await.unwrap(), [other]);
    assert_eq!(nodes::behind(conn, me, 15.0, later(2)).await.unwrap(), 0);
    assert!(
        !nodes::beat(conn, other, None, later(3)).await.unwrap(),
        "it is told that it was declared dead"
    );
}

/// R4: one notice per transition and episode, however often it is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_written_once() {
    use crate::model::notice::{Notice, NoticeKind};
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let notice = || Notice {
        lane: lane(),
        id: crate::model::ids::NoticeId::new(now()),
        company: company(),
        webhook: id,
        kind: NoticeKind::Banned,
        episode: 1,
        at: now(),
        data: "{}".to_owned(),
    };
    health::notify_in_tx(conn, &[notice()]).await.unwrap();
    health::notify_in_tx(
        conn,
        &[
            notice(),
            Notice {
                episode: 2,
                ..notice()
            },
        ],
    )
    .await
    .unwrap();
    assert_eq!(count(conn, "notices").await, 2);
}

/// D10: old days are dropped whole, but not the events that an open delivery still needs.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_dropped_unless_needed() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    webhook(conn, "").await;
    assert_eq!(
        partitions::ensure(conn, DAY, date(2026, 11, 25)).await.unwrap(),
        6
    );
    assert_eq!(
        partitions::ensure(conn, DAY, date(2026, 11, 25)).await.unwrap(),
        0
    );
    assert!(
        partitions::missing(conn, date(2026, 11, 25))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        partitions::missing(conn, date(2026, 11, 26)).await.unwrap().len(),
        3
    );
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    let dropped = partitions::drop_before(conn, date(2026, 11, 25)).await.unwrap();
    assert!(!dropped.contains(&"events_20261123".to_owned()), "{dropped:?}");
    assert_eq!(dropped.len(), 5);
    let cancel = Settlement {
        attempt: None,
        ..settlement(
            &made[0],
            1,
            Then::Drop {
                status: DeliveryStatus::Cancelled,
                reason: DeliveryReason::WebhookRemoved,
                ban_episode: None,
                at: "2026-11-25T00:00:00Z".parse().unwrap(),
            },
        )
    };
    settle::batch(conn, &[cancel], ME, false).await.unwrap();
    assert_eq!(
        partitions::drop_before(conn, date(2026, 11, 25)).await.unwrap(),
        ["events_20261123"]
    );
}

/// D7: folding changes no sum.
#[tokio::test(flavor = "multi_thread")]
async fn folding_keeps_the_sums() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    webhook(conn, "").await;
    for _ in 0..5 {
        publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    }
    let before = assert_conserved(conn).await;
    assert_eq!(count(conn, "tallies").await, 5);
    tallies::fold(conn).await.unwrap();
    assert_eq!(count(conn, "tallies").await, 1);
    assert_eq!(assert_conserved(conn).await, before);
    assert_eq!(tallies::of(conn, ME).await.unwrap(), Tally { open: 0, ..before });
}
