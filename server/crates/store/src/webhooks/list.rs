//! Lists of webhooks: filtered, ordered, counted.
//!
//! Guarantees: a filter by state uses the state at the time of reading, whether or not a sweep has written it (T3).

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use crate::sql::page::{Direction, Slice, Window};
use crate::sql::query_builder::QueryBuilder;
use crate::sql::{At, time};
use crate::webhooks::row::{StateRow, state_columns};
use crate::webhooks::visibility::{Cutoffs, gone, readable, within};
use crate::{Conn, StoreError};
use tenterhook_model::access::WebhookScope;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{AppId, CompanyId, Lane, UserId, WebhookId, WebhookNumber};
use tenterhook_model::webhook::{EventAction, Webhook, WebhookState, WebhookType};

/// Which of the webhooks within the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookQuery {
    /// What the caller sees.
    pub scope: WebhookScope,
    /// The time of reading, and the limits that follow from it.
    pub cutoffs: Cutoffs,
    /// Only of this type.
    pub kind: Option<WebhookType>,
    /// Only in these states; `None` means any except removed.
    pub states: Option<Vec<WebhookState>>,
    /// Without `states`: include removed webhooks.
    pub include_removed: bool,
    /// Only with exactly this action.
    pub action: Option<EventAction>,
    /// Only with exactly this object.
    pub object: Option<String>,
    /// Only of this user.
    pub user: Option<UserId>,
    /// Only of this company.
    pub company: Option<CompanyId>,
    /// Only of this app.
    pub app: Option<AppId>,
    /// Only with this number.
    pub number: Option<WebhookNumber>,
    /// Only with this text in the URL, ignoring the case of A to Z. A stored URL has no other letters. The database's own
    /// rules are not used: with them `TITLE` in lower case is not always `title`.
    pub url_contains: Option<String>,
}

/// The orders of webhooks; the id decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookOrder {
    /// Newest first.
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// By name; webhooks without a name are last.
    NameAscending,
}

/// The position of a webhook in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookCursor {
    /// In an order by creation.
    Created(Timestamp, WebhookId),
    /// In an order by name.
    Name(Option<String>, WebhookId),
}

impl WebhookCursor {
    /// The position of a webhook in this order.
    pub fn of(webhook: &Webhook, order: WebhookOrder) -> Self {
        match order {
            WebhookOrder::CreatedDescending | WebhookOrder::CreatedAscending => {
                Self::Created(webhook.created_at, webhook.id)
            }
            WebhookOrder::NameAscending => Self::Name(webhook.name.clone(), webhook.id),
        }
    }
}

impl WebhookOrder {
    fn direction(self) -> Direction {
        match self {
            Self::CreatedDescending => Direction::Descending,
            Self::CreatedAscending | Self::NameAscending => Direction::Ascending,
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::CreatedDescending | Self::CreatedAscending => &["w.created_at", "w.id"],
            Self::NameAscending => &["(w.name is null)", "coalesce(w.name, '')", "w.id"],
        }
    }
}

const FROM: &str = " from webhooks w join webhook_health h on h.lane = w.lane and h.webhook = w.id where ";

fn states(query: &WebhookQuery) -> QueryBuilder {
    matching(
        QueryBuilder::new(concat!("select ", state_columns!())).sql(FROM),
        query,
    )
}

/// The webhooks that match the query from position `start` of an ascending list, at most `size`, and whether more follow.
///
/// For callers that count positions instead of using cursors: it reads the rows before `start` too, and a list that changes
/// between two pages shifts.
pub async fn page_from(
    conn: &mut Conn,
    query: &WebhookQuery,
    start: u32,
    size: u16,
) -> Result<(Vec<(Webhook, Health)>, bool), StoreError> {
    let order = WebhookOrder::CreatedAscending;
    let rows: Vec<StateRow> = states(query)
        .sql(format!(
            " order by {} limit {} offset ",
            order.columns().join(", "),
            u32::from(size) + 1
        ))
        .value::<BigInt, _>(i64::from(start))
        .query()
        .load(conn)
        .await?;
    let mut found: Vec<_> = rows
        .into_iter()
        .map(StateRow::into_state)
        .collect::<Result<_, _>>()?;
    let more = found.len() > usize::from(size);
    found.truncate(usize::from(size));
    Ok((found, more))
}

