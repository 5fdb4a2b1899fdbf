//! Tests that need a real process: a kill loses nothing, a signal drains it, and a process that was stopped too long does no
//! harm. The short runs of the laboratory are in the same program, because each program links the whole server.

mod faults;
mod load;
mod reads;

mod process {
    pub mod callers;
    mod distribute;
    mod faults;
    #[cfg(target_os = "linux")]
    mod floods;
    mod library_keys;
    mod names;
    mod preconditions;
    mod ranges;
    mod restore;
    mod secrets;
    mod settings;
    mod silence;
    mod tls;
    mod unavailable;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};

use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::keys::SEALING_KEY;
use tenterhook_harness::realtime;
use tenterhook_harness::reply::{Answer, Script};
use tenterhook_harness::wire::{Behaviour, ReleaseSignal};
use tenterhook_lab::process::Program;

use process::callers::{
    Callers, PASSWORD, SECRET, create, deal_changed, deliveries, development, folder, production, receiver,
    wire,
};

/// D6, D7: killed in the middle of a thousand deliveries and restarted, the server ends all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_none_of_a_thousand_deliveries() {
    let data = folder();
    let program = development(data.path()).setting("TENTERHOOK_CLOCK", "simulated");
    // Half of the thousand get a response; of the others some are in progress and some wait at the time of the kill.
    let receiver = receiver(Script::sequence([200; 500], Answer::Hang)).await;
    let process = program.serve().await.unwrap();
    let callers = Callers::of_development(&process, data.path());
    let mut webhooks = Vec::new();
    for _ in 0..10 {
        webhooks.push(create(&callers.user(), &receiver.url()).await);
    }
    // Publishes until the server has ended, so that the kill also hits publications; only those with a response count
    // as accepted.
    let platform = callers.platform();
    let publisher = realtime::spawn(async move {
        let mut accepted = Vec::new();
        while let Ok(publication) = platform.publish(&vec![deal_changed(); 100]).await {
            accepted.extend(
                publication
                    .events
                    .into_iter()
                    .map(|published| published.event.event_id),
            );
        }
        accepted
    });
    receiver.journal().wait_for(550).await;
    process.kill().await.unwrap();
    let sent = receiver.journal().len();
    receiver.answer_with(200);
    let accepted: BTreeSet<String> = publisher.await.unwrap().into_iter().collect();
    assert!(
        accepted.len() >= 100 && sent < 1000,
        "{} events, {sent} requests",
        accepted.len()
    );

    let process = program.serve().await.unwrap();
    let callers = Callers::of_development(&process, data.path());
    callers.advance("PT1H").await;

    for webhook in &webhooks {
        let deliveries = deliveries(&callers.user(), webhook).await;
        assert!(
            deliveries
                .iter()
                .all(|delivery| delivery.status == "SUCCEEDED" && delivery.attempts.len() == 1)
        );
        let delivered: BTreeSet<String> = deliveries
            .into_iter()
            .map(|delivery| delivery.event.event_id)
            .collect();
        assert!(delivered.is_superset(&accepted), "accepted and not delivered");
    }
    let mut requests: BTreeMap<(String, String), usize> = BTreeMap::new();
    for arrival in receiver.journal().all() {
        assert_eq!(arrival.attempt(), 1, "what is repeated keeps its number");
        *requests
            .entry((arrival.webhook().to_owned(), arrival.event().to_owned()))
            .or_default() += 1;
    }
    let tally = callers.tally().await;
    assert!(tally.is_conserved() && tally.open == 0, "{tally:?}");
    assert_eq!(
        requests.len() as u64,
        tally.succeeded,
        "each delivery was requested"
    );
    assert!(
        requests.values().all(|count| *count <= 2),
        "and repeated once at most"
    );
}

/// After a restart it has its earlier data and its earlier time.
#[tokio::test(flavor = "multi_thread")]
async fn data_and_time_survive_a_restart() {
    let data = folder();
    let program = development(data.path()).setting("TENTERHOOK_CLOCK", "simulated");
    let receiver = receiver(500).await;
    let mut process = program.serve().await.unwrap();
    let callers = Callers::of_development(&process, data.path());
    let webhook = create(&callers.user(), &receiver.url()).await;
    callers
        .platform()
        .publish(&vec![deal_changed(); 10])
        .await
        .unwrap();
    callers.advance("PT10M").await;
    let before = callers.user().health(&webhook).await.unwrap();
    assert_eq!(before.state, "BANNED");
    process.terminate().await.unwrap();
    assert_eq!(process.ended().await.unwrap().code(), Some(0));

    let process = program.serve().await.unwrap();
    let callers = Callers::of_development(&process, data.path());
    assert_eq!(callers.user().health(&webhook).await.unwrap(), before);
    callers.advance("PT20M").await;
    assert_eq!(callers.user().health(&webhook).await.unwrap().state, "ACTIVE");
    assert_eq!(receiver.journal().len(), 10);
}

