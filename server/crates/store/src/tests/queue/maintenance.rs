//! Partitions and tallies.

use super::*;
use crate::retention;
use crate::webhooks::creation_keys::{self, Asked, CreationKey, Remembered};
use tenterhook_model::access::{UserCaller, UserRole};

/// D10: old days are dropped completely, but not events that an open delivery or the kept history still needs. Events are
/// kept one day longer than attempts.
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
    let dropped = partitions::drop_before(conn, date(2026, 11, 25))
        .await
        .unwrap()
        .good;
    assert_eq!(
        dropped,
        [
            "attempts_20261123",
            "attempts_20261124",
            "outcomes_20261123",
            "outcomes_20261124"
        ]
    );
    let cancel = Settlement {
        attempt: None,
        ..settlement(
            &made[0],
            1,
            Action::Discard {
                status: DeliveryStatus::Cancelled,
                reason: DeliveryReason::WebhookRemoved,
                ban_episode: None,
                at: "2026-11-25T00:00:00Z".parse().unwrap(),
            },
        )
    };
    settle::batch(conn, &[cancel], ME, false).await.unwrap();
    for (keep_from, dropped) in [
        (date(2026, 11, 25), vec![]),
        (
            date(2026, 11, 26),
            vec![
                "attempts_20261125",
                "events_20261123",
                "events_20261124",
                "outcomes_20261125",
            ],
        ),
        (date(2026, 11, 27), vec!["events_20261125"]),
    ] {
        let old = partitions::drop_before(conn, keep_from).await.unwrap();
        assert_eq!(old.good, dropped, "{keep_from}");
    }
}

/// D10: what refers to an event keeps the events of its day while it is kept itself: a replay, whenever it ended, and any
/// attempt that ended more than a day after its delivery was created.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_for_late_attempts_and_replays() {
    for (generation, created_at, ended_at, keeps) in [
        (0, "2026-11-23T12:00:00Z", "2026-11-23T12:00:05Z", false),
        (0, "2026-11-23T12:00:00Z", "2026-11-27T12:00:05Z", true),
        (1, "2026-11-27T12:00:00Z", "2026-11-27T12:00:05Z", true),
        (1, "2026-11-24T12:00:00Z", "2026-11-24T12:00:05Z", false),
    ] {
        for table in ["attempts", "outcomes"] {
            let store = store().await;
            let conn = &mut *store.conn().await.unwrap();
            let webhook = webhook(conn, "").await;
            partitions::ensure(conn, DAY, date(2026, 11, 28)).await.unwrap();
            let event = event(EventAction::Create, "deal", None);
            publish(conn, std::slice::from_ref(&event), 10).await;
            diesel::sql_query("delete from deliveries")
                .execute(conn)
                .await
                .unwrap();
            let (lane, id) = (lane().0, event.id);
            let common = format!("{lane}, '{webhook}', '{id}', {generation}, 7, '{created_at}'");
            let insert = match table {
                "attempts" => format!(
                    "insert into attempts (lane, webhook, event, generation, company, created_at, number, started_at,
                                           ended_at, duration_us, url, auth_sent, status, response_headers,
                                           response_truncated, ending)
                     values ({common}, 1, '{created_at}', '{ended_at}', 1, '', false, 200, '[]', false, 1)"
                ),
                _ => format!(
                    "insert into outcomes (lane, webhook, event, generation, company, created_at, at, status, reason)
                     values ({common}, '{ended_at}', 4, 4)"
                ),
            };
            diesel::sql_query(insert).execute(conn).await.unwrap();
            let kept = async |conn: &mut Conn, day| {
                partitions::drop_before(conn, day).await.unwrap();
                let key = [(self::lane(), id)];
                let since = partitions::start_of(day) - SignedDuration::from_millis(1);
                let referred = events::referred(conn, &key, since).await.unwrap();
                (events::find(conn, &key).await.unwrap().len(), referred.len())
            };
            let name = format!("{table} {generation} {ended_at}");
            let still = usize::from(keeps);
            assert_eq!(kept(conn, date(2026, 11, 27)).await, (still, still), "{name}");
            assert_eq!(kept(conn, date(2026, 11, 28)).await, (0, 0), "{name}");
        }
    }
}

