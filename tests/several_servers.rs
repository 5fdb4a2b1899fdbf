//! Several servers on one database share the work, and each delivery is leased to one server at a time.

use std::collections::HashMap;

use futures_util::future::{join, join_all};
use serde_json::json;
use tenterhook_harness::client::{NewWebhook, WebhookList};
use tenterhook_harness::reply::Answer;
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::World;

use crate::scene::Scene;

const EVENTS: usize = 10_000;
const BATCH: usize = 250;

/// D6: two servers on one database deliver 10,000 events once each if nothing crashes.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_deliver_ten_thousand_events_once_each() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(200).await;
    for company in 1..=4 {
        world
            .company(company)
            .user(7)
            .create_webhook(NewWebhook::to(&receiver.url()))
            .await
            .unwrap();
    }
    let publish = async |n: usize| {
        let company = world.company(1 + n as u64 % 4).at(n % 2);
        company
            .publish_many(BATCH)
            .await
            .map(|publication| publication.events)
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for published in join_all((0..EVENTS / BATCH).map(publish)).await {
        counts.extend(
            published
                .unwrap()
                .into_iter()
                .map(|event| (event.event.event_id, 0)),
        );
    }
    assert_eq!(counts.len(), EVENTS);
    world.settle().await;
    world.advance("PT1H").await;

    for arrival in receiver.journal().all() {
        *counts
            .get_mut(arrival.event())
            .expect("only published events arrive") += 1;
    }
    let other: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).take(10).collect();
    assert!(other.is_empty(), "not delivered once: {other:?}");
    let tally = world.tally().await;
    assert_eq!(
        (tally.accepted, tally.succeeded, tally.open),
        (EVENTS as u64, EVENTS as u64, 0)
    );
    world.verify().await;
}

/// D6: another server takes over the pending deliveries of a stopped one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_over_the_retries_of_one_that_stopped() {
    let mut world = World::builder().servers(2).start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).at(1).user(7);
    let webhook = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    world.company(1).publish().await.unwrap();
    world.settle().await;
    world.stop(0).await;
    receiver.answer_with(200);
    world.advance("PT1H").await;

    let delivery = world.company(1).user(7).last_delivery(&webhook.id).await.unwrap();
    assert_eq!(
        (delivery.status.as_str(), delivery.attempts.len()),
        ("SUCCEEDED", 2)
    );
    world.verify().await;
}

/// D8: four servers share the backlog of one webhook. Each has the allowed number of attempts in flight, and none has
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn four_servers_share_a_backlog() {
    const SERVERS: usize = 4;
    /// Most attempts to one webhook in flight, per server.
    const AT_ONCE: usize = 8;
    let world = World::builder().servers(SERVERS).start().await;
    let receiver = world.receiver(Answer::Hang).await;
    let user = world.company(1).user(7);
    user.create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap();
    // All published through one server. Deliveries beyond its capacity are free for every server.
    for _ in 0..8 {
        world.company(1).at(0).publish_many(BATCH).await.unwrap();
    }
    let arrivals = receiver.journal().wait_for(SERVERS * AT_ONCE).await;
    let events: std::collections::HashSet<_> = arrivals.iter().map(|arrival| arrival.event()).collect();
    assert_eq!(events.len(), arrivals.len(), "nothing is on the wire twice");
    world.settle().await;
    assert_eq!(receiver.journal().len(), SERVERS * AT_ONCE);
    let holders = "select count(distinct owner) from deliveries where owner is not null";
    let database = world.database().expect("the servers are this process's own");
    assert_eq!(database.number(holders).await.unwrap(), SERVERS as i64);
}

/// A subscriber on any server gets what each of the others records.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_on_four_servers_get_what_each_records() {
    const SERVERS: usize = 4;
    let world = World::builder().servers(SERVERS).start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    user.create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap();
    let mut followers = Vec::new();
    for server in 0..SERVERS {
        let mut live = world.company(1).at(server).user(7).live().await.unwrap();
        let recorded = "subscription { attemptRecorded { delivery { event { eventId } } } }";
        let id = live.subscribe(recorded, json!({})).await.unwrap();
        followers.push((live, id));
    }
    let mut published = Vec::new();
    for server in 0..SERVERS {
        let event = world.company(1).at(server).publish().await.unwrap();
        published.push(json!(event.event.event_id));
        world.settle().await;
    }
    published.sort_by_key(ToString::to_string);
    for (live, id) in &mut followers {
        let mut heard = Vec::new();
        while heard.len() < SERVERS {
            let event = live.event(id).await.unwrap();
            heard.push(event["attemptRecorded"]["delivery"]["event"]["eventId"].clone());
        }
        heard.sort_by_key(ToString::to_string);
        assert_eq!(heard, published);
        assert_eq!(live.rest(id).await.unwrap(), Vec::<serde_json::Value>::new());
    }
    world.verify().await;
}

