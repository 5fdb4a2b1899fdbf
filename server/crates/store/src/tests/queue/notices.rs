//! The queues of notices.

use super::*;
use crate::notice_queues::{self, Claimed, Settlement};
use crate::retention;
use tenterhook_model::ids::NoticeId;
use tenterhook_model::notice::{Notice, NoticeKind};

fn notice(webhook: WebhookId, kind: NoticeKind, second: i64) -> Notice {
    Notice {
        lane: lane(),
        id: NoticeId::ranked(later(second), 0),
        company: company(),
        webhook,
        kind,
        episode: 1,
        at: later(second),
        data: "{}".to_owned(),
    }
}

async fn write(conn: &mut Conn, notices: &[Notice], at: i64) -> bool {
    health::notify_in_tx(conn, notices, Some(later(at)))
        .await
        .unwrap()
}

/// Claims up to `most` notices at second `at`, for ten seconds.
async fn claim_some(conn: &mut Conn, at: i64, most: i64) -> Vec<Claimed> {
    let due = notice_queues::due(conn, later(at), most).await.unwrap();
    let claimed = notice_queues::claim(conn, &due, later(at), later(at + 10)).await;
    claimed.unwrap().good
}

async fn claim(conn: &mut Conn, at: i64) -> Vec<Claimed> {
    claim_some(conn, at, 10).await
}

fn settlement(claimed: &Claimed, again_at: Option<i64>) -> Settlement {
    Settlement {
        webhook: (claimed.webhook.lane, claimed.webhook.id),
        token: claimed.token,
        again_at: again_at.map(later),
    }
}

async fn settle(conn: &mut Conn, claimed: &Claimed, again_at: Option<i64>, at: i64) -> usize {
    notice_queues::settle(conn, &[settlement(claimed, again_at)], later(at))
        .await
        .unwrap()
}

/// R4: the oldest notice of each webhook is claimed, by one process at a time; the next one when it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_oldest_notice_of_a_queue_can_be_claimed() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let (one, other) = (webhook(conn, "").await, webhook(conn, "").await);
    let first = notice(one, NoticeKind::Banned, 0);
    let second = notice(one, NoticeKind::BanEnded, 1);
    let third = notice(one, NoticeKind::Failing24h, 2);
    let of_other = notice(other, NoticeKind::Banned, 0);
    assert!(write(conn, &[second.clone(), first.clone(), of_other.clone()], 2).await);
    assert!(
        !write(conn, std::slice::from_ref(&first), 3).await,
        "it is written already"
    );
    assert_eq!(notice_queues::waiting(conn).await.unwrap(), 3);
    assert_eq!(claim(conn, 1).await, [], "owed from then on");
    assert_eq!(
        notice_queues::next_due(conn, later(1)).await.unwrap(),
        Some(later(2))
    );

    let mut claimed = claim(conn, 2).await;
    claimed.sort_by_key(|claimed| claimed.webhook.id != one);
    let heads: Vec<_> = claimed.iter().map(|claimed| &claimed.notice).collect();
    assert_eq!(heads, [&first, &of_other]);
    assert_eq!((claimed[0].webhook.id, claimed[0].attempts), (one, 0));
    assert_eq!(claim(conn, 3).await, []);
    assert!(write(conn, std::slice::from_ref(&third), 3).await);
    assert_eq!(claim(conn, 4).await, [], "what is appended waits for its turn");

    assert_eq!(settle(conn, &claimed[0], Some(7), 5).await, 1);
    assert_eq!(settle(conn, &claimed[1], None, 5).await, 1);
    assert_eq!(
        notice_queues::next_due(conn, later(5)).await.unwrap(),
        Some(later(7))
    );
    assert_eq!(claim(conn, 6).await, []);
    let again = claim(conn, 7).await;
    assert_eq!((&again[0].notice, again[0].attempts), (&first, 1));
    assert_eq!(settle(conn, &again[0], None, 8).await, 1);
    let next = claim(conn, 8).await;
    assert_eq!((&next[0].notice, next[0].attempts), (&second, 0));
    settle(conn, &next[0], None, 9).await;
    let last = claim(conn, 9).await;
    assert_eq!(last[0].notice, third);
    settle(conn, &last[0], None, 9).await;
    assert_eq!(notice_queues::next_due(conn, later(9)).await.unwrap(), None);
    assert_eq!(notice_queues::waiting(conn).await.unwrap(), 0);
}

