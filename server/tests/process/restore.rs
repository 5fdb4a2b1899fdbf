//! A backup of the database, restored into another cluster.

use tenterhook_embedded_postgres::EmbeddedPostgres;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::realtime;
use tenterhook_lab::process::Program;

use super::callers::{Callers, SECRET, create, deal_changed, folder, production, receiver};

/// A dump restored into another cluster, whose transaction ids start from the beginning: a server on it makes the
/// retries that were due, opens the secrets with the same key, has the counter, and continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_continues_on_a_dump_restored_into_another_cluster() {
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
