use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use diesel::sql_query;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tempfile::TempDir;

use super::*;

/// A folder that Postgres's user can enter, wherever the tests run.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    folder
}

fn options(data_dir: &Path) -> Options {
    let bin_dir = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    Options {
        data_dir: data_dir.to_owned(),
        durability: Durability::ForTests,
        bin_dir,
        max_connections: 20,
    }
}

async fn connect(postgres: &EmbeddedPostgres) -> AsyncPgConnection {
    AsyncPgConnection::establish(&postgres.url("postgres"))
        .await
        .unwrap()
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = Integer)]
    n: i32,
}

async fn count(postgres: &EmbeddedPostgres) -> i32 {
    let query = sql_query("SELECT count(*)::int AS n FROM kept");
    query
        .get_result::<Count>(&mut connect(postgres).await)
        .await
        .unwrap()
        .n
}

#[tokio::test]
async fn data_outlives_a_stop_and_a_drop() {
    let folder = folder();
    // Parents are created, and the caller need not quote a name for a connection string.
    let place = folder.path().join("it's/a place");
    let first = EmbeddedPostgres::start(options(&place)).await.unwrap();
    assert!(first.version().major >= OLDEST_MAJOR);
    assert!(first.binaries().join("initdb").is_file());
    assert_eq!(first.data_dir(), place);
    sql_query("CREATE TABLE kept AS SELECT 1 AS n")
        .execute(&mut connect(&first).await)
        .await
        .unwrap();
    first.stop().await.unwrap();

    let second = EmbeddedPostgres::start(options(&place)).await.unwrap();
    sql_query("INSERT INTO kept VALUES (2)")
        .execute(&mut connect(&second).await)
        .await
        .unwrap();
    // As when the process is killed: only the pipe stops Postgres, and the next start has to wait for its end.
    drop(second);

    let third = EmbeddedPostgres::start(options(&place)).await.unwrap();
    assert_eq!(count(&third).await, 2);
    third.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let folder = folder();
    let first = EmbeddedPostgres::start(options(folder.path())).await.unwrap();
    let error = EmbeddedPostgres::start(options(folder.path())).await.unwrap_err();
    assert!(
        matches!(&error, EmbeddedError::InUse { folder: named } if named == folder.path()),
        "{error}"
    );
    first.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_initdb_is_begun_again() {
    let folder = folder();
    let half = folder.path().join("postgres");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    fs::write(folder.path().join("initdb.incomplete"), "").unwrap();
    let postgres = EmbeddedPostgres::start(options(folder.path())).await.unwrap();
    connect(&postgres).await;
    assert!(!folder.path().join("initdb.incomplete").exists());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("postgres")).unwrap();
    fs::write(folder.path().join("postgres/PG_VERSION"), "9.6\n").unwrap();
    let error = EmbeddedPostgres::start(options(folder.path())).await.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::WrongVersion { written_by: 9, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn the_error_shows_what_postgres_says_about_bad_data() {
    let folder = folder();
    let postgres = EmbeddedPostgres::start(options(folder.path())).await.unwrap();
    postgres.stop().await.unwrap();
    fs::remove_file(folder.path().join("postgres/global/pg_control")).unwrap();
    let error = EmbeddedPostgres::start(options(folder.path())).await.unwrap_err();
    assert!(
        matches!(
            &error,
            EmbeddedError::Failed {
                program: "postgres",
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("could not find the database system"),
        "{error}"
    );
}

#[tokio::test]
async fn a_long_path_gets_its_socket_elsewhere() {
    let folder = folder();
    let postgres = EmbeddedPostgres::start(options(&folder.path().join("long".repeat(30))))
        .await
        .unwrap();
    connect(&postgres).await;
    let socket = postgres.folder.socket.clone();
    assert!(!socket.starts_with(folder.path()));
    postgres.stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_temporary_postgres_leaves_no_files() {
    let postgres = EmbeddedPostgres::temporary().await.unwrap();
    connect(&postgres).await;
    let folder = postgres.data_dir().to_owned();
    folder::sweep_temporary();
    assert!(folder.exists(), "one in use is not swept");
    postgres.stop().await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn abandoned_temporary_folders_are_removed() {
    let base = Folder::temporary(None).unwrap().path.clone();
    assert!(base.exists());
    folder::sweep_temporary();
    assert!(!base.exists());
}

/// On machines without a user "postgres", root drops to "nobody". Tests that do not run as root have nothing to drop.
#[tokio::test]
async fn root_may_drop_to_nobody() {
    if Account::for_postgres().unwrap().is_none() {
        return;
    }
    let folder = folder();
    let nobody = Account::named("nobody").unwrap();
    assert!(nobody.is_some());
    let postgres = EmbeddedPostgres::start_as(options(folder.path()), nobody)
        .await
        .unwrap();
    connect(&postgres).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_out_of_reach_is_named() {
    if Account::for_postgres().unwrap().is_none() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let error = EmbeddedPostgres::start(options(&closed.path().join("data")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, EmbeddedError::Unreachable { dir, .. } if dir == closed.path()),
        "{error}"
    );
}