/// R4, D6: when a lease ends, the notice can be claimed again. Then the settlement of the first holder has no effect, and
/// that of the second takes effect once, even if it is written twice.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_current_lease_settles_a_notice_and_only_once() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let webhook = webhook(conn, "").await;
    let both = [
        notice(webhook, NoticeKind::Banned, 0),
        notice(webhook, NoticeKind::BanEnded, 1),
    ];
    write(conn, &both, 1).await;
    let late = claim(conn, 1).await;
    assert_eq!(claim(conn, 10).await, []);
    let held = claim(conn, 11).await;
    assert_eq!(held[0].notice, late[0].notice);
    assert_eq!(settle(conn, &late[0], None, 12).await, 0);
    assert_eq!(settle(conn, &held[0], None, 12).await, 1);
    assert_eq!(settle(conn, &held[0], None, 12).await, 0);
    assert_eq!(claim(conn, 12).await[0].notice, both[1]);
}

/// R4: a claim takes the requested number of queues.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_bounded() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    for second in 0..3 {
        let webhook = webhook(conn, "").await;
        write(conn, &[notice(webhook, NoticeKind::Banned, second)], second).await;
    }
    let first = claim_some(conn, 3, 2).await;
    let mut due: Vec<_> = first.iter().map(|claimed| claimed.notice.at).collect();
    due.sort();
    assert_eq!(due, [later(0), later(1)], "longest due first");
    assert_eq!(claim(conn, 3).await.len(), 1);
}

/// R4: without an endpoint nothing is queued.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_no_notice_is_queued() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let webhook = webhook(conn, "").await;
    let owes = health::notify_in_tx(conn, &[notice(webhook, NoticeKind::Banned, 0)], None).await;
    assert!(!owes.unwrap());
    assert_eq!(count(conn, "notices").await, 1);
    assert_eq!(count(conn, "notice_queues").await, 0);
}

/// R4, W12: a removed webhook is kept while the endpoint has not received a notice about it, if there is an endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_not_forgotten_before_its_notices_have_ended() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let removed = "webhooks set removed_at = '2026-11-20', remove_reason = 7 where id";
    for keep_owed in [true, false] {
        let webhook = webhook(conn, removed).await;
        write(conn, &[notice(webhook, NoticeKind::Removed, 0)], 0).await;
        retention::forget_webhooks(conn, now(), keep_owed).await.unwrap();
        assert_eq!(count(conn, "webhooks").await, i64::from(keep_owed));
        if keep_owed {
            let claimed = claim(conn, 0).await;
            settle(conn, &claimed[0], None, 1).await;
            retention::forget_webhooks(conn, now(), keep_owed).await.unwrap();
        }
        for table in ["webhooks", "webhook_health", "notices", "notice_queues"] {
            assert_eq!(count(conn, table).await, 0, "{table}");
        }
    }
}

/// R4: while the endpoint does not take its notices, a webhook's queue does not grow with every recovery. Everything else is
/// queued, and every notice is written.
#[tokio::test(flavor = "multi_thread")]
async fn recoveries_wait_behind_a_bounded_number_of_notices() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let webhook = webhook(conn, "").await;
    let recovery = |episode| Notice {
        episode,
        ..notice(webhook, NoticeKind::Recovered, i64::from(episode))
    };
    assert!(write(conn, &[recovery(1)], 1).await);
    let longer = "update notice_queues set notices = (select array_agg(gen_random_uuid()) from generate_series(1, 999))";
    diesel::sql_query(longer).execute(conn).await.unwrap();
    assert!(write(conn, &[recovery(2)], 2).await);
    assert!(!write(conn, &[recovery(3)], 3).await, "a thousand wait");
    assert_eq!(notice_queues::waiting(conn).await.unwrap(), 1_000);
    let both = [recovery(4), notice(webhook, NoticeKind::Banned, 4)];
    assert!(write(conn, &both, 4).await);
    assert_eq!(notice_queues::waiting(conn).await.unwrap(), 1_001);
    assert_eq!(count(conn, "notices").await, 5);
}

/// R4, D10: notices of recoveries are deleted with the history, but not while any notice of their webhook waits for the
/// endpoint. Others stay.
#[tokio::test(flavor = "multi_thread")]
async fn old_recoveries_are_forgotten_once_nothing_waits() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let webhook = webhook(conn, "").await;
    let recovery = |episode| Notice {
        episode,
        ..notice(webhook, NoticeKind::Recovered, i64::from(episode))
    };
    write(conn, &[recovery(1), notice(webhook, NoticeKind::Banned, 1)], 1).await;
    retention::forget_recoveries(conn, later(9)).await.unwrap();
    assert_eq!(count(conn, "notices").await, 2, "both wait");
    for _ in 0..2 {
        let claimed = claim(conn, 1).await;
        settle(conn, &claimed[0], None, 1).await;
    }
    health::notify_in_tx(conn, &[recovery(9), recovery(10)], None)
        .await
        .unwrap();
    retention::forget_recoveries(conn, later(9)).await.unwrap();
    assert_eq!(
        count(conn, "notices where kind = 7").await,
        1,
        "T2: one at that moment is forgotten"
    );
    assert_eq!(count(conn, "notices").await, 2);
}
