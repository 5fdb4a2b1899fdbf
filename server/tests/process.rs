//! Tests that need a real process: a kill loses nothing, a signal drains it, a process that was stopped too long does
//! no harm, and invalid settings are refused at start. The short runs of the laboratory are in the same program, because each
//! program links the whole server.

mod faults;
mod load;
mod reads;

mod process {
    mod absence;
    pub mod callers;
    mod distribute;
    mod faults;
    #[cfg(target_os = "linux")]
    mod floods;
    mod library_keys;
    mod names;
    mod preconditions;
    mod ranges;
    mod secrets;
    mod silence;
    mod tls;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};

use serde_json::json;
use tenterhook_embedded_postgres::EmbeddedPostgres;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::keys::SEALING_KEY;
use tenterhook_harness::realtime;
use tenterhook_harness::reply::{Answer, Script};
use tenterhook_harness::wire::{Behaviour, ReleaseSignal};
use tenterhook_lab::process::Program;

use process::callers::{
    Callers, PASSWORD, SECRET, create, deal_changed, deliveries, development, folder, production, program,
    receiver, wire,
};

/// D6, D7: killed in the middle of a thousand deliveries and restarted, the server ends all of them.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_thousand_deliveries_it_loses_none() {
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
    // Publishes until the server is gone, so that the kill also hits publications; only those with a response count
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
async fn ended_and_started_again_it_knows_what_it_knew() {
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
async fn killed_it_leaves_no_postgres_and_starts_again_in_the_same_folder() {
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
    assert!(postgres_is_down(), "it shut down in good order");

    let mut second = development(data.path()).serve().await.unwrap();
    assert_eq!(key(), made);
    second.terminate().await.unwrap();
    assert!(second.ended().await.unwrap().success());
    assert!(postgres_is_down(), "it waits for its Postgres");
}

/// SIGTERM: attempts in progress end and are recorded, nothing new is accepted, and the exit code is 0. No log line
/// has a secret, even with all details on.
#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_lets_what_is_on_the_wire_end() {
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

/// O5: with a delay the server still serves after SIGTERM and reports that it is not ready, so that a load balancer
/// can remove it first. A second signal ends the delay but not the drain.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_drain_delay_it_serves_on_while_it_says_that_it_is_not_ready() {
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
async fn woken_after_its_lease_it_moves_nothing() {
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

/// Settings that are unknown, out of bounds, missing or contradictory are refused at start, by name.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused_by_name() {
    let keys = folder();
    let with = |name, value: &str| {
        let nowhere = "host=127.0.0.1 port=1 user=nobody dbname=none";
        production(keys.path(), nowhere).setting(name, value)
    };
    for (program, named) in [
        (
            with("TENTERHOOK_LISTN", "127.0.0.1:0"),
            "TENTERHOOK_LISTN is not a setting: did you mean TENTERHOOK_LISTEN?",
        ),
        (
            with("TENTERHOOK_ALLOWED_TARGETS", "everywhere"),
            "TENTERHOOK_ALLOWED_TARGETS",
        ),
        (
            with("TENTERHOOK_POLICY_BAN_THRESHOLD", "0"),
            "TENTERHOOK_POLICY_BAN_THRESHOLD",
        ),
        (
            with("TENTERHOOK_POLICY_BAN_DURATION", "soon"),
            "TENTERHOOK_POLICY_BAN_DURATION",
        ),
        (
            with("TENTERHOOK_CLOCK", "simulated").setting("TENTERHOOK_LISTEN", "0.0.0.0:0"),
            "clock listen",
        ),
        (
            with("TENTERHOOK_NOTICE_URL", "platform.example/notices"),
            "TENTERHOOK_NOTICE_URL",
        ),
        (
            with("TENTERHOOK_NOTICE_URL", "https://platform.example/notices"),
            "notice_url notice_secret_file",
        ),
        (
            program().argument("serve"),
            "DATABASE_URL TENTERHOOK_JWT_SECRET_FILE TENTERHOOK_JWKS TENTERHOOK_SEALING_KEY_FILE",
        ),
    ] {
        let output = program.run().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted, though wrong: {named}");
        for name in named.split(' ') {
            assert!(said.contains(name), "{name} is not named in:\n{said}");
        }
    }
}

/// F23: in Kubernetes, a Service named `tenterhook` puts variables with our prefix into the pod. Every command runs
/// all the same; the log names them once.
#[tokio::test(flavor = "multi_thread")]
async fn service_links_of_kubernetes_are_passed_over_by_every_command() {
    let links = [
        ("TENTERHOOK_SERVICE_HOST", "10.96.0.5"),
        ("TENTERHOOK_SERVICE_PORT", "8080"),
        ("TENTERHOOK_SERVICE_PORT_HTTP", "8080"),
        ("TENTERHOOK_PORT", "tcp://10.96.0.5:8080"),
        ("TENTERHOOK_PORT_8080_TCP", "tcp://10.96.0.5:8080"),
        ("TENTERHOOK_PORT_8080_TCP_PROTO", "tcp"),
        ("TENTERHOOK_PORT_8080_TCP_PORT", "8080"),
        ("TENTERHOOK_PORT_8080_TCP_ADDR", "10.96.0.5"),
        ("TENTERHOOK_API_SERVICE_HOST", "10.96.0.6"),
        ("TENTERHOOK_API_PORT", "udp://10.96.0.6:53"),
    ];
    let linked = |program: Program| {
        links
            .iter()
            .fold(program, |program, (name, value)| program.setting(name, *value))
    };
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let serving = linked(production(keys.path(), &database.url(None)));
    let process = serving.serve().await.unwrap();
    let printed = process.printed();
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains("service links"))
        .collect();
    assert_eq!(lines.len(), 1, "{printed}");
    for (name, _) in links {
        assert!(lines[0].contains(name), "{name} is not named in {}", lines[0]);
    }

    let data = folder();
    for command in [
        "token --platform",
        "settings",
        "schema",
        "migrate",
        "reseal",
        // Nothing listens there, which is the only fault that it should report.
        "doctor --probe https://127.0.0.1:1/",
    ] {
        let program = command.split(' ').fold(program(), Program::argument);
        let program = linked(program)
            .setting("DATABASE_URL", database.url(None))
            .setting("TENTERHOOK_DATA_DIR", data.path())
            .setting("TENTERHOOK_JWT_SECRET", SECRET)
            .setting("TENTERHOOK_SEALING_KEY", SEALING_KEY);
        let output = program.run().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("is not a setting"), "{command}: {said}");
        assert!(
            output.status.success() || command.starts_with("doctor"),
            "{command}: {said}"
        );
    }
    // Variables that only resemble them are refused as usual.
    let resembling = linked(production(keys.path(), &database.url(None))).setting("TENTERHOOK_PORT", "8080");
    let said = resembling.run().await.unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("TENTERHOOK_PORT is not a setting"), "{said}");
    assert_eq!(said.matches("is not a setting").count(), 1, "{said}");
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