/// After a kill no Postgres process is left, and the server starts again in the same folder with the same key. After
/// a clean stop its Postgres has stopped too.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_postgres_and_starts_again() {
    let data = folder();
    let key = || fs::read(data.path().join("jwt.key")).unwrap();
    let postgres_is_down = || !data.path().join("postgres/postmaster.pid").exists();
    let first = development(data.path()).serve().await.unwrap();
    let made = key();
    first.kill().await.unwrap();
    // Every process of that Postgres holds this lock: getting it means that they have ended.
    File::open(data.path().join("postgres.lock"))
        .unwrap()
        .lock()
        .unwrap();
    assert!(postgres_is_down(), "it shut down normally");

    let mut second = development(data.path()).serve().await.unwrap();
    assert_eq!(key(), made);
    second.terminate().await.unwrap();
    assert!(second.ended().await.unwrap().success());
    assert!(postgres_is_down(), "it waits for its Postgres");
}

/// SIGTERM: attempts in progress end and are recorded, nothing new is accepted, and the exit code is 0. No log line
/// has a secret, even with all details on.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_attempts_in_flight_end() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None));
    let signal = ReleaseSignal::default();
    let held = signal.clone();
    let receiver = wire(move |_| Behaviour::ReplyOnRelease(held.clone(), 200.into())).await;
    let mut process = program.serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    let created = callers
        .user()
        .create_webhook(NewWebhook::to(&receiver.url()).basic_auth("user", PASSWORD))
        .await;
    let created = created.unwrap();
    callers.platform().publish_one(deal_changed()).await.unwrap();
    receiver.journal().wait_for(1).await;

    process.terminate().await.unwrap();
    realtime::eventually("it takes nothing new", async || {
        let refused = callers.platform().publish_one(deal_changed()).await.err();
        refused.is_some_and(|refusal| refusal.code() == "UNAVAILABLE")
    })
    .await;
    signal.release();
    assert_eq!(process.ended().await.unwrap().code(), Some(0));

    let printed = process.printed();
    for secret in [
        SECRET,
        PASSWORD,
        &created.signing_secret,
        "Bearer ey",
        SEALING_KEY,
    ] {
        assert!(!printed.contains(secret), "it printed {secret}");
    }
    let process = program.serve().await.unwrap();
    let deliveries = deliveries(&Callers::new(&process, SECRET).user(), &created.webhook.id).await;
    let first = &deliveries[0];
    assert_eq!(
        (first.status.as_str(), first.attempts.len()),
        ("SUCCEEDED", 1),
        "{first:?}"
    );
}

/// With a delay the server still serves after SIGTERM and reports that it is not ready, so that a load balancer
/// can remove it first. A second signal ends the delay but not the drain.
#[tokio::test(flavor = "multi_thread")]
async fn during_a_drain_delay_the_server_serves_but_is_not_ready() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None));
    let signal = ReleaseSignal::default();
    let held = signal.clone();
    let receiver = wire(move |connection| match connection {
        0 => 200.into(),
        _ => Behaviour::ReplyOnRelease(held.clone(), 200.into()),
    })
    .await;
    let mut process = program
        .clone()
        .setting("TENTERHOOK_DRAIN_DELAY", "60s")
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    let webhook = create(&callers.user(), &receiver.url()).await;

    process.terminate().await.unwrap();
    realtime::eventually("it says that it is not ready", async || {
        let (status, said) = callers.user().get("/readyz").await.unwrap();
        (status, said.as_str()) == (503, "stopping\n")
    })
    .await;
    // A new client for each call, so that it makes a new connection.
    callers.platform().publish_one(deal_changed()).await.unwrap();
    receiver.journal().wait_for(1).await;
    let delivered = async || {
        let all = deliveries(&callers.user(), &webhook).await;
        all.iter().all(|delivery| delivery.status == "SUCCEEDED")
    };
    realtime::eventually("it delivers what is published now", delivered).await;
    assert_eq!(callers.user().get("/livez").await.unwrap().0, 200);

    callers.platform().publish_one(deal_changed()).await.unwrap();
    receiver.journal().wait_for(2).await;
    process.interrupt().await.unwrap();
    realtime::eventually("it takes nothing new", async || {
        let refused = callers.platform().publish_one(deal_changed()).await.err();
        refused.is_some_and(|refusal| refusal.code() == "UNAVAILABLE")
    })
    .await;
    signal.release();
    assert_eq!(process.ended().await.unwrap().code(), Some(0));
    let printed = process.printed();
    assert!(printed.contains("SIGTERM: /readyz now returns 503"), "{printed}");
    assert!(
        printed.contains("SIGINT: stopping"),
        "the delay ran out: {printed}"
    );

    // Without another signal the delay ends by itself.
    let mut process = program
        .setting("TENTERHOOK_DRAIN_DELAY", "50ms")
        .serve()
        .await
        .unwrap();
    let all = deliveries(&Callers::new(&process, SECRET).user(), &webhook).await;
    let statuses: Vec<_> = all.iter().map(|delivery| delivery.status.as_str()).collect();
    assert_eq!(statuses, ["SUCCEEDED", "SUCCEEDED"]);
    process.terminate().await.unwrap();
    assert_eq!(process.ended().await.unwrap().code(), Some(0));
    assert!(process.printed().contains("SIGTERM: stopping"));
}

