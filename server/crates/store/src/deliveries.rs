//! Reads deliveries from all tables: open ones in the queue, ended ones in the history.
//!
//! Guarantees: one list over the three tables. A delivery is in the queue until the transaction that ends it, and from then
//! on in exactly one of the two histories. Lists are read webhook by webhook along an index, so that a webhook with millions
//! of deliveries does not hide one with few. They are newest first: by the time when a delivery was created, then by event.

pub mod attempts;
pub mod replay;
pub mod replay_idempotency;
mod sources;

use std::collections::HashMap;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::{SignedDuration, Timestamp};

use super::sql::page::{Direction, Slice, Window};
use super::sql::query_builder::QueryBuilder;
use super::sql::{At, Ats, MaybeAt, Time, maybe_timestamp, time, timestamp, unknown};
use super::webhooks::visibility::{Cutoffs, readable, within};
use super::{Conn, StoreError};
use tenterhook_model::access::WebhookScope;
use tenterhook_model::delivery::{Delivery, DeliveryReason, DeliveryStatus};
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, WebhookId, WebhookKey};
use tenterhook_model::time::after;

/// Which deliveries of the selected webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DeliveryQuery {
    /// Only with these statuses; `None` means any.
    pub statuses: Option<Vec<DeliveryStatus>>,
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only created at or after this time.
    pub since: Option<Timestamp>,
    /// Only created before this time.
    pub until: Option<Timestamp>,
}

/// The selected webhooks: all that the scope includes, or only one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// What the caller sees.
    pub scope: WebhookScope,
    /// The time of reading, and the limits that follow from it.
    pub cutoffs: Cutoffs,
    /// Only of this webhook.
    pub webhook: Option<WebhookKey>,
}

/// The position of a delivery in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryPlace {
    /// When it was created.
    pub created_at: Timestamp,
    /// The delivery's key.
    pub key: DeliveryKey,
}

impl DeliveryPlace {
    /// The position of a delivery.
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            created_at: delivery.created_at,
            key: delivery.key,
        }
    }
}

#[derive(QueryableByName)]
struct DeliveryRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: uuid::Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: uuid::Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = At)]
    created_at: Time,
    #[diesel(sql_type = SmallInt)]
    status: i16,
    #[diesel(sql_type = Nullable<SmallInt>)]
    reason: Option<i16>,
    #[diesel(sql_type = MaybeAt)]
    next_attempt_at: Option<Time>,
    #[diesel(sql_type = MaybeAt)]
    finished_at: Option<Time>,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let reason =
            |code| DeliveryReason::from_code(code).ok_or_else(|| unknown("outcomes", "reason", code));
        Ok(Self {
            key: DeliveryKey {
                lane: Lane(row.lane),
                webhook: WebhookId(row.webhook),
                event: EventId(row.event),
                generation: row.generation,
            },
            company: CompanyId::new(row.company)
                .map_err(|_| unknown("deliveries", "company", row.company))?,
            status: DeliveryStatus::from_code(row.status)
                .ok_or_else(|| unknown("outcomes", "status", row.status))?,
            reason: row.reason.map(reason).transpose()?,
            created_at: timestamp(row.created_at),
            next_attempt_at: maybe_timestamp(row.next_attempt_at),
            finished_at: maybe_timestamp(row.finished_at),
        })
    }
}

/// How far back from its beginning a page is searched first. That is nearly always enough, in one or two of the day
/// partitions. For a webhook with few deliveries a second query searches all of them.
const RECENT: SignedDuration = SignedDuration::from_hours(24);
/// By how much an attempt may seem to end before its delivery was created, because the clocks of two processes differ.
const CLOCKS_APART: Duration = Duration::from_secs(60 * 60);

/// The earliest end of deliveries that the first search for a page includes; `None` if that would gain nothing.
fn recent(query: &DeliveryQuery, cutoffs: &Cutoffs, window: &Window<DeliveryPlace>) -> Option<Timestamp> {
    if window.from_end || query.since.is_some() || query.event.is_some() || !sources::may_have_ended(query) {
        return None;
    }
    let after = window.after.map(|place| place.created_at);
    let newest = [after, query.until]
        .into_iter()
        .flatten()
        .fold(cutoffs.now, Timestamp::min);
    newest.checked_sub(RECENT).ok()
}

