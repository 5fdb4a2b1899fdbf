//! The server processes: who is alive, what each knows of the changes feed, and the database's own time.

use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::{At, Time, statement, timestamp};
use super::{Conn, StoreError};

/// The database's own time: the one clock reading in SQL. `SystemClock` follows it, so that several processes
/// agree whatever their machines' clocks say.
const DATABASE_TIME: &str = "select clock_timestamp() as at";

#[derive(diesel::QueryableByName)]
struct AtRow {
    #[diesel(sql_type = At)]
    at: Time,
}

/// What time the database has.
pub async fn database_time(conn: &mut Conn) -> Result<Timestamp, StoreError> {
    Ok(timestamp(
        statement(DATABASE_TIME).get_result::<AtRow>(conn).await?.at,
    ))
}
