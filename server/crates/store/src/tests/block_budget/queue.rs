//! Claims, deliveries that end unsent, and transitions by time.

use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use rstest::rstest;

use super::fixture::{Crowd, DUE, OTHERS, assert_at_most, company, days_read, lane, later, now};
use crate::queue::claim::{self, Unsent};
use crate::queue::settle::{self, Action, Settlement};
use crate::tests::queue::{event, publish_at_once};
use crate::webhooks::removal::{self, Leaving, Pace};
use crate::{Conn, health, notice_queues, retention};
use tenterhook_model::delivery::{DeliveryReason, DeliveryStatus};
use tenterhook_model::event::Event;
use tenterhook_model::ids::{DeliveryKey, EventId, NodeId, UserId};
use tenterhook_model::webhook::EventAction;

const ME: NodeId = NodeId(1);

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_touches_only_due_deliveries(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await;
    let room: Vec<_> = crowd.webhooks.iter().take(16).map(|id| (*id, 32)).collect();
    let claim = async |conn: &mut Conn| {
        claim::claim(conn, lane(), &room, now(), ME, later(1), 1 << 20)
            .await
            .unwrap()
    };
    let (claimed, touched) = crowd.touched(claim).await;
    assert_eq!(claimed.good.len(), DUE);
    assert_at_most(250, &touched, "a claim");
    assert!(days_read(&touched, "events").len() <= 1, "{touched:#?}");
    let keys = crowd.keys();
    let next = async |conn: &mut Conn| claim::next_visible(conn, &keys).await.unwrap();
    let (next, touched) = crowd.touched(next).await;
    assert_eq!(next.len(), keys.len());
    assert_at_most(200, &touched, "the next due times");
    let discover = async |conn: &mut Conn| claim::discover(conn, 1_000).await.unwrap();
    let (found, touched) = crowd.touched(discover).await;
    assert_eq!(found.len(), keys.len());
    assert_at_most(450, &touched, "a search over all lanes");
}

#[derive(QueryableByName)]
struct Plans {
    #[diesel(sql_type = BigInt)]
    custom: i64,
    #[diesel(sql_type = BigInt)]
    generic: i64,
}

