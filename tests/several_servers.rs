//! Several servers on one database share the work, and each delivery is leased to one server at a time.

use std::collections::HashMap;

use futures_util::future::join_all;
use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::reply::Answer;
use tenterhook_harness::world::World;

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
async fn subscribers_on_four_servers_hear_of_what_each_records() {
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