/// W3: two hundred simultaneous creations on two servers leave exactly forty webhooks. Each refusal has the limit.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_simultaneous_creations_leave_exactly_forty() {
    let world = World::builder().servers(2).start().await;
    let create = async |n: usize| {
        let user = world.company(1).at(n % 2).user(7);
        user.create_webhook(NewWebhook::to("http://127.0.0.1:9/hook"))
            .await
            .map(drop)
    };
    let results = join_all((0..200).map(create)).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 40);
    for refusal in results.into_iter().filter_map(Result::err) {
        let error = refusal
            .user_error()
            .unwrap_or_else(|| panic!("{refusal}"))
            .clone();
        assert_eq!(
            (error.code.as_str(), error.kind.as_str()),
            ("LIMIT_REACHED", "LimitReachedError")
        );
        assert_eq!((error.limit, error.scope.as_deref()), (Some(40), Some("GENERAL")));
        assert_eq!(error.used, Some(40));
    }
    assert_eq!(
        world
            .company(1)
            .user(7)
            .webhooks(WebhookList::default())
            .await
            .unwrap()
            .len(),
        40
    );
    world.verify().await;
}

/// W8: removing an app from the marketplace removes all its webhooks, of all users and companies.
#[tokio::test(flavor = "multi_thread")]
async fn removing_an_app_removes_its_webhooks_on_every_server() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(500).await;
    for (company, user) in [(1, 7), (1, 8), (2, 7)] {
        let crm = world.company(company).app("crm").install(user).await.unwrap();
        crm.create_webhook(NewWebhook::to(&receiver.url())).await.unwrap();
    }
    let erp = world.company(1).app("erp").install(7).await.unwrap();
    let kept = erp
        .create_webhook(NewWebhook::to(&receiver.url()).on("CREATE", "user"))
        .await
        .unwrap()
        .webhook;
    for company in [1, 2] {
        for server in [0, 1] {
            world.company(company).at(server).publish().await.unwrap();
        }
    }
    world.settle().await;
    let sent = receiver.journal().len();
    assert_eq!(sent, 6);

    assert_eq!(world.platform().remove_app("crm").await.unwrap(), 3);
    world.advance("P1D").await;

    assert_eq!(receiver.journal().len(), sent);
    let live = world.operator().webhooks(WebhookList::default()).await.unwrap();
    assert_eq!(
        live.into_iter().map(|webhook| webhook.id).collect::<Vec<_>>(),
        [kept.id]
    );
    assert_eq!(world.company(1).publish().await.unwrap().delivery_count, 0);
    let crm = world.company(1).app("crm").acting_for(7);
    let refusal = crm
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), "APP_NOT_INSTALLED");
    let tally = world.tally().await;
    assert_eq!((tally.cancelled, tally.open), (6, 0));
    world.verify().await;
}

/// W8: creation and uninstallation exclude each other. In either order no orphan is left.
#[tokio::test(flavor = "multi_thread")]
async fn creations_on_two_servers_racing_an_uninstallation_leave_no_orphan() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(Answer::Reply(200.into())).await;
    let crm = world.company(1).app("crm");
    for round in 0..5 {
        crm.install(7).await.unwrap();
        let create = async |n: usize| {
            let crm = world.company(1).at(n % 2).app("crm").acting_for(7);
            crm.create_webhook(NewWebhook::to(&receiver.url())).await
        };
        let (results, removed) = join(join_all((0..20).map(create)), crm.uninstall(7)).await;

        let made = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(
            removed.unwrap(),
            made as u64,
            "round {round}: all that were made went"
        );
        for refusal in results.into_iter().filter_map(Result::err) {
            assert_eq!(refusal.code(), "APP_NOT_INSTALLED", "round {round}");
        }
        assert_eq!(
            world.company(1).publish().await.unwrap().delivery_count,
            0,
            "round {round}"
        );
    }
    world.settle().await;
    assert!(receiver.journal().is_empty());
    world.verify().await;
}

/// E1: simultaneous publications with the same key, in one call and in several, still publish once.
#[tokio::test(flavor = "multi_thread")]
async fn publications_under_one_key_on_two_servers_make_one_event() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(200).await;
    let scene = Scene::leading_to(world, &receiver.url()).await;
    let event = scene
        .world
        .company(1)
        .deal_changed()
        .with("idempotencyKey", "once");
    let publish = async |n: usize| {
        let claims = Claims::of_scope("platform");
        scene
            .world
            .caller(n % 2, &claims)
            .publish(&[event.clone(), event.clone()])
            .await
    };
    let results = join_all((0..20).map(publish)).await;
    let mut published = Vec::new();
    for result in results {
        published.extend(result.unwrap().events);
    }
    assert_eq!(published.iter().filter(|event| !event.duplicate).count(), 1);
    assert!(published.iter().all(|event| event.event == published[0].event));
    scene.world.settle().await;
    assert_eq!(receiver.journal().len(), 1);
    scene.world.verify().await;
}