/// Planning looks at every stored day of events: with a month of them it takes nearly as long as the claim.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_uses_one_plan_after_five_runs(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await;
    let room = [(crowd.webhooks[0], 32)];
    let mut conn = crowd.conn().await;
    for _ in 0..12 {
        let claimed = claim::claim(&mut conn, lane(), &room, now(), ME, later(1), 1 << 20).await;
        claimed.unwrap();
    }
    let plans: Vec<Plans> = sql_query(
        "select custom_plans as custom, generic_plans as generic from pg_prepared_statements
         where statement like 'with picked as%'",
    )
    .load(&mut *conn)
    .await
    .unwrap();
    let counts: Vec<_> = plans.iter().map(|plans| (plans.custom, plans.generic)).collect();
    assert_eq!(counts, [(5, 7)]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn ending_unsent_deliveries_touches_only_those(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await;
    let webhook = crowd.keys()[0];
    let lost = Unsent {
        status: DeliveryStatus::Lost,
        reason: DeliveryReason::Banned,
        ban_episode: Some(1),
        at: now(),
    };
    let cancelled = Unsent {
        status: DeliveryStatus::Cancelled,
        reason: DeliveryReason::WebhookRemoved,
        ban_episode: None,
        at: now(),
    };
    // Without statistics the planner expects almost no deliveries of a webhook, and reads all of them. That ends with
    // the first analysis of the queue, after its first thousands of rows.
    let blocks = if analyzed { 100 } else { 700 };
    for (unsent, most, ended) in [(lost, 1_000, DUE), (cancelled, 5, 5)] {
        let end = async |conn: &mut Conn| {
            claim::drop_unsent(conn, webhook, unsent, now(), ME, most)
                .await
                .unwrap()
        };
        let (count, touched) = crowd.touched(end).await;
        assert_eq!(count, ended);
        assert_at_most(blocks, &touched, &format!("{unsent:?}"));
    }
}

/// What the planner knows about webhooks that were created after the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Everything,
    /// That nearly all webhooks are removed.
    WhatWasSo,
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_touches_its_companys_webhooks(
    #[values(Known::Nothing, Known::Everything, Known::WhatWasSo)] known: Known,
) {
    let crowd = Crowd::with_neighbours(known == Known::Everything).await;
    if known == Known::WhatWasSo {
        let mislead = "update webhooks set removed_at = created_at, remove_reason = 1; analyze webhooks, webhook_health;
                       update webhooks set removed_at = null, remove_reason = null";
        crowd.conn().await.batch_execute(mislead).await.unwrap();
    }
    let publish = async |conn: &mut Conn| {
        let event = Event {
            lane: lane(),
            company: company(),
            ..event(EventAction::Create, "deal", None)
        };
        publish_at_once(conn, &[event], 1_000).await.unwrap()
    };
    let (made, touched) = crowd.touched(publish).await;
    assert_eq!(made.len(), OTHERS + 1);
    assert_at_most(600, &touched, "a publication");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_touches_only_the_removed_webhooks(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::with_neighbours(analyzed).await.of_callers();
    let keys = crowd.keys();
    let lock = async |conn: &mut Conn| {
        conn.transaction(async |conn| health::lock_in_tx(conn, &keys).await)
            .await
            .unwrap()
    };
    let (locked, touched) = crowd.touched(lock).await;
    assert_eq!(locked.len(), OTHERS + 1);
    assert_at_most(500, &touched, "a lock");
    let nobody = Leaving::User(company(), UserId::new(8).unwrap());
    let leave = async |conn: &mut Conn| {
        conn.transaction(async |conn| removal::batch_in_tx(conn, now(), &nobody, Pace::Together).await)
            .await
            .unwrap()
    };
    let (removed, touched) = crowd.touched(leave).await;
    assert_eq!(removed.webhooks, 0);
    assert_at_most(100, &touched, "a removal of nothing");
}

/// Without statistics the planner uses the key too, because the index over due times cannot be used here.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_touches_its_deliveries(#[values(false, true)] analyzed: bool) {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        event: uuid::Uuid,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        token: i64,
    }
    let crowd = Crowd::new(analyzed).await;
    let (lane, webhook) = crowd.keys()[0];
    let rows: Vec<Row> = diesel::sql_query(format!(
        "select event, token from deliveries where lane = {} and webhook = '{webhook}' and generation = 0 limit 20",
        lane.0
    ))
    .load(&mut *crowd.conn().await)
    .await
    .unwrap();
    let settlement = |(index, row): (usize, &Row)| Settlement {
        key: DeliveryKey {
            lane,
            webhook,
            event: EventId(row.event),
            generation: 0,
        },
        company: company(),
        created_at: now(),
        token: row.token,
        attempt: None,
        action: match index % 2 {
            0 => Action::Release(later(1)),
            _ => Action::Finish(DeliveryStatus::Succeeded),
        },
    };
    let batch: Vec<Settlement> = rows.iter().enumerate().map(settlement).collect();
    let settle = async |conn: &mut Conn| settle::batch(conn, &batch, ME, false).await.unwrap();
    let (settled, touched) = crowd.touched(settle).await;
    assert_eq!(settled.won.len(), 20);
    assert_at_most(250, &touched, "a settlement");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_touches_only_due_webhooks(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await;
    let due = async |conn: &mut Conn| {
        let due = health::due(conn, now(), 200).await.unwrap();
        (due, health::next_due(conn, now()).await.unwrap())
    };
    let ((due, next), touched) = crowd.touched(due).await;
    assert_eq!((due.len(), next), (0, Some(later(24))));
    assert_at_most(12, &touched, "a search for due transitions");
    let windows: Vec<_> = crowd
        .keys()
        .iter()
        .map(|(lane, id)| (*lane, *id, later(-72), now()))
        .collect();
    let look = async |conn: &mut Conn| health::last_successes(conn, &windows).await.unwrap();
    let (found, touched) = crowd.touched(look).await;
    assert_eq!(found.len(), OTHERS + 1);
    assert_at_most(300, &touched, "the last successes");
    assert!(
        days_read(&touched, "attempts")
            .iter()
            .all(|day| day.as_str() >= "20261120"),
        "{touched:#?}"
    );
    let claim = async |conn: &mut Conn| {
        let due = notice_queues::due(conn, now(), 100).await.unwrap();
        (due, notice_queues::next_due(conn, now()).await.unwrap())
    };
    let ((due, next), touched) = crowd.touched(claim).await;
    assert_eq!((due.len(), next), (0, Some(later(1))));
    assert_at_most(25, &touched, "notices that are due");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn retention_touches_only_expired_rows(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await;
    let keys = async |conn: &mut Conn| retention::forget_keys(conn, now()).await.unwrap();
    assert_at_most(12, &crowd.touched(keys).await.1, "expired keys");
    let webhooks = async |conn: &mut Conn| retention::forget_webhooks(conn, now(), true).await.unwrap();
    assert_at_most(20, &crowd.touched(webhooks).await.1, "webhooks that were removed");
}
