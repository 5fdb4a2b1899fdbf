//! With a real Postgres: the meaning of its codes, and the handling of a connection that does not answer.

use std::sync::Arc;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::RunQueryDsl;
use jiff::civil::date;
use rstest::rstest;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::preconditions::{self, Unusable};
use crate::sql::statement;
use crate::testing::{database, empty_database};
use crate::{Sessions, Store, StoreError};
use tenterhook_clock as clock;

/// Enough time for anything that answers.
const LONG: Duration = Duration::from_secs(60);
/// Longer than anything that answers takes on a machine under full load.
const SHORT: Duration = Duration::from_secs(2);

fn pool(url: &str, connections: usize, limits: Limits) -> Store {
    Store::open(
        url,
        connections,
        Sessions { limits, reads: false },
        Arc::default(),
    )
    .unwrap()
}

#[derive(diesel::QueryableByName)]
struct Pid {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// The statement stays prepared. Otherwise the driver would later tell Postgres to forget it, and receive one more reply.
async fn pid(conn: &mut Conn) -> Result<i32, StoreError> {
    let row: Pid = statement("select pg_backend_pid() as pid")
        .get_result(conn)
        .await?;
    Ok(row.pid)
}

/// Fails with this code and a message without English words, as a cluster in another language does.
async fn raise(conn: &mut Conn, code: &str, prepared: bool) -> StoreError {
    let function = "create or replace function pg_temp.raised(code text) returns int language plpgsql as
        $$ begin raise exception using errcode = code, message = 'Vorgang abgebrochen: Verklemmung'; end $$";
    conn.batch_execute(function).await.unwrap();
    let call = format!("select pg_temp.raised('{code}') as pid");
    let error = match prepared {
        true => diesel::sql_query(call).get_result::<Pid>(conn).await.map(drop),
        false => conn.batch_execute(&call).await,
    };
    error.unwrap_err().into()
}

/// The SQLSTATE alone decides, whatever the message, and however the statement was sent.
#[rstest]
#[case("40P01", true, false, true)]
#[case("40001", true, false, true)]
#[case("57014", false, true, true)]
#[case("55P03", false, true, true)]
#[case("57P01", false, true, false)]
#[case("57P02", false, true, false)]
#[case("57P03", false, true, false)]
#[case("25006", false, true, false)]
#[case("53300", false, true, false)]
#[case("53100", false, true, false)]
#[case("08006", false, true, false)]
#[case("22021", false, false, true)]
#[case("P0001", false, false, true)]
#[case("23505", false, false, true)]
#[tokio::test(flavor = "multi_thread")]
async fn the_sqlstate_alone_classifies_an_error(
    #[case] code: &str,
    #[case] transient: bool,
    #[case] unavailable: bool,
    #[case] usable: bool,
) {
    let url = empty_database().await;
    for prepared in [true, false] {
        let store = pool(&url, 1, Limits::default());
        let mut conn = store.conn().await.unwrap();
        let before = pid(&mut conn).await.unwrap();
        let error = raise(&mut conn, code, prepared).await;
        assert_eq!(
            (error.is_transient(), error.is_unavailable()),
            (transient, unavailable),
            "{error:?}"
        );
        assert_eq!(error.is_timed_out(), unavailable && usable, "{error:?}");
        assert_eq!(error.is_away(), unavailable && !usable, "{error:?}");
        assert_eq!(error.is_locked_out(), code == "55P03", "{error:?}");
        assert!(error.to_string().contains("Verklemmung"), "{error}");
        assert_eq!(conn.is_given_up(), !usable);
        assert_eq!(store.refused_changes(), code == "25006");
        store.takes_changes();
        assert!(!store.refused_changes());
        drop(conn);
        let mut conn = store.conn().await.unwrap();
        assert_eq!(pid(&mut conn).await.unwrap() == before, usable);
    }
}

/// Shows what [`StoreError::is_transient`] is for: the transaction is run again and succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_with_a_deadlock_is_run_again_in_any_language() {
    let store = pool(&empty_database().await, 1, Limits::default());
    let runs = std::sync::atomic::AtomicU32::new(0);
    let result = store
        .in_tx(async |conn| {
            if runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                return Err(raise(conn, "40P01", true).await);
            }
            pid(conn).await
        })
        .await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(runs.into_inner(), 2);
}

/// Postgres's own errors when it ends a statement or a connection, or accepts no writes.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_postgres_ends_fail_as_unavailable() {
    let (store, url) = database(date(2026, 11, 30)..=date(2026, 11, 30)).await;
    let late = pool(&url, 1, Limits::of(SHORT));
    let mut conn = late.conn().await.unwrap();
    let error: StoreError = conn
        .batch_execute("select pg_sleep(60)")
        .await
        .unwrap_err()
        .into();
    assert!(
        error.is_unavailable() && error.to_string().contains("57014"),
        "{error}"
    );
    assert!(!conn.is_given_up());

    let mut other = store.conn().await.unwrap();
    let victim = pid(&mut conn).await.unwrap();
    let killed = format!("select pg_terminate_backend({victim})");
    diesel::sql_query(killed).execute(&mut other).await.unwrap();
    let error = pid(&mut conn).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(conn.is_given_up());
    drop(conn);
    assert_ne!(pid(&mut late.conn().await.unwrap()).await.unwrap(), victim);

    conn = late.conn().await.unwrap();
    conn.batch_execute("set default_transaction_read_only = on")
        .await
        .unwrap();
    assert!(matches!(
        preconditions::check(&mut conn).await,
        Err(StoreError::Unusable(Unusable::ReadOnly))
    ));
    let error: StoreError = conn
        .batch_execute("insert into settings values ('a', 'b')")
        .await
        .unwrap_err()
        .into();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(conn.is_given_up());
    assert!(preconditions::check(&mut other).await.is_ok());
}