/// A dump restored into another cluster, whose transaction ids start from the beginning: a server on it makes the
/// retries that were due, opens the secrets with the same key, has the counter, and continues.
#[tokio::test(flavor = "multi_thread")]
async fn restored_into_another_cluster_it_carries_on() {
    const EVENTS: usize = 9;
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let receiver = receiver(500).await;
    let mut first = production(keys.path(), &database.url(None))
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&first, SECRET);
    let webhook = create(&callers.user(), &receiver.url()).await;
    callers
        .platform()
        .publish(&vec![deal_changed(); EVENTS])
        .await
        .unwrap();
    receiver.journal().wait_for(EVENTS).await;
    first.terminate().await.unwrap();
    assert_eq!(first.ended().await.unwrap().code(), Some(0));

    let other = EmbeddedPostgres::temporary().await.unwrap();
    restore(&database.url(None), &other).await;
    receiver.answer_with(200);
    let second = production(keys.path(), &other.url(RESTORED))
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&second, SECRET);
    let all_ended = async || callers.tally().await.open == 0;
    realtime::eventually("the restored deliveries end", all_ended).await;
    let tally = callers.tally().await;
    assert!(
        tally.is_conserved() && tally.succeeded == EVENTS as u64,
        "{tally:?}"
    );
    let health = callers.user().health(&webhook).await.unwrap();
    assert_eq!(health.ban_counter as usize, EVENTS);
    // The changes feed works: every process knows of a change before the response.
    callers.user().delete_webhook(&webhook).await.unwrap();
    let published = callers.platform().publish_one(deal_changed()).await.unwrap();
    assert_eq!(published.delivery_count, 0);
}

const RESTORED: &str = "restored";

/// With the tools that come with Postgres, as an operator would.
async fn restore(from: &str, to: &EmbeddedPostgres) {
    let path = format!(
        "{}:{}",
        to.binaries().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let script = "set -eu
        psql --quiet --dbname \"$2\" --command 'create database restored template template0'
        pg_dump --no-owner --dbname \"$1\" --file \"$4\"
        psql --quiet --set ON_ERROR_STOP=1 --dbname \"$3\" --file \"$4\" > /dev/null";
    let dump = folder();
    let restored = Program::new("/bin/sh")
        .argument("-c")
        .argument(script)
        .argument("restore")
        .argument(from)
        .argument(to.url("postgres"))
        .argument(to.url(RESTORED))
        .argument(dump.path().join("dump.sql"))
        .setting("PATH", path)
        .run()
        .await
        .expect("pg_dump and psql are in the folder of Postgres, or on the PATH");
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}
