//! One bad item among many: the database refuses it, and nothing else may be affected.
//!
//! Triggers in the test's own database decide which item is bad: the API cannot know it, and Postgres refuses it for
//! real, in the statement or only when the transaction commits.

mod claims;
mod lease_release;
mod locks;
mod publishing;
mod results;
mod subscribers;
mod transitions;

use std::time::Duration;

use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use super::*;
use tenterhook_store::Conn;

/// Time-out of statements of a server under [`impatient`].
const SHORT: Duration = Duration::from_secs(2);

impl World {
    /// Runs statements in the test's database.
    async fn sql(&self, statements: &str) {
        let mut conn = self.store.conn().await.unwrap();
        conn.batch_execute(statements).await.unwrap();
    }

    /// Number of rows in `from`.
    async fn rows(&self, from: &str) -> i64 {
        testing::count(&mut self.store.conn().await.unwrap(), from).await
    }

    /// Checks D7 on the tables.
    async fn assert_conserved(&self) {
        let tally = tenterhook_store::delivery_counters::all(&mut self.store.conn().await.unwrap())
            .await
            .unwrap();
        let ended = tally.succeeded + tally.failed + tally.lost + tally.cancelled;
        assert_eq!(tally.accepted, ended + tally.open, "{tally:?}");
    }

    /// Refuses rows of a table for which `condition` holds, in the statement or, if `late`, at the commit.
    async fn refuse(&self, table: &str, on: &str, condition: &str, sqlstate: &str, late: bool) {
        let (kind, when) = if late {
            ("constraint trigger", "after")
        } else {
            ("trigger", "before")
        };
        let deferred = if late { "deferrable initially deferred" } else { "" };
        self.sql(&format!(
            "create or replace function refuse_{table}() returns trigger language plpgsql as $$
             begin
                 if {condition} then raise exception 'a bad row of {table}' using errcode = '{sqlstate}'; end if;
                 return new;
             end $$;
             create {kind} refused {when} {on} on {table} {deferred} for each row execute function refuse_{table}()"
        ))
        .await;
    }

    async fn refuse_no_more(&self, table: &str) {
        self.sql(&format!("drop trigger refused on {table}")).await;
    }

    /// The webhook's id in the tables.
    async fn row_id(&self, url: &str) -> String {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            id: String,
        }
        let text = format!("select id::text as id from webhooks where url like '{url}%'");
        let query = diesel::sql_query(text);
        let mut conn = self.store.conn().await.unwrap();
        let row: Row = diesel_async::RunQueryDsl::get_result(query, &mut conn)
            .await
            .unwrap();
        row.id
    }

    /// Locks the rows that `rows` selects, and returns their number.
    async fn lock(&self, rows: &str) -> (Lock, usize) {
        let mut conn = Conn::establish(&self.url).await.unwrap();
        conn.batch_execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; begin")
            .await
            .unwrap();
        let locked = diesel::sql_query(format!("select from {rows} for update"));
        let count = diesel_async::RunQueryDsl::execute(locked, &mut conn)
            .await
            .unwrap();
        (Lock(conn), count)
    }

    /// Creates webhooks for all events at one receiver; returns their ids in the tables.
    async fn webhooks(&self, receiver: &MockServer, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for number in 0..count {
            let url = format!("{}/{number}/", receiver.uri());
            self.webhook(&self.user(1, 7), json!({ "subscriptionUrl": url }))
                .await;
            ids.push(self.row_id(&url).await);
        }
        ids
    }
}

/// A server whose statements time out soon, and which bans no webhook.
async fn impatient() -> World {
    World::within(
        StatementLimits::of(SHORT),
        unbanned(),
        ConnectionCaps::default(),
        None::<fn(Transport) -> NoticeEndpoint>,
    )
    .await
}

/// Settings under which no webhook is banned.
fn unbanned() -> Settings {
    let mut settings = Settings::development();
    settings.policy.ban_threshold = 1_000;
    settings
}

/// A session that keeps rows locked until it is dropped.
struct Lock(Conn);

impl Lock {
    async fn release(mut self) {
        self.0.batch_execute("rollback").await.unwrap();
    }
}

/// A receiver that responds to everything with this status and body.
async fn saying(status: u16, body: &str) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(status).set_body_string(body))
        .mount(&server)
        .await;
    server
}