/// The connection stops responding in a statement, at the beginning of a transaction, or while rows are read.
#[rstest]
#[case("select 1 as pid, pg_sleep(600)")]
#[case(
    "select case when n > 100000 then length(pg_sleep(600)::text) else n end as pid from generate_series(1, 200000) n"
)]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_respond_is_given_up(#[case] asked: &str) {
    let url = empty_database().await;
    let limits = Limits {
        database: None,
        ours: SHORT,
    };
    let pulse = Arc::<Pulse>::default();
    let store = Store::open(&url, 2, Sessions { limits, reads: false }, pulse.clone()).unwrap();
    let (mut silent, mut idle) = (store.conn().await.unwrap(), store.conn().await.unwrap());
    let of_idle = pid(&mut idle).await.unwrap();
    drop(idle);
    let error: StoreError = diesel::sql_query(asked)
        .load::<Pid>(&mut silent)
        .await
        .map(drop)
        .unwrap_err()
        .into();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(silent.is_given_up() && store.silence().is_some());
    // Later statements fail at once, so a rollback does not wait.
    let error = pid(&mut silent).await.unwrap_err();
    assert!(error.to_string().contains("closed before"), "{error}");
    drop(silent);
    // The other connection has received nothing since: perhaps it does not answer either.
    assert_ne!(pid(&mut store.conn().await.unwrap()).await.unwrap(), of_idle);
    assert!(store.silence().is_none());
}

/// Waiting for a connection ends too.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_free_connection_ends() {
    let limits = Limits {
        database: None,
        ours: SHORT,
    };
    let store = pool(&empty_database().await, 1, limits);
    let held = store.conn().await.unwrap();
    let error = store.conn().await.map(drop).unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    drop(held);
    assert!(store.conn().await.is_ok());
}

/// A server that accepts a connection but sends nothing, before or after the handshake.
#[rstest]
#[case("sslmode=require")]
#[case("sslmode=disable")]
#[tokio::test(flavor = "multi_thread")]
async fn connecting_to_a_silent_server_ends(#[case] mode: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = clock::spawn_io(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Ends when the client gives up.
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).await.unwrap();
        asked.len()
    });
    let url = format!("postgres://u@127.0.0.1:{port}/d?connect_timeout=1&{mode}");
    let error = pool(&url, 1, Limits::of(LONG))
        .conn()
        .await
        .map(drop)
        .unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(
        error.to_string().contains("longer than 1s (connect_timeout)"),
        "{error}"
    );
    assert!(silent.await.unwrap() > 0);
}

/// A transaction that a client has left open does not keep its locks.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_ends_an_idle_transaction() {
    let (store, url) = database(date(2026, 11, 30)..=date(2026, 11, 30)).await;
    let gone = pool(&url, 1, Limits::of(SHORT));
    let mut conn = gone.conn().await.unwrap();
    conn.batch_execute("begin; lock table webhooks").await.unwrap();
    let mut other = store.conn().await.unwrap();
    other
        .batch_execute("begin; lock table webhooks; rollback")
        .await
        .unwrap();
    let error = pid(&mut conn).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
}

/// The kinds that Diesel assigns stay unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_keep_their_kind_and_name() {
    let (store, _) = database(date(2026, 11, 30)..=date(2026, 11, 30)).await;
    let mut conn = store.conn().await.unwrap();
    let insert = "insert into settings values ('twice', '1')";
    conn.batch_execute(insert).await.unwrap();
    match conn.batch_execute(insert).await {
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info)) => {
            assert_eq!(info.table_name(), Some("settings"));
        }
        other => panic!("{other:?}"),
    }
}

/// A standby responds, and no server of the connection string accepts changes.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_servers_are_recognised_without_a_statement() {
    let url = empty_database().await;
    let read_only = format!("{url} options='-c default_transaction_read_only=on'");
    let store = pool(&read_only, 1, Limits::default());
    let mut conn = store.conn().await.unwrap();
    assert!(store.is_read_only(&mut conn).await.unwrap());
    assert!(!store.refused_changes(), "it was asked and has refused nothing");
    let error = conn.batch_execute("create table t (n int)").await.unwrap_err();
    assert!(StoreError::from(error).is_unavailable());
    assert!(store.refused_changes());

    let store = pool(
        &format!("{read_only} target_session_attrs=read-write"),
        1,
        Limits::default(),
    );
    let error = store.conn().await.err().unwrap().to_string();
    assert!(error.contains("the server is read-only"), "{error}");
    assert!(store.refused_changes());
    let store = pool(
        &format!("{url} target_session_attrs=read-write"),
        1,
        Limits::default(),
    );
    let mut conn = store.conn().await.unwrap();
    assert!(!store.is_read_only(&mut conn).await.unwrap() && !store.refused_changes());
}
