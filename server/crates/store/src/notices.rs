//! Reads notices (R4). [`super::health`] writes them, in the transaction of their transition.
//!
//! Guarantees: everyone who may see a webhook also sees its notices, for the same time. They are newest first: by the time
//! of the transition, then by id, which the writer ranks.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::sql::page::{Direction, Slice, Window};
use super::sql::query_builder::QueryBuilder;
use super::sql::unnest::WebhookKeys;
use super::sql::{At, Rows, Time, statement, time, timestamp, unknown};
use super::webhooks::visibility::{Cutoffs, readable, within};
use super::{Conn, StoreError};
use tenterhook_model::access::WebhookScope;
use tenterhook_model::ids::{CompanyId, Lane, NoticeId, WebhookId, WebhookKey};
use tenterhook_model::notice::{Notice, NoticeKind};

/// Which notices to read.
#[derive(Debug, Clone)]
pub struct NoticeQuery {
    /// What the caller sees.
    pub scope: WebhookScope,
    /// The time of reading, and the limits that follow from it.
    pub cutoffs: Cutoffs,
    /// Only about this webhook.
    pub webhook: Option<WebhookKey>,
    /// Only of these kinds; `None` means all.
    pub kinds: Option<Vec<NoticeKind>>,
    /// Only of transitions at or after this time.
    pub since: Option<Timestamp>,
}

/// The position of a notice in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticePlace {
    /// When the transition happened.
    pub at: Timestamp,
    /// The notice's id.
    pub id: NoticeId,
}

const COLUMNS: &str = "select n.lane, n.id, n.company, n.webhook, n.kind, n.episode, n.at, n.data";
/// The notices of a webhook are next to each other in the index that makes them unique.
const LAST_OF_EACH: &str = "\
select n.lane, n.id, n.company, n.webhook, n.kind, n.episode, n.at, n.data
from unnest($1::int[], $2::uuid[]) as k(lane, webhook)
cross join lateral (select * from notices n
                    where n.lane = k.lane and n.webhook = k.webhook and n.at >= $3
                    order by n.at desc, n.id desc limit $4) n
order by n.at, n.id";
const JOINED: &str = "join webhooks w on w.lane = n.lane and w.id = n.webhook where ";

/// A row of `notices`, or of a join with it, with the original column names.
#[derive(QueryableByName)]
pub(super) struct NoticeRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = Integer)]
    episode: i32,
    #[diesel(sql_type = At)]
    at: Time,
    #[diesel(sql_type = Text)]
    data: String,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl NoticeRow {
    /// The notice, its webhook and its time, even if other columns cannot be read.
    pub(super) fn key(&self) -> NoticeKey {
        let webhook = (Lane(self.lane), WebhookId(self.webhook));
        (webhook, NoticeId(self.id), timestamp(self.at))
    }
}

impl TryFrom<NoticeRow> for Notice {
    type Error = StoreError;

    fn try_from(row: NoticeRow) -> Result<Self, StoreError> {
        Ok(Self {
            lane: Lane(row.lane),
            id: NoticeId(row.id),
            company: CompanyId::new(row.company).map_err(|_| unknown("notices", "company", row.company))?,
            webhook: WebhookId(row.webhook),
            kind: NoticeKind::from_code(row.kind).ok_or_else(|| unknown("notices", "kind", row.kind))?,
            episode: row.episode,
            at: timestamp(row.at),
            data: row.data,
        })
    }
}

