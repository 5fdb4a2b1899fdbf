//! How a publication stores events and keys.

use super::*;

/// Whether the policy gives `event` to a webhook: action and object match in the terms of its version (E6), and its user may see the
/// object (E2).
fn is_wanted(
    (action, object, version, user): (EventAction, &str, PayloadVersion, UserId),
    event: &Event,
    catalog: &Catalog,
) -> bool {
    let seen = selector(event, catalog).seen_by(version);
    let action_matches = seen.is_some_and(|seen| action == EventAction::Any || action == seen);
    let object_matches = object == "*" || object == event.object;
    let may_see = event.permitted.as_ref().is_none_or(|users| users.contains(&user));
    action_matches && object_matches && may_see
}

/// W9, E2, E6: the join gives the same result as the policy, for every kind of subscription and event.
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
                        is_wanted((*action, object, *version, *user), &event, &catalog)
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

/// E3: a fan-out larger than one statement is complete, each delivery once; in a single statement nothing of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_at_the_bound_of_one_statement_and_one_past_it_is_complete() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    webhooks(conn, ROWS_PER_STATEMENT).await;
    let event_of = || event(EventAction::Create, "deal", None);
    let made = publish_at_once(conn, &[event_of()], 10).await.unwrap();
    assert_eq!(made.len() as i64, ROWS_PER_STATEMENT);
    webhooks(conn, 1).await;
    assert_eq!(
        publish_at_once(conn, &[event_of()], 10)
            .await
            .map(|made| made.len()),
        None
    );
    assert_eq!(count(conn, "deliveries").await, ROWS_PER_STATEMENT);
    assert_eq!(count(conn, "events").await, 1);
    let made = publish(conn, &[event_of()], 10).await;
    assert_eq!(made.len() as i64, ROWS_PER_STATEMENT + 1);
    assert_eq!(
        made.iter()
            .filter(|made| made.state == InitialState::Leased)
            .count(),
        10
    );
    assert_eq!(count(conn, "deliveries").await, 2 * ROWS_PER_STATEMENT + 1);
    assert_eq!(count(conn, "events").await, 2);
    assert_conserved(conn).await;
}

/// `more` further webhooks for every event of the company.
async fn webhooks(conn: &mut Conn, more: i64) {
    for statement in [
        format!(
            "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret,
                                   created_at, updated_at)
             select {}, gen_random_uuid(), 7, 1, 1, 1, 'https://example.com/', 0, '*', 2, '', '2026-11-01', '2026-11-01'
             from generate_series(1, {more})",
            lane().0,
        ),
        "insert into webhook_health (lane, webhook) select lane, id from webhooks on conflict do nothing".to_owned(),
    ] {
        diesel::sql_query(statement).execute(conn).await.unwrap();
    }
}

/// B4, W13, W12: deliveries for a banned or paused webhook are recorded as lost; a removed one gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn banned_and_paused_webhooks_lose_events_and_removed_get_none() {
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
    let state = |id| {
        made.iter()
            .find(|made| made.key.webhook == id)
            .map(|made| made.state)
    };
    assert_eq!(made.len(), 3);
    assert_eq!(
        state(active),
        Some(InitialState::Leased),
        "at the ban's very end the webhook is active again (B7, T2)"
    );
    assert_eq!(
        (state(banned), state(paused)),
        (Some(InitialState::Lost), Some(InitialState::Lost))
    );
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

/// B4: a delivery lost to a ban is dated within the ban, even if the clock that dated the ban is ahead of the publication's.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_lost_to_a_ban_is_dated_within_it() {
    let store = store().await;
    let conn = &mut *store.conn().await.unwrap();
    for began in [later(-1), later(1)] {
        let ban = format!(
            "webhook_health set ban_episode = 1, ban_started_at = '{began}', banned_until = '{}', ban_open = true
             where webhook",
            later(60)
        );
        webhook(conn, &ban).await;
    }
    assert_eq!(
        publish(conn, &[event(EventAction::Create, "deal", None)], 10)
            .await
            .len(),
        2
    );
    let at = |at: Timestamp| format!("outcomes where reason = 2 and at = '{at}'");
    assert_eq!(count(conn, &at(now())).await, 1);
    assert_eq!(count(conn, &at(later(1))).await, 1);
}

#[test]
fn earlier_deliveries_use_up_room_for_later_ones() {
    let room = Room {
        total: 5,
        per_webhook: 3,
        ..with_room(0)
    };
    let left = |leased, events| {
        let left = room.after(leased, events);
        (left.total, left.per_webhook)
    };
    assert_eq!(left(0, 0), (5, 3));
    assert_eq!(left(2, 1), (3, 2));
    assert_eq!((left(5, 3), left(6, 4)), ((0, 0), (0, 0)));
}

/// E1: a key is stored once, returned to later callers, and free again when it has expired.
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