/// Whether no older row belongs to the window: it is full, and anything that ended before `since` was created before its
/// last row.
fn are_whole(rows: &[DeliveryRow], window: &Window<DeliveryPlace>, since: Timestamp) -> bool {
    let made_by = after(since, CLOCKS_APART);
    let is_full = rows.len() as i64 == window.limit();
    is_full
        && rows
            .last()
            .is_some_and(|last| timestamp(last.created_at) > made_by)
}

/// A page of deliveries over all selected webhooks.
pub async fn page(
    conn: &mut Conn,
    owners: &Owners,
    query: &DeliveryQuery,
    window: &Window<DeliveryPlace>,
) -> Result<Slice<Delivery>, StoreError> {
    let ended_since = |since: Option<Timestamp>| {
        QueryBuilder::new("select x.* from webhooks w cross join lateral (")
            .with(|statement| sources::of_webhook(statement, query, &owners.cutoffs, since, Some(window)))
            .sql(") x where ")
            .with(|statement| owned(statement, owners))
            .with(|statement| ordered(statement, window))
            .sql(format!(" limit {}", window.limit()))
            .query()
    };
    let mut rows: Vec<DeliveryRow> = Vec::new();
    let since = recent(query, &owners.cutoffs, window);
    if since.is_some() {
        rows = ended_since(since).load(conn).await?;
    }
    if !since.is_some_and(|since| are_whole(&rows, window, since)) {
        rows = ended_since(None).load(conn).await?;
    }
    Ok(window.cut(
        rows.into_iter()
            .map(Delivery::try_from)
            .collect::<Result<_, _>>()?,
    ))
}

/// The number of these deliveries.
pub async fn count(conn: &mut Conn, owners: &Owners, query: &DeliveryQuery) -> Result<i64, StoreError> {
    let statement = QueryBuilder::new("select count(*) as count from webhooks w cross join lateral (")
        .with(|statement| sources::of_webhook(statement, query, &owners.cutoffs, None, None))
        .sql(") x where ")
        .with(|statement| owned(statement, owners));
    Ok(statement.query().get_result::<CountRow>(conn).await?.count)
}

/// The same page for each of these webhooks.
pub async fn page_of_each(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    query: &DeliveryQuery,
    cutoffs: &Cutoffs,
    window: &Window<DeliveryPlace>,
) -> Result<HashMap<WebhookId, Slice<Delivery>>, StoreError> {
    let mut found = HashMap::new();
    let mut wanted = webhooks.to_vec();
    if let Some(since) = recent(query, cutoffs, window) {
        found = rows_of_each(conn, &wanted, query, cutoffs, Some(since), window).await?;
        found.retain(|_, rows| are_whole(rows, window, since));
        wanted.retain(|(_, id)| !found.contains_key(id));
    }
    if !wanted.is_empty() {
        found.extend(rows_of_each(conn, &wanted, query, cutoffs, None, window).await?);
    }
    let slice = |rows: Vec<DeliveryRow>| -> Result<Slice<Delivery>, StoreError> {
        let deliveries = rows.into_iter().map(Delivery::try_from);
        Ok(window.cut(deliveries.collect::<Result<_, _>>()?))
    };
    found
        .into_iter()
        .map(|(id, rows)| Ok((id, slice(rows)?)))
        .collect()
}

async fn rows_of_each(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    query: &DeliveryQuery,
    cutoffs: &Cutoffs,
    ended_since: Option<Timestamp>,
    window: &Window<DeliveryPlace>,
) -> Result<HashMap<WebhookId, Vec<DeliveryRow>>, StoreError> {
    let statement = of_each("select x.*", webhooks)
        .with(|statement| sources::of_webhook(statement, query, cutoffs, ended_since, Some(window)))
        .sql(") x")
        .with(|statement| ordered(statement, window));
    let rows: Vec<DeliveryRow> = statement.query().load(conn).await?;
    let mut found: HashMap<WebhookId, Vec<DeliveryRow>> =
        webhooks.iter().map(|(_, id)| (*id, Vec::new())).collect();
    for row in rows {
        found.entry(WebhookId(row.webhook)).or_default().push(row);
    }
    Ok(found)
}