/// A page of the webhooks that match the query.
pub async fn page(
    conn: &mut Conn,
    query: &WebhookQuery,
    order: WebhookOrder,
    window: &Window<WebhookCursor>,
) -> Result<Slice<(Webhook, Health)>, StoreError> {
    let direction = order.direction();
    let keyword = direction.queried(window).keyword();
    let columns: Vec<String> = order
        .columns()
        .iter()
        .map(|column| format!("{column} {keyword}"))
        .collect();
    let rows: Vec<StateRow> = states(query)
        .with(|statement| bounded(statement, order, direction.beyond(), window.after.as_ref()))
        .with(|statement| bounded(statement, order, direction.short_of(), window.before.as_ref()))
        .sql(format!(
            " order by {} limit {}",
            columns.join(", "),
            window.limit()
        ))
        .query()
        .load(conn)
        .await?;
    Ok(window.cut(
        rows.into_iter()
            .map(StateRow::into_state)
            .collect::<Result<_, _>>()?,
    ))
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The number of webhooks that match the query.
pub async fn count(conn: &mut Conn, query: &WebhookQuery) -> Result<i64, StoreError> {
    let statement = matching(QueryBuilder::new("select count(*) as count").sql(FROM), query);
    Ok(statement.query().get_result::<CountRow>(conn).await?.count)
}

fn bounded(
    statement: QueryBuilder,
    order: WebhookOrder,
    compare: &str,
    key: Option<&WebhookCursor>,
) -> QueryBuilder {
    let Some(key) = key else { return statement };
    let statement = statement.sql(format!(" and ({}) {compare} (", order.columns().join(", ")));
    let (statement, id) = match key {
        WebhookCursor::Created(at, id) => (statement.value::<At, _>(time(*at)), id),
        WebhookCursor::Name(name, id) => (
            statement
                .value::<Bool, _>(name.is_none())
                .sql(", ")
                .value::<Text, _>(name.clone().unwrap_or_default()),
            id,
        ),
    };
    statement.sql(", ").value::<SqlUuid, _>(id.0).sql(")")
}

fn matching(statement: QueryBuilder, query: &WebhookQuery) -> QueryBuilder {
    let mut statement = within(statement, &query.scope).sql(" and ");
    statement = readable(statement, &query.cutoffs);
    statement = in_states(statement, query);
    if let Some(kind) = query.kind {
        statement = statement.sql(" and w.kind = ").value::<SmallInt, _>(kind.code());
    }
    if let Some(action) = query.action {
        statement = statement
            .sql(" and w.action = ")
            .value::<SmallInt, _>(action.code());
    }
    if let Some(object) = &query.object {
        statement = statement.sql(" and w.object = ").value::<Text, _>(object.clone());
    }
    if let Some(user) = query.user {
        statement = statement.sql(" and w.user_id = ").value::<BigInt, _>(user.get());
    }
    if let Some(company) = query.company {
        statement = statement
            .sql(" and w.lane = ")
            .value::<Integer, _>(Lane::of(company).0)
            .sql(" and w.company = ")
            .value::<BigInt, _>(company.get());
    }
    if let Some(app) = &query.app {
        statement = statement.sql(" and w.app = ").value::<Text, _>(app.to_string());
    }
    if let Some(number) = query.number {
        statement = statement.sql(" and w.number = ").value::<BigInt, _>(number.get());
        // The index begins with the lane, which the scope of an operator does not name.
        if query.scope == WebhookScope::Everything && query.company.is_none() {
            statement = statement
                .sql(" and w.lane = any(")
                .value::<Array<Integer>, _>(Lane::all().map(|lane| lane.0).collect::<Vec<_>>())
                .sql(")");
        }
    }
    if let Some(text) = &query.url_contains {
        statement = statement
            .sql(" and strpos(lower(w.url collate \"C\"), lower(")
            .value::<Text, _>(text.clone())
            .sql(" collate \"C\")) > 0");
    }
    statement
}

fn in_states(statement: QueryBuilder, query: &WebhookQuery) -> QueryBuilder {
    let Some(states) = &query.states else {
        return if query.include_removed {
            statement
        } else {
            gone(statement.sql(" and not "), &query.cutoffs)
        };
    };
    let mut statement = statement.sql(" and case when ");
    statement = gone(statement, &query.cutoffs);
    let says = |state| if states.contains(&state) { "true" } else { "false" };
    statement
        .sql(format!(
            " then {} when w.paused_at is not null then {} when h.banned_until > ",
            says(WebhookState::Removed),
            says(WebhookState::Paused)
        ))
        .value::<At, _>(time(query.cutoffs.now))
        .sql(format!(
            " then {} else {} end",
            says(WebhookState::Banned),
            says(WebhookState::Active)
        ))
}
