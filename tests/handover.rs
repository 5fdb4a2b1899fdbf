//! Another server takes over the deliveries of a dead one: soon, because its heartbeats are missing, or else when its
//! leases end.
//!
//! Heartbeats follow real time and the database's clock, whatever the simulated clock shows. So the test makes a
//! heartbeat older instead of waiting. The server's own tests check at which age it counts as dead.

use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::database::Database;
use tenterhook_harness::realtime;
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::{Answer, Script};
use tenterhook_harness::world::World;

use crate::scene::later;

/// The node id of the server that was started first.
const FIRST: &str = "(select min(id) from nodes)";
/// Longer than the age at which a server counts as dead.
const AGES: &str = "interval '1 hour'";
/// Duration of a lease.
const LEASE: &str = "PT90S";

/// Two servers. The first has an attempt in flight to a receiver that does not respond to it, but to all later
/// requests.
async fn holding() -> (World, Receiver, Client, String) {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(Script::sequence([Answer::Hang], 200)).await;
    let user = world.company(1).at(1).user(7);
    let created = user.create_webhook(NewWebhook::to(&receiver.url())).await;
    let webhook = created.expect("the user may create a webhook").webhook.id;
    let publish = world.company(1).at(0).publish().await;
    publish.expect("the platform may publish");
    receiver.journal().wait_for(1).await;
    (world, receiver, user, webhook)
}

fn database(world: &World) -> &Database {
    world.database().expect("the servers are this process's own")
}

/// Makes the first server's heartbeat older by this interval, or younger if it is negative.
async fn age(world: &World, by: &str) {
    let age = format!("update nodes set heartbeat_at = heartbeat_at - {by} where id = {FIRST}");
    database(world).execute(&age).await.expect("nodes can be written");
}

async fn servers_known(world: &World) -> i64 {
    let count = database(world).number("select count(*) from nodes").await;
    count.expect("nodes can be counted")
}

/// D6: by missing heartbeats, without the simulated clock moving. The attempt whose end is unknown is repeated with the
/// same number.
#[tokio::test(flavor = "multi_thread")]
async fn missing_heartbeats_hand_over_the_work_of_a_dead_server() {
    let (mut world, receiver, user, webhook) = holding().await;
    let crashed_at = world.now();
    world.crash_one(0).await;
    world.settle().await;
    assert_eq!(receiver.journal().len(), 1, "it is the dead server's still");

    age(&world, AGES).await;
    let arrivals = receiver.journal().wait_for(2).await;
    assert_eq!(world.now(), crashed_at);
    assert_eq!(
        (arrivals[1].event(), arrivals[1].attempt()),
        (arrivals[0].event(), 1)
    );
    world.settle().await;
    let delivery = user.last_delivery(&webhook).await.unwrap();
    assert_eq!(
        (delivery.status.as_str(), delivery.attempts.len()),
        ("SUCCEEDED", 1)
    );
    world.verify().await;
}

/// D6: if the missing heartbeats are not noticed, the end of the lease has the same effect. Until a millisecond before,
/// the dead server still owns the delivery.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_leases_hands_over_the_work_of_a_dead_server() {
    let (mut world, receiver, user, webhook) = holding().await;
    let held_since = world.now();
    world.crash_one(0).await;
    age(&world, &format!("- {AGES}")).await;
    let end = later(held_since, LEASE);
    world.advance_to(end - jiff::SignedDuration::from_millis(1)).await;
    assert_eq!(receiver.journal().len(), 1, "the lease has a millisecond left");

    world.advance_to(end).await;
    let arrivals = receiver.journal().wait_for(2).await;
    assert_eq!((arrivals[1].attempt(), arrivals[1].at), (1, end));
    world.settle().await;
    assert_eq!(user.last_delivery(&webhook).await.unwrap().status, "SUCCEEDED");
    world.verify().await;
}

/// D6, B1: a server that returns after it was declared dead settles none of its attempts. Its failure is not recorded,
/// does not raise the ban counter, and does not undo the success of the new owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_returns_after_its_eviction_settles_nothing() {
    let (world, receiver, user, webhook) = holding().await;
    // The server is alive and sends heartbeats, so its heartbeat is made old again until the other server has seen it.
    let first = database(&world).number(&format!("select {FIRST}")).await.unwrap();
    realtime::eventually("the first server is declared dead", async || {
        let age = format!("update nodes set heartbeat_at = heartbeat_at - {AGES} where id = {first}");
        database(&world)
            .execute(&age)
            .await
            .expect("nodes can be written");
        let left = format!("select count(*) from nodes where id = {first}");
        database(&world)
            .number(&left)
            .await
            .expect("nodes can be counted")
            == 0
    })
    .await;
    receiver.journal().wait_for(2).await;
    world.settle().await;
    assert_eq!(user.last_delivery(&webhook).await.unwrap().status, "SUCCEEDED");

    // Its attempt in flight times out, when the delivery has already ended.
    world.advance("PT1M").await;
    realtime::eventually("it is back under another number", async || {
        servers_known(&world).await == 2
    })
    .await;
    let delivery = user.last_delivery(&webhook).await.unwrap();
    let results: Vec<_> = delivery
        .attempts
        .iter()
        .map(|attempt| attempt.http_status)
        .collect();
    assert_eq!(
        (delivery.status.as_str(), results),
        ("SUCCEEDED", vec![Some(200)])
    );
    assert_eq!(user.health(&webhook).await.unwrap().ban_counter, 0);
    let tally = world.tally().await;
    assert_eq!((tally.accepted, tally.succeeded, tally.failed), (1, 1, 0));
    assert_eq!(receiver.journal().len(), 2, "nothing is tried a third time");
    world.verify().await;
}