/// A partition that cannot be dropped, here because a view reads it, does not block the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_dropped_blocks_no_other() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    partitions::ensure(conn, DAY, date(2026, 11, 25)).await.unwrap();
    diesel::sql_query("create view seen as select * from attempts_20261123")
        .execute(conn)
        .await
        .unwrap();
    let dropped = partitions::drop_before(conn, date(2026, 11, 25)).await.unwrap();
    let bad: Vec<&str> = dropped.bad.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((dropped.good.len(), bad), (4, vec!["attempts_20261123"]));
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
    delivery_counters::fold(conn).await.unwrap();
    assert_eq!(count(conn, "tallies").await, 1);
    assert_eq!(assert_conserved(conn).await, before);
    assert_eq!(
        delivery_counters::of(conn, ME).await.unwrap(),
        Tally { open: 0, ..before }
    );
}

/// A dump that is restored into another cluster brings rows of the feed whose transactions are in the new cluster's future.
/// They are deleted, and rows that this cluster's processes still need stay.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_feed_from_another_cluster_are_pruned() {
    use crate::{changes, nodes};
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let node = nodes::register(conn, now()).await.unwrap();
    let snapshot = changes::present(conn).await.unwrap();
    assert!(
        nodes::beat(conn, node, Some(snapshot.text()), now())
            .await
            .unwrap()
    );
    let restored = "insert into changes (xid, at, lane, webhook)
                    select (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1000000)::text::xid8,
                           '2026-11-23', 0, gen_random_uuid() from generate_series(1, 3)";
    diesel::sql_query(restored).execute(conn).await.unwrap();
    let mark = changes::ask(conn, now()).await.unwrap();
    let (_, rows) = changes::read(conn, snapshot.oldest_running()).await.unwrap();
    assert_eq!(rows.len(), 4);
    changes::prune(conn).await.unwrap();
    let (seen, rows) = changes::read(conn, snapshot.oldest_running()).await.unwrap();
    assert_eq!(rows.len(), 1, "the process has not read it yet");
    assert!(seen.shows(&mark));
}

/// The key of a creation refers to its webhook until it expires, and is deleted with other expired keys.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_creations_are_forgotten_with_the_others() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let chooser = |app: Option<&str>| UserCaller {
        company: company(),
        user: UserId::new(1).unwrap(),
        role: UserRole::Regular,
        app: app.map(|app| app.parse().unwrap()),
        may_read: true,
        may_write: true,
        has_admin_scope: false,
    };
    let asked = Asked {
        request_hash: vec![1],
        password_print: Some(vec![2]),
    };
    let key = |app, expires_at| CreationKey::new(&chooser(app), "k".to_owned(), asked.clone(), expires_at);
    let (first, second) = (WebhookId::new(now()), WebhookId::new(now()));
    let (own, of_app) = (key(None, later(60)), key(Some("crm"), later(90)));
    for key in [&own, &of_app] {
        let taken = creation_keys::claim_in_tx(conn, key, first, now()).await.unwrap();
        assert_eq!(taken, None);
    }
    let taken = creation_keys::claim_in_tx(conn, &own, second, later(59))
        .await
        .unwrap();
    let remembered = Remembered {
        asked: asked.clone(),
        webhook: (lane(), first),
    };
    assert_eq!(taken, Some(remembered));
    assert_eq!(creation_keys::find(conn, &own, later(60)).await.unwrap(), None);

    retention::forget_keys(conn, later(59)).await.unwrap();
    assert_eq!(count(conn, "creations").await, 2);
    retention::forget_keys(conn, later(60)).await.unwrap();
    assert_eq!(count(conn, "creations").await, 1);
    let taken = creation_keys::claim_in_tx(conn, &of_app, second, later(90))
        .await
        .unwrap();
    assert_eq!(taken, None, "at its very end a key is free (T2)");
}
