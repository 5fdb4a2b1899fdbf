//! Deletions that depend only on age.

use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::sql::{At, statement, time};
use super::{Conn, StoreError};

/// Foreign keys delete health and notices with the webhook's row; the history is deleted with its partitions. With `$2`, a
/// webhook is kept while the platform's endpoint has not received all notices about it.
const FORGET_WEBHOOKS: &str = "\
with gone as (
    delete from webhooks w
    where removed_at <= $1 and not ($2 and exists (select from notice_queues o where o.lane = w.lane and o.webhook = w.id
                                                   and o.vis_at is not null))
    returning lane, id
), unqueued as (
    delete from notice_queues q using gone g where q.lane = g.lane and q.webhook = g.id
)
delete from notices n using gone g where n.lane = g.lane and n.webhook = g.id";

const FORGET_KEYS: &str = "\
with replayed as (delete from replays where expires_at <= $1),
created as (delete from creations where expires_at <= $1)
delete from idempotency where expires_at <= $1";

/// A notice that waits for the platform's endpoint is kept: its queue refers to it.
const FORGET_RECOVERIES: &str = "\
delete from notices n where n.kind = 7 and n.at <= $1
and not exists (select from notice_queues q where q.lane = n.lane and q.webhook = n.webhook and q.vis_at is not null)";

/// Deletes notices of recoveries at or before `recovered_by`. A receiver that fails now and then recovers each time, so their
/// number grows with that of attempts, and not with that of bans and warnings.
pub async fn forget_recoveries(conn: &mut Conn, recovered_by: Timestamp) -> Result<(), StoreError> {
    statement(FORGET_RECOVERIES)
        .bind::<At, _>(time(recovered_by))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes webhooks that were removed at or before `removed_by` (W12). With `keep_owed`, those with undelivered notices for
/// the platform's endpoint are kept (R4).
pub async fn forget_webhooks(
    conn: &mut Conn,
    removed_by: Timestamp,
    keep_owed: bool,
) -> Result<(), StoreError> {
    statement(FORGET_WEBHOOKS)
        .bind::<At, _>(time(removed_by))
        .bind::<Bool, _>(keep_owed)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes idempotency keys that have expired at `now`: of publications (E1), replays (D12) and creations.
pub async fn forget_keys(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    statement(FORGET_KEYS)
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    Ok(())
}
