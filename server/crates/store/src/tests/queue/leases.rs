//! Who holds a delivery, and what happens to it.

use super::*;
use crate::queue::leases;

/// Payloads of any size.
const ANY: usize = usize::MAX;

/// D6: only the holder of the lease changes anything, and only once.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_fenced_by_its_tokens_and_settles_once() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let (a, b) = (webhook(conn, "").await, webhook(conn, "").await);
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    let of = |id| made.iter().find(|made| made.key.webhook == id).unwrap();
    let batch = [
        settlement(of(a), 1, Action::Finish(DeliveryStatus::Succeeded)),
        settlement(of(b), 2, Action::Finish(DeliveryStatus::Failed)),
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

/// D4: a retry can be claimed by any process when it is due, with the next number; a release changes neither number nor due
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_advances_the_delivery_and_a_release_does_not() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let made = publish(conn, &[event(EventAction::Create, "deal", None)], 10).await;
    settle::batch(
        conn,
        &[settlement(&made[0], 1, Action::Retry(later(4)))],
        ME,
        false,
    )
    .await
    .unwrap();
    assert!(
        claim::claim(conn, lane(), &[(id, 8)], later(3), OTHER, later(99), ANY)
            .await
            .unwrap()
            .good
            .is_empty()
    );
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(4), OTHER, later(99), ANY)
        .await
        .unwrap()
        .good;
    let (leased, event) = &claimed[0];
    assert_eq!(
        (leased.attempt, leased.due_at, leased.lease.token),
        (2, later(4), 3)
    );
    assert_eq!(event.data.as_deref(), Some("{\"id\":8}"));
    let release = Settlement {
        attempt: None,
        ..settlement(&made[0], 3, Action::Release(later(50)))
    };
    assert_eq!(
        settle::batch(conn, &[release], OTHER, false).await.unwrap().won,
        [0]
    );
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(50), ME, later(140), ANY)
        .await
        .unwrap()
        .good;
    assert_eq!((claimed[0].0.attempt, claimed[0].0.due_at), (2, later(4)));
}

/// D6: two claimers never hold the same delivery, and neither waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_claimers_share_the_due_deliveries() {
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
            let mine = claim::claim(conn, lane(), &[(id, 12)], later(1), ME, later(91), ANY).await?;
            let theirs = claim::claim(second, lane(), &[(id, 12)], later(1), OTHER, later(91), ANY).await?;
            let (mine, theirs) = (mine.good, theirs.good);
            assert_eq!((mine.len(), theirs.len()), (12, 8));
            let held = |claimed: &[(tenterhook_model::delivery::Leased, Event)]| -> Vec<EventId> {
                claimed.iter().map(|(leased, _)| leased.key.event).collect()
            };
            assert!(held(&mine).iter().all(|event| !held(&theirs).contains(event)));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

/// D8: each webhook with open deliveries is found with its earliest one, however large the backlog of another is.
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
    let found = claim::discover(conn, 10).await.unwrap();
    assert_eq!(found, ids.map(|id| (lane(), id, now())));
    assert_eq!(
        claim::next_visible(conn, &[(lane(), ids[0])]).await.unwrap(),
        [(ids[0], now())]
    );
}

/// W8, R3: all deliveries of a removed webhook without an owner end, due or not.
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_later_deliveries_but_not_leased_ones() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let events: Vec<Event> = (0..3).map(|_| event(EventAction::Create, "deal", None)).collect();
    let made = publish(conn, &events, 2).await;
    settle::batch(
        conn,
        &[settlement(&made[0], 1, Action::Retry(later(150)))],
        ME,
        false,
    )
    .await
    .unwrap();
    let cancel = Unsent {
        status: DeliveryStatus::Cancelled,
        reason: DeliveryReason::WebhookRemoved,
        ban_episode: None,
        at: later(1),
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

/// D6: an extension keeps the leases that are still valid and returns which these are.
#[tokio::test(flavor = "multi_thread")]
async fn an_extension_returns_the_leases_that_are_still_valid() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let events: Vec<Event> = (0..2).map(|_| event(EventAction::Create, "deal", None)).collect();
    let made = publish(conn, &events, 2).await;
    let held = [(made[0].key, 1), (made[1].key, 9)];
    assert_eq!(leases::extend(conn, &held, later(200)).await.unwrap(), [0]);
    let claimed = claim::claim(conn, lane(), &[(id, 8)], later(150), OTHER, later(250), ANY)
        .await
        .unwrap()
        .good;
    assert_eq!(claimed.len(), 1, "the one that was not extended has run out");
    let released = leases::release_of(conn, &[OTHER], later(151)).await.unwrap();
    assert_eq!((released.freed, released.locked), (1, Vec::new()));
}

