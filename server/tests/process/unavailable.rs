//! A database that is reachable but cannot do its work: it accepts no writes, a table is locked, or connections are
//! terminated.

use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::database::{Cluster, Database};
use tenterhook_harness::realtime;
use tokio_postgres::NoTls;

use super::callers::{Callers, SECRET, folder, production};

/// Sets whether the database accepts writes, for new connections; terminates existing ones.
async fn take_writes(database: &Database, writes: bool) {
    let value = if writes { "off" } else { "on" };
    database
        .execute(&format!(
            "begin read write;
             do $$ begin execute format('alter database %I set default_transaction_read_only = {value}',
                                        current_database()); end $$;
             commit"
        ))
        .await
        .expect("what the test stands on can be made");
    database
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await
        .expect("what the test stands on can be made");
}

/// SQLSTATE 25006 counts as an unavailable database, for every operation. `/readyz`, the log and starting commands name
/// the reason. No connection from that time is used afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_reported_as_unavailable() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None));
    let process = program.serve().await.unwrap();
    let user = Callers::new(&process, SECRET).user();
    let probe = process.caller(None).unwrap();
    take_writes(&database, false).await;
    realtime::eventually("/readyz says that the database is read-only", async || {
        let (status, said) = probe.get("/readyz").await.unwrap();
        assert_eq!(status, 503, "{said}");
        assert!(!said.contains("behind"), "{said}");
        said == "the database is read-only: it refuses changes\n"
    })
    .await;
    for n in 0..20 {
        let refusal = user
            .create_webhook(NewWebhook::to(&format!("http://127.0.0.1:9/{n}")))
            .await;
        let said = refusal.unwrap_err().to_string();
        assert!(said.contains("UNAVAILABLE"), "{said}");
    }
    for command in ["serve", "migrate", "doctor"] {
        let output = program.command_instead(command).run().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{command}");
        assert!(
            said.contains("the database is read-only: set default_transaction_read_only to off"),
            "{command}: {said}"
        );
    }
    take_writes(&database, true).await;
    realtime::eventually("it takes webhooks again", async || {
        user.create_webhook(NewWebhook::to("http://127.0.0.1:9/"))
            .await
            .is_ok()
    })
    .await;
    probe.until_ready().await.unwrap();
    let printed = process.printed();
    for told in [
        "the database is read-only: it refuses changes (SQLSTATE 25006)",
        "the database accepts changes again",
    ] {
        assert_eq!(printed.matches(told).count(), 1, "{told}:\n{printed}");
    }
    let heartbeat = printed.lines().find(|line| line.contains("no heartbeat"));
    if let Some(line) = heartbeat {
        assert!(!line.contains("cannot be reached"), "{line}");
    }
}

/// SQLSTATE 57014: Postgres cancels a statement that waits too long for a lock on a table.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_is_reported_as_unavailable() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let process = production(keys.path(), &database.url(None))
        .setting("TENTERHOOK_DATABASE_TIMEOUT", "1s")
        .serve()
        .await
        .unwrap();
    let (client, connection) = tokio_postgres::connect(&database.url(None), NoTls).await.unwrap();
    realtime::spawn(connection);
    client.batch_execute("begin; lock table webhooks").await.unwrap();
    let user = Callers::new(&process, SECRET).user();
    let asked = "{ webhooks(first: 1) { totalCount } }";
    let said = user.query(asked, json!({})).await.unwrap_err().to_string();
    assert!(said.contains("UNAVAILABLE"), "{said}");
    client.batch_execute("rollback").await.unwrap();
    user.query(asked, json!({})).await.unwrap();
}
