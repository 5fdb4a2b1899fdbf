//! Creates a backlog at once: events and open deliveries, as a publication leaves them when the server has no free
//! capacity.
//!
//! A million deliveries through the API would take minutes and would be delivered meanwhile. So this module writes into
//! the server's tables, as its `store/publish.rs` does for deliveries without a lease, with their tally. No other part
//! of the load does that. Each company's webhooks get all of its events.

use anyhow::ensure;
use tokio_postgres::{Client, NoTls};

use tenterhook_harness::realtime;

/// The fields of an event's object, about as large as in the examples of comparable products.
pub const PAYLOAD: &str = r#"{"id":8,"title":"A deal of a usual size","value":1200,"currency":"EUR","stage_id":3,"status":"open","owner_id":7,"org_id":11,"person_id":12,"probability":40,"expected_close_date":"2026-12-24","label":["hot","partner"],"add_time":"2026-11-01T10:00:00Z","update_time":"2026-11-26T10:00:00Z"}"#;

/// An id has the time of acceptance in milliseconds (UUID version 7).
const FILL: &str = "\
with companies as (
    select distinct lane, company from webhooks where removed_at is null and url like $1
), drafts as (
    select c.lane, c.company, n, date_trunc('milliseconds', clock_timestamp()) - make_interval(secs => n / 1000.0) as at
    from companies c cross join generate_series(1, $2::int) n
), made as (
    insert into events (lane, id, accepted_at, company, action, object, object_id, user_id, data, change_source,
                        is_bulk_edit, correlation_id)
    select lane,
           (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
            || '8' || substr(md5(random()::text), 1, 15))::uuid,
           at, company, 2, 'deal', n::text, 1, $3, 1, false, 'backlog'
    from drafts returning lane, id, company, accepted_at
), owed as (
    insert into deliveries (lane, webhook, event, generation, company, number, created_at, event_at, due_at, vis_at,
                            token)
    select m.lane, w.id, m.id, 0, m.company, 1, m.accepted_at, m.accepted_at, m.accepted_at, m.accepted_at, 0
    from made m join webhooks w on w.lane = m.lane and w.company = m.company and w.removed_at is null
    returning lane
), tallied as (
    insert into tallies (lane, node, accepted, succeeded, failed, lost, cancelled)
    select lane, 0, count(*), 0, 0, 0, 0 from owed group by lane
)
select count(*) from owed";

/// Creates `events` events with this data for each company whose webhooks' URLs begin with `prefix`. Returns the number
/// of deliveries.
///
/// # Errors
///
/// If the database cannot be reached, or its tables have changed since this was written.
pub async fn fill(database: &str, prefix: &str, events: u32, data: &str) -> anyhow::Result<u64> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
    realtime::spawn(async move { drop(connection.await) });
    let made = insert(&client, prefix, events, data).await?;
    client.batch_execute("analyze deliveries, events").await?;
    ensure!(made > 0, "no webhook leads to {prefix}");
    Ok(made)
}

async fn insert(client: &Client, prefix: &str, events: u32, data: &str) -> anyhow::Result<u64> {
    let pattern = format!("{prefix}%");
    let events = i32::try_from(events)?;
    let row = client.query_one(FILL, &[&pattern, &events, &data]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0))?)
}