/// A page of the notices that match the query.
pub async fn page(
    conn: &mut Conn,
    query: &NoticeQuery,
    window: &Window<NoticePlace>,
) -> Result<Slice<Notice>, StoreError> {
    let direction = Direction::Descending;
    let keyword = direction.queried(window).keyword();
    let bounded = |statement: QueryBuilder, compare: &str, place: Option<NoticePlace>| match place {
        Some(place) => statement
            .sql(format!(" and (n.at, n.id) {compare} ("))
            .value::<At, _>(time(place.at))
            .sql(", ")
            .value::<SqlUuid, _>(place.id.0)
            .sql(")"),
        None => statement,
    };
    let rows: Vec<NoticeRow> = matching(QueryBuilder::new(COLUMNS), query)
        .with(|statement| bounded(statement, direction.beyond(), window.after))
        .with(|statement| bounded(statement, direction.short_of(), window.before))
        .sql(format!(
            " order by n.at {keyword}, n.id {keyword} limit {}",
            window.limit()
        ))
        .query()
        .load(conn)
        .await?;
    Ok(window.cut(rows.into_iter().map(Notice::try_from).collect::<Result<_, _>>()?))
}

/// The number of notices that match the query.
pub async fn count(conn: &mut Conn, query: &NoticeQuery) -> Result<i64, StoreError> {
    let statement = matching(QueryBuilder::new("select count(*) as count"), query);
    Ok(statement.query().get_result::<CountRow>(conn).await?.count)
}

/// The webhook, the notice, and when its transition happened.
pub type NoticeKey = (WebhookKey, NoticeId, Timestamp);

/// The last notices of each of these webhooks whose transition happened at or after `since`; oldest first. Notices that
/// cannot be read are returned separately.
pub async fn last_of_each(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    since: Timestamp,
    most: i64,
) -> Result<Rows<Notice, NoticeKey>, StoreError> {
    let rows: Vec<NoticeRow> = statement(LAST_OF_EACH)
        .arrays(&WebhookKeys::new(webhooks))
        .bind::<At, _>(time(since))
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| (row.key(), row.try_into())).collect())
}

/// The notices with these ids, about webhooks within the scope.
pub async fn find(
    conn: &mut Conn,
    keys: &[(Lane, NoticeId)],
    scope: &WebhookScope,
    cutoffs: &Cutoffs,
) -> Result<Vec<Notice>, StoreError> {
    let (lanes, ids): (Vec<i32>, Vec<Uuid>) = keys.iter().map(|(lane, id)| (lane.0, id.0)).unzip();
    let rows: Vec<NoticeRow> = QueryBuilder::new(COLUMNS)
        .sql(" from unnest(")
        .value::<Array<Integer>, _>(lanes)
        .sql("::int[], ")
        .value::<Array<SqlUuid>, _>(ids)
        .sql("::uuid[]) as k(lane, id) join notices n on n.lane = k.lane and n.id = k.id ")
        .sql(JOINED)
        .with(|statement| within(statement, scope))
        .sql(" and ")
        .with(|statement| readable(statement, cutoffs))
        .query()
        .load(conn)
        .await?;
    rows.into_iter().map(Notice::try_from).collect()
}

fn matching(statement: QueryBuilder, query: &NoticeQuery) -> QueryBuilder {
    let mut statement = statement
        .sql(" from notices n ")
        .sql(JOINED)
        .with(|statement| within(statement, &query.scope))
        .sql(" and ")
        .with(|statement| readable(statement, &query.cutoffs));
    if let WebhookScope::Company { company, .. } = &query.scope {
        // Follows from the webhook's company, but in a form for which the index on notices can be used.
        statement = statement
            .sql(" and n.lane = ")
            .value::<Integer, _>(Lane::of(*company).0)
            .sql(" and n.company = ")
            .value::<BigInt, _>(company.get());
    }
    if let Some((lane, id)) = query.webhook {
        statement = statement
            .sql(" and n.lane = ")
            .value::<Integer, _>(lane.0)
            .sql(" and n.webhook = ")
            .value::<SqlUuid, _>(id.0);
    }
    if let Some(kinds) = &query.kinds {
        let codes: Vec<i16> = kinds.iter().map(|kind| kind.code()).collect();
        statement = statement
            .sql(" and n.kind = any(")
            .value::<Array<SmallInt>, _>(codes)
            .sql("::smallint[])");
    }
    if let Some(since) = query.since {
        statement = statement.sql(" and n.at >= ").value::<At, _>(time(since));
    }
    statement
}
