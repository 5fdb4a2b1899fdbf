//! A database that goes silent: bytes are neither delivered nor refused, as behind a NAT that has dropped a
//! connection, behind a pooler that hangs, or when a host disappears.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use tenterhook_harness::database::{Cluster, Database};
use tenterhook_harness::realtime;
use tenterhook_harness::statement_counter::Upstream;
use tenterhook_lab::process::{Process, Program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::callers::{Callers, SECRET, create, deal_changed, folder, production, receiver};

/// A proxy between servers and Postgres. On request it stops forwarding on its connections, without closing them.
struct Relay {
    address: SocketAddr,
    /// Connections with this number or a lower one are silent.
    silent: watch::Sender<u64>,
    made: Arc<AtomicU64>,
    /// Whether new connections are silent too.
    for_good: Arc<AtomicBool>,
    /// Number of bytes on connections that were made after the last silence began.
    passed: Arc<AtomicU64>,
}

impl Relay {
    async fn before(database: &Database) -> Self {
        let Upstream::Socket(socket) = database.upstream() else {
            panic!("the cluster of the tests listens on a Unix socket");
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("what the test stands on can be made");
        let relay = Self {
            address: listener
                .local_addr()
                .expect("what the test stands on can be made"),
            silent: watch::Sender::new(0),
            made: Arc::default(),
            for_good: Arc::default(),
            passed: Arc::default(),
        };
        let (silent, made, for_good, passed) = (
            relay.silent.subscribe(),
            relay.made.clone(),
            relay.for_good.clone(),
            relay.passed.clone(),
        );
        realtime::spawn(async move {
            while let Ok((frontend, _)) = listener.accept().await {
                let number = made.fetch_add(1, Ordering::SeqCst) + 1;
                let number = match for_good.load(Ordering::SeqCst) {
                    true => 0,
                    false => number,
                };
                let backend = UnixStream::connect(&socket)
                    .await
                    .expect("what the test stands on can be made");
                realtime::spawn(pass(frontend, backend, number, silent.clone(), passed.clone()));
            }
        });
        relay
    }

    /// Makes all existing connections silent; new ones work.
    fn silence(&self) {
        self.passed.store(0, Ordering::SeqCst);
        self.silent.send_replace(self.made.load(Ordering::SeqCst));
    }

    /// Makes new connections silent too.
    fn silence_for_good(&self) {
        self.for_good.store(true, Ordering::SeqCst);
        self.silent.send_replace(u64::MAX);
    }
}

async fn pass(
    mut frontend: TcpStream,
    mut backend: UnixStream,
    number: u64,
    mut silent: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
) {
    let (mut there, mut back) = ([0; 16384], [0; 16384]);
    loop {
        if number <= *silent.borrow() {
            // Both ends stay open during the test, and nothing reads them.
            let _ = silent.wait_for(|_| false).await;
            return;
        }
        let (bytes, to_backend) = tokio::select! {
            _ = silent.changed() => continue,
            read = frontend.read(&mut there) => match read {
                Ok(length @ 1..) => (&there[..length], true),
                _ => return,
            },
            read = backend.read(&mut back) => match read {
                Ok(length @ 1..) => (&back[..length], false),
                _ => return,
            },
        };
        if number <= *silent.borrow() {
            continue;
        }
        passed.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let written = match to_backend {
            true => backend.write_all(bytes).await,
            false => frontend.write_all(bytes).await,
        };
        if written.is_err() {
            return;
        }
    }
}

/// A server behind the proxy, with limits short enough for a test.
fn behind(relay: &Relay, database: &Database, keys: &std::path::Path) -> Program {
    production(keys, &database.url(Some(relay.address)))
        .setting("TENTERHOOK_DATABASE_TIMEOUT", "2s")
        .setting("TENTERHOOK_DATABASE_LONG_TIMEOUT", "2s")
        // If the response to a commit is lost, its deliveries wait for the end of the lease.
        .setting("TENTERHOOK_LEASE", "18s")
        .setting("TENTERHOOK_POLICY_ATTEMPT_TIMEOUT", "2s")
}

async fn says(process: &Process, what: &str) {
    realtime::eventually(&format!("the log says: {what}"), async || {
        process.printed().contains(what)
    })
    .await;
}

/// Two servers under load, whose connections all go silent at once while new ones work.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_replaced_and_all_deliveries_end() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let relay = Relay::before(&database).await;
    let program = behind(&relay, &database, keys.path());
    let (one, other) = (program.serve().await.unwrap(), program.serve().await.unwrap());
    let callers = Callers::new(&one, SECRET);
    let receiver = receiver(200).await;
    for _ in 0..5 {
        create(&callers.user(), &receiver.url()).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = [&one, &other]
        .map(|process| {
            let (platform, stop) = (Callers::new(process, SECRET).platform(), stop.clone());
            realtime::spawn(async move {
                let (mut accepted, mut refused) = (0_usize, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    match platform.publish(&vec![deal_changed(); 5]).await {
                        Ok(publication) => accepted += publication.events.len(),
                        Err(refusal) => refused.push(refusal.to_string()),
                    }
                }
                (accepted, refused)
            })
        })
        .into();
    receiver.journal().wait_for(50).await;
    relay.silence();
    for process in [&one, &other] {
        says(process, "the database does not respond: a connection was silent").await;
        says(process, "the database responds again").await;
    }
    assert!(
        relay.passed.load(Ordering::SeqCst) > 0,
        "new connections are used"
    );
    let after = receiver.journal().len();
    receiver.journal().wait_for(after + 50).await;
    stop.store(true, Ordering::SeqCst);
    let mut accepted = 0;
    for publisher in publishers {
        let (some, refused) = publisher.await.unwrap();
        accepted += some;
        for refusal in refused {
            assert!(refusal.contains("UNAVAILABLE"), "{refusal}");
        }
    }
    assert!(accepted > 10);
    for process in [&one, &other] {
        process.caller(None).unwrap().until_ready().await.unwrap();
    }
    realtime::eventually("every accepted delivery ends", async || {
        let tally = callers.tally().await;
        tally.open == 0 && tally.is_conserved()
    })
    .await;
    for mut process in [one, other] {
        process.terminate().await.unwrap();
        assert!(process.ended().await.unwrap().success(), "{}", process.printed());
    }
}

/// No connection works any more. The server reports this, still responds, and stops when asked to.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_reported_and_the_server_can_stop() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let relay = Relay::before(&database).await;
    let mut process = behind(&relay, &database, keys.path()).serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    let receiver = receiver(200).await;
    create(&callers.user(), &receiver.url()).await;
    callers
        .platform()
        .publish(&vec![deal_changed(); 50])
        .await
        .unwrap();
    receiver.journal().wait_for(50).await;
    relay.silence_for_good();

    let refusal = callers.platform().publish_one(deal_changed()).await.unwrap_err();
    assert!(refusal.to_string().contains("UNAVAILABLE"), "{refusal}");
    let refusal = callers
        .user()
        .query(
            "{ viewer { userId } webhooks(first: 1) { totalCount } }",
            json!({}),
        )
        .await;
    assert!(refusal.unwrap_err().to_string().contains("UNAVAILABLE"));
    says(&process, "the database does not respond: a connection was silent").await;
    realtime::eventually("/readyz tells it", async || {
        let (status, said) = process.caller(None).unwrap().get("/readyz").await.unwrap();
        status == 503 && said.contains("the database has not responded for")
    })
    .await;
    let warnings = process
        .printed()
        .matches("a connection was silent for too long")
        .count();
    assert_eq!(warnings, 1, "told once:\n{}", process.printed());
    process.terminate().await.unwrap();
    assert!(process.ended().await.unwrap().success(), "{}", process.printed());
}

/// Commands end with an error message, whether the database is silent from the beginning or later.
#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_an_error_if_the_database_is_silent() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let relay = Relay::before(&database).await;
    let program = behind(&relay, &database, keys.path());

    // The command waits for another migration, for longer than it may.
    let lock = "select pg_advisory_lock(8386658469646862187), pg_sleep(600)";
    let held = realtime::spawn({
        let url = database.url(None);
        async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            realtime::spawn(connection);
            client.batch_execute(lock).await
        }
    });
    realtime::eventually("the lock is held", async || {
        let held = "select count(*) from pg_locks where locktype = 'advisory' and granted
                    and database = (select oid from pg_database where datname = current_database())";
        database.number(held).await.unwrap() > 0
    })
    .await;
    let output = program.command_instead("migrate").run().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("no response within 2s"),
        "{said}"
    );
    held.abort();

    relay.silence_for_good();
    for command in ["migrate", "doctor", "reseal", "distribute"] {
        let output = program.command_instead(command).run().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{command}: {said}");
        // Both limits have the same length, so either may be reported.
        let sentences = [
            "took longer than 5s (connect_timeout)",
            "no host responded within 5s",
        ];
        let said_so = sentences.iter().any(|sentence| said.contains(sentence));
        assert!(said_so, "{command}: {said}");
    }
}