/// The number of deliveries of each of these webhooks; a webhook without any is missing.
pub async fn count_of_each(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    query: &DeliveryQuery,
    cutoffs: &Cutoffs,
) -> Result<HashMap<WebhookId, i64>, StoreError> {
    let statement = of_each("select w.id as webhook, count(*) as count", webhooks)
        .with(|statement| sources::of_webhook(statement, query, cutoffs, None, None))
        .sql(") x group by w.id");
    let rows: Vec<WebhookCountRow> = statement.query().load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (WebhookId(row.webhook), row.count))
        .collect())
}

#[derive(QueryableByName)]
struct WebhookCountRow {
    #[diesel(sql_type = SqlUuid)]
    webhook: uuid::Uuid,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The deliveries at these positions that exist and are not past their retention, of webhooks within the scope.
pub async fn find(
    conn: &mut Conn,
    places: &[DeliveryPlace],
    scope: &WebhookScope,
    cutoffs: &Cutoffs,
) -> Result<Vec<Delivery>, StoreError> {
    let statement = QueryBuilder::new("select x.* from unnest(")
        .value::<Array<Integer>, _>(places.iter().map(|place| place.key.lane.0).collect::<Vec<_>>())
        .sql("::int[], ")
        .value::<Array<SqlUuid>, _>(places.iter().map(|place| place.key.webhook.0).collect::<Vec<_>>())
        .sql("::uuid[], ")
        .value::<Array<SqlUuid>, _>(places.iter().map(|place| place.key.event.0).collect::<Vec<_>>())
        .sql("::uuid[], ")
        .value::<Array<Integer>, _>(
            places
                .iter()
                .map(|place| place.key.generation)
                .collect::<Vec<_>>(),
        )
        .sql("::int[], ")
        .value::<Ats, _>(
            places
                .iter()
                .map(|place| time(place.created_at))
                .collect::<Vec<_>>(),
        )
        .sql(
            "::timestamptz[]) as k(lane, webhook, event, generation, created_at)
             join webhooks w on w.lane = k.lane and w.id = k.webhook cross join lateral (",
        );
    let owners = Owners {
        scope: scope.clone(),
        cutoffs: *cutoffs,
        webhook: None,
    };
    let rows: Vec<DeliveryRow> = sources::at_places(statement)
        .sql(") x where ")
        .with(|statement| owned(statement, &owners))
        .query()
        .load(conn)
        .await?;
    // Not in the statement: there a second bound on the end could make the index over ends seem as good as the one by place.
    let dropped = EventId::last_of(cutoffs.event_dropped);
    let is_kept = |row: &DeliveryRow| {
        let finished_at = maybe_timestamp(row.finished_at);
        finished_at.is_none_or(|at| at > cutoffs.history && EventId(row.event) > dropped)
    };
    let rows = rows.into_iter().filter(is_kept);
    rows.map(Delivery::try_from).collect()
}

fn owned(statement: QueryBuilder, owners: &Owners) -> QueryBuilder {
    let statement = within(statement, &owners.scope).sql(" and ");
    let statement = readable(statement, &owners.cutoffs);
    match owners.webhook {
        Some((lane, id)) => statement
            .sql(" and w.lane = ")
            .value::<Integer, _>(lane.0)
            .sql(" and w.id = ")
            .value::<SqlUuid, _>(id.0),
        None => statement,
    }
}

fn of_each(select: &str, webhooks: &[WebhookKey]) -> QueryBuilder {
    let (lanes, ids): (Vec<i32>, Vec<uuid::Uuid>) = webhooks.iter().map(|(lane, id)| (lane.0, id.0)).unzip();
    QueryBuilder::new(format!("{select} from unnest("))
        .value::<Array<Integer>, _>(lanes)
        .sql("::int[], ")
        .value::<Array<SqlUuid>, _>(ids)
        .sql("::uuid[]) as w(lane, id) cross join lateral (")
}

fn ordered(statement: QueryBuilder, window: &Window<DeliveryPlace>) -> QueryBuilder {
    let keyword = Direction::Descending.queried(window).keyword();
    statement.sql(format!(
        " order by x.created_at {keyword}, x.event {keyword}, x.webhook {keyword}, x.generation {keyword}"
    ))
}

#[cfg(test)]
mod tests;