/// D6: a process that was stopped until others took over its work changes nothing when it continues: the results of
/// the others stay, and the counter agrees with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_resumes_after_its_lease_changes_nothing() {
    const EVENTS: usize = 8;
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None));
    let signal = ReleaseSignal::default();
    let held = signal.clone();
    let receiver = wire(move |connection| match connection {
        0..EVENTS => Behaviour::ReplyOnRelease(held.clone(), 200.into()),
        _ => 500.into(),
    })
    .await;
    let (frozen, other) = (program.serve().await.unwrap(), program.serve().await.unwrap());
    let (of_frozen, of_other) = (Callers::new(&frozen, SECRET), Callers::new(&other, SECRET));
    let webhook = create(&of_frozen.user(), &receiver.url()).await;
    of_frozen
        .platform()
        .publish(&vec![deal_changed(); EVENTS])
        .await
        .unwrap();
    receiver.journal().wait_for(EVENTS).await;
    frozen.freeze().await.unwrap();

    // The other process takes over and its attempts fail; its retries then succeed.
    receiver.journal().wait_for(2 * EVENTS).await;
    receiver.behave(200);
    let settled = async || {
        deliveries(&of_other.user(), &webhook)
            .await
            .iter()
            .all(|d| d.status == "SUCCEEDED")
    };
    realtime::eventually("the other has ended all deliveries", settled).await;
    let recorded = deliveries(&of_other.user(), &webhook).await;
    let health = of_other.user().health(&webhook).await.unwrap();
    assert_eq!(health.ban_counter as usize, EVENTS);

    signal.release();
    frozen.resume().await.unwrap();
    // It has read all changes when it delivers again.
    realtime::eventually("the woken one works", async || {
        of_frozen.platform().publish_one(deal_changed()).await.is_ok()
    })
    .await;
    let working = async || {
        deliveries(&of_frozen.user(), &webhook)
            .await
            .last()
            .is_some_and(|d| d.status == "SUCCEEDED")
    };
    realtime::eventually("the woken one delivers", working).await;

    let after = deliveries(&of_other.user(), &webhook).await;
    assert_eq!(after[..EVENTS], recorded, "history was changed by a late result");
    for delivery in &recorded {
        let statuses: Vec<_> = delivery
            .attempts
            .iter()
            .map(|attempt| attempt.http_status)
            .collect();
        assert_eq!(statuses, [Some(500), Some(200)]);
    }
    let health = of_other.user().health(&webhook).await.unwrap();
    assert_eq!(
        (health.ban_counter as usize, health.state.as_str()),
        (EVENTS, "ACTIVE")
    );
    let tally = of_other.tally().await;
    assert!(tally.is_conserved() && tally.open == 0, "{tally:?}");
}

/// `tenterhook token` prints a token and nothing else, and the token works.
#[tokio::test(flavor = "multi_thread")]
async fn a_printed_token_works() {
    let data = folder();
    let program = development(data.path());
    let process = program.serve().await.unwrap();
    let arguments = ["token", "--company", "1", "--user", "7", "--role", "admin"];
    let printing = arguments.into_iter().fold(program.clone(), Program::argument);
    let output = printing.run().await.unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (token.lines().count(), token.split_whitespace().count()),
        (1, 1),
        "{token:?}"
    );
    let caller = process.caller(Some(token.trim().to_owned())).unwrap();
    let viewer = caller
        .query("{ viewer { userId companyId role } }", json!({}))
        .await
        .unwrap();
    assert_eq!(
        viewer["viewer"],
        json!({"userId": "7", "companyId": "1", "role": "ADMIN"})
    );
}