/// `database_timeout` also applies to commands and to the checks before a server starts: a statement in progress when
/// the database goes silent fails after two seconds, not after 12 s.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_out_of_statements_holds_before_a_server_starts() {
    let (schema, simulated) = ("__diesel_schema_migrations", "settings");
    tokio::join!(
        gives_up("doctor", schema),
        gives_up("reseal", "webhooks"),
        gives_up("serve", schema),
        gives_up("serve", simulated),
    );
}

/// Locks a table, runs a command until it waits for the lock, and makes its connections silent.
async fn gives_up(command: &str, table: &str) {
    let cluster = Cluster::shared().await.expect("a cluster starts");
    let database = cluster.database().await.expect("a database can be made");
    let keys = folder();
    let relay = Relay::before(&database).await;
    let mut program = behind(&relay, &database, keys.path());
    let probed = receiver(200).await;
    program = match command {
        "serve" => program.setting("TENTERHOOK_CLOCK", "simulated"),
        "doctor" => program
            .command_instead(command)
            .argument("--probe")
            .argument(probed.url()),
        _ => program.command_instead(command),
    };
    let (client, connection) = tokio_postgres::connect(&database.url(None), tokio_postgres::NoTls)
        .await
        .expect("the database accepts connections");
    realtime::spawn(connection);
    let lock = format!("begin; lock table {table} in access exclusive mode");
    client
        .batch_execute(&lock)
        .await
        .expect("the table can be locked");
    let run = realtime::spawn(async move { program.run().await });
    realtime::eventually(&format!("{command} waits for {table}"), async || {
        let waiting = "select count(*) from pg_locks where not granted
                       and database = (select oid from pg_database where datname = current_database())";
        database.number(waiting).await.expect("locks can be counted") > 0
    })
    .await;
    relay.silence();
    let output = run
        .await
        .expect("the task ends")
        .expect("the command can be started");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success(), "{command}, {table}: {said}");
    assert!(
        said.contains("no response within 4s"),
        "{command}, {table}: {said}"
    );
}
