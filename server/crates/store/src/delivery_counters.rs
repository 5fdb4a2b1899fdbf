//! The two sides of D7: the accepted deliveries, and their results.
//!
//! Counted in the same transactions that change deliveries: each appends one row, so that no two transactions wait for a
//! counter. Folding keeps the number of rows small. Dropping history does not change the sums.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::RunQueryDsl;

use super::sql::statement;
use super::{Conn, StoreError};
use tenterhook_model::ids::NodeId;

/// Numbers of deliveries by result. At any moment accepted = succeeded + failed + lost + cancelled + open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Created, including lost ones.
    pub accepted: i64,
    /// Ended with a 2xx.
    pub succeeded: i64,
    /// Ended with the last retry.
    pub failed: i64,
    /// Due during a ban or pause.
    pub lost: i64,
    /// Ended by the webhook's removal.
    pub cancelled: i64,
    /// Not ended: rows of `deliveries`. For a single process 0, because any process may end a delivery that another
    /// accepted.
    pub open: i64,
}

/// All numbers come from one snapshot, so that the equation holds in every read.
const READ: &str = "\
select t.accepted, t.succeeded, t.failed, t.lost, t.cancelled, d.open
from (select coalesce(sum(accepted), 0)::bigint as accepted, coalesce(sum(succeeded), 0)::bigint as succeeded,
             coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(lost), 0)::bigint as lost,
             coalesce(sum(cancelled), 0)::bigint as cancelled
      from tallies where $1 or node = $2) t
cross join (select count(*) as open from deliveries where $1) d";

/// Rows are folded to one per lane and process. A row that is appended at the same time is not seen, and stays.
const FOLD: &str = "\
with taken as (
    delete from tallies returning lane, node, accepted, succeeded, failed, lost, cancelled
)
insert into tallies as t (lane, node, accepted, succeeded, failed, lost, cancelled)
select lane, node, sum(accepted), sum(succeeded), sum(failed), sum(lost), sum(cancelled)
from taken group by lane, node";

#[derive(QueryableByName)]
struct TallyRow {
    #[diesel(sql_type = BigInt)]
    accepted: i64,
    #[diesel(sql_type = BigInt)]
    succeeded: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
    #[diesel(sql_type = BigInt)]
    lost: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
    #[diesel(sql_type = BigInt)]
    open: i64,
}

/// The numbers of all processes together, from one snapshot.
pub async fn all(conn: &mut Conn) -> Result<Tally, StoreError> {
    read(conn, None).await
}

/// The numbers of this process since it started.
pub async fn of(conn: &mut Conn, node: NodeId) -> Result<Tally, StoreError> {
    read(conn, Some(node)).await
}

async fn read(conn: &mut Conn, node: Option<NodeId>) -> Result<Tally, StoreError> {
    let row: TallyRow = statement(READ)
        .bind::<Bool, _>(node.is_none())
        .bind::<BigInt, _>(node.map_or(0, |node| node.0))
        .get_result(conn)
        .await?;
    let TallyRow {
        accepted,
        succeeded,
        failed,
        lost,
        cancelled,
        open,
    } = row;
    Ok(Tally {
        accepted,
        succeeded,
        failed,
        lost,
        cancelled,
        open,
    })
}

/// Folds the appended rows to one per lane and process. If two processes fold at once, the second waits and finds nothing
/// left.
pub async fn fold(conn: &mut Conn) -> Result<(), StoreError> {
    statement(FOLD).execute(conn).await?;
    Ok(())
}
