//! What processes report to each other, and notices to people.

use super::*;
use crate::webhooks;
use tenterhook_model::health::Standing;

/// A reader that follows the sequence would miss the row of a transaction that commits after a later one.
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

/// W8: the server waits for a live process that has not read the feed past a change, but not for a dead one.
#[tokio::test(flavor = "multi_thread")]
async fn propagation_waits_only_for_live_processes_that_are_behind() {
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
    assert_eq!(nodes::evict_dead_in_tx(conn, me, 0.0).await.unwrap(), [other]);
    assert_eq!(nodes::behind(conn, me, 15.0, later(2)).await.unwrap(), 0);
    assert!(
        !nodes::beat(conn, other, None, later(3)).await.unwrap(),
        "it is told that it was declared dead"
    );
}

/// D6: a process is dead once its last heartbeat is as old as the lapse. The database's clock continues during the test, so
/// the younger heartbeat is younger by a hundred seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_dead_at_the_lapse_and_not_before() {
    const LAPSE: f64 = 1_000_000.0;
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let me = nodes::register(conn, now()).await.unwrap();
    let other = nodes::register(conn, now()).await.unwrap();
    for (age, is_dead) in [(999_900, false), (1_000_000, true)] {
        let silent = format!(
            "update nodes set heartbeat_at = clock_timestamp() - interval '{age} seconds' where id = {}",
            other.0
        );
        diesel::sql_query(silent).execute(conn).await.unwrap();
        let alive = nodes::others(conn, me, LAPSE).await.unwrap();
        assert_eq!(alive.is_empty(), is_dead, "{age} s");
        let evicted = nodes::evict_dead_in_tx(conn, me, LAPSE).await.unwrap();
        assert_eq!(evicted == [other], is_dead, "{age} s");
    }
}

/// R4: one notice per transition and episode, however often it is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_written_once() {
    use tenterhook_model::notice::{Notice, NoticeKind};
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let notice = || Notice {
        lane: lane(),
        id: tenterhook_model::ids::NoticeId::new(now()),
        company: company(),
        webhook: id,
        kind: NoticeKind::Banned,
        episode: 1,
        at: now(),
        data: "{}".to_owned(),
    };
    health::notify_in_tx(conn, &[notice()], None).await.unwrap();
    health::notify_in_tx(
        conn,
        &[
            notice(),
            Notice {
                episode: 2,
                ..notice()
            },
        ],
        None,
    )
    .await
    .unwrap();
    assert_eq!(count(conn, "notices").await, 2);
}

/// W13: a result that waited for the row while its webhook was paused must not open a window during the pause.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_judged_by_the_webhook_after_the_wait_for_its_row() {
    let store = store().await;
    let watch = &mut *store.conn().await.unwrap();
    let webhook = (lane(), webhook(watch, "").await);
    let (mut pausing, mut settling) = (store.conn().await.unwrap(), store.conn().await.unwrap());
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let pause = async {
        let paused = pausing.transaction(async |conn| {
            health::lock_in_tx(conn, &[webhook]).await?;
            let (mut row, _) = webhooks::lock_in_tx(conn, webhook.0, webhook.1).await?.unwrap();
            row.paused_at = Some(now());
            webhooks::write_standing_in_tx(conn, &row).await?;
            locked.send(()).unwrap();
            while count(watch, WAITING).await == 0 {}
            Ok::<_, StoreError>(())
        });
        paused.await.unwrap();
    };
    let settle = async {
        is_locked.await.unwrap();
        let rows = settling.transaction(async |conn| health::lock_in_tx(conn, &[webhook]).await);
        rows.await.unwrap()
    };
    let ((), rows) = tokio::join!(pause, settle);
    assert_eq!(rows[0].health.standing, Standing::Paused);
}