/// A claim reads the payloads that fit into the limit, and one more that begins within it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_bounded_in_bytes() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let id = webhook(conn, "").await;
    let events: Vec<Event> = (0..5).map(|_| event(EventAction::Create, "deal", None)).collect();
    publish(conn, &events, 0).await;
    let bytes = events[0].data.as_ref().map_or(0, |text| text.len());
    let mut taken = async |most| {
        claim::claim(conn, lane(), &[(id, 8)], later(1), ME, later(91), most)
            .await
            .unwrap()
            .good
            .len()
    };
    assert_eq!(taken(2 * bytes).await, 2);
    assert_eq!(taken(bytes + 1).await, 2);
    assert_eq!(taken(0).await, 1, "there is always one");
}

/// A discovery is limited, and finds the webhooks that are due first.
#[tokio::test(flavor = "multi_thread")]
async fn a_discovery_finds_the_webhooks_that_are_due_first() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let (first, second) = (webhook(conn, "").await, webhook(conn, "").await);
    publish(conn, &[event(EventAction::Create, "deal", None)], 0).await;
    let retry = format!(
        "update deliveries set vis_at = vis_at + interval '1 hour' where webhook = '{}'",
        first.0
    );
    diesel::sql_query(retry).execute(conn).await.unwrap();
    let found = |rows: Vec<(Lane, WebhookId, Timestamp)>| -> Vec<WebhookId> {
        rows.into_iter().map(|(_, webhook, _)| webhook).collect()
    };
    assert_eq!(found(claim::discover(conn, 2).await.unwrap()), [second, first]);
    assert_eq!(found(claim::discover(conn, 1).await.unwrap()), [second]);
}

/// D6: a row that another transaction has locked does not cost others their lease or release, and is still held.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_is_skipped_when_leases_are_extended_or_freed() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    let mut other = store.conn().await.unwrap();
    webhook(conn, "").await;
    let events: Vec<Event> = (0..3).map(|_| event(EventAction::Create, "deal", None)).collect();
    let made = publish(conn, &events, 3).await;
    let held: Vec<_> = made.iter().map(|made| (made.key, 1)).collect();
    let lock = format!(
        "select from deliveries where event = '{}' for update",
        held[1].0.event.0
    );
    // In case a statement waits anyway.
    diesel::sql_query("set statement_timeout = '2s'")
        .execute(conn)
        .await
        .unwrap();
    let locked = other.transaction(async |other| {
        assert_eq!(diesel::sql_query(lock).execute(other).await?, 1);
        let mut extended = leases::extend(conn, &held, later(200)).await?;
        extended.sort_unstable();
        assert_eq!(extended, [0, 2]);
        let mut still_held = leases::still_held(conn, &held).await?;
        still_held.sort_unstable();
        assert_eq!(still_held, [0, 1, 2]);
        let released = leases::release_of(conn, &[ME], later(1)).await?;
        assert_eq!((released.freed, &released.locked[..]), (2, &held[1..2]));
        // The second row is free already, under another token.
        let again: Result<_, StoreError> = leases::release(conn, &held[1..], later(1)).await;
        let again = again?;
        assert_eq!((again.freed, &again.locked[..]), (0, &held[1..2]));
        Ok::<_, StoreError>(again.locked)
    });
    let locked = locked.await.unwrap();
    let released = leases::release(conn, &locked, later(1)).await.unwrap();
    assert_eq!((released.freed, released.locked), (1, Vec::new()));
    assert_eq!(count(conn, "deliveries where owner is not null").await, 0);
}
