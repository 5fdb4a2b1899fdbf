//! The apps of the marketplace.
//!
//! Guarantees: a removed app stays readable. It can be registered again only when its removal has finished.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::schema::{apps, installations};
use super::sql::page::{Direction, Slice, Window};
use super::sql::query_builder::QueryBuilder;
use super::sql::{At, MaybeAt, Time, maybe_timestamp, time, timestamp, unknown};
use super::{Conn, StoreError};
use tenterhook_model::app::App;
use tenterhook_model::ids::AppId;

/// The result of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// The app is registered now.
    Done(App),
    /// An app with this id already exists.
    AlreadyExists,
    /// An app with this id was removed, and some of its webhooks and installations still exist.
    RemovalUnfinished,
}

/// The key by which apps are ordered: newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppKey {
    /// When it was registered.
    pub created_at: Timestamp,
    /// The app's id.
    pub app: AppId,
}

#[derive(diesel::QueryableByName)]
struct AppRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = At)]
    created_at: Time,
    #[diesel(sql_type = MaybeAt)]
    removed_at: Option<Time>,
}

type Columns = (String, String, Time, Option<Time>);

fn app((id, name, created_at, removed_at): Columns) -> Result<App, StoreError> {
    Ok(App {
        id: id.parse().map_err(|_| unknown("apps", "id", &id))?,
        name,
        created_at: timestamp(created_at),
        removed_at: maybe_timestamp(removed_at),
    })
}

/// Registers an app, or a removed one again.
pub async fn register_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    id: &AppId,
    name: &str,
) -> Result<Registration, StoreError> {
    let written: Option<Columns> = diesel::insert_into(apps::table)
        .values((
            apps::id.eq(id.as_str()),
            apps::name.eq(name),
            apps::created_at.eq(time(now)),
        ))
        .on_conflict_do_nothing()
        .returning(apps::all_columns)
        .get_result(conn)
        .await
        .optional()?;
    if let Some(columns) = written {
        return Ok(Registration::Done(app(columns)?));
    }
    let existing = find_for_update(conn, id).await?;
    if existing.is_some_and(|app| app.removed_at.is_none()) {
        return Ok(Registration::AlreadyExists);
    }
    let left: i64 = installations::table
        .filter(installations::app.eq(id.as_str()))
        .limit(1)
        .count()
        .get_result(conn)
        .await?;
    if left > 0 {
        return Ok(Registration::RemovalUnfinished);
    }
    let columns: Columns = diesel::update(apps::table.find(id.as_str()))
        .set((
            apps::name.eq(name),
            apps::created_at.eq(time(now)),
            apps::removed_at.eq(None::<Time>),
        ))
        .returning(apps::all_columns)
        .get_result(conn)
        .await?;
    Ok(Registration::Done(app(columns)?))
}

/// Marks an app as removed. This is the first step of a removal: from now on no user has the app installed (W8). `None` if
/// there is no such app. An app that was already removed keeps its time of removal.
pub async fn mark_removed(conn: &mut Conn, now: Timestamp, id: &AppId) -> Result<Option<App>, StoreError> {
    diesel::update(apps::table.filter(apps::id.eq(id.as_str()).and(apps::removed_at.is_null())))
        .set(apps::removed_at.eq(time(now)))
        .execute(conn)
        .await?;
    Ok(find(conn, std::slice::from_ref(id)).await?.pop())
}

/// The existing apps with these ids, including removed ones.
pub async fn find(conn: &mut Conn, ids: &[AppId]) -> Result<Vec<App>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(AppId::as_str).collect();
    let rows: Vec<Columns> = apps::table.filter(apps::id.eq_any(ids)).load(conn).await?;
    rows.into_iter().map(app).collect()
}

async fn find_for_update(conn: &mut Conn, id: &AppId) -> Result<Option<App>, StoreError> {
    let row: Option<Columns> = apps::table
        .find(id.as_str())
        .for_update()
        .first(conn)
        .await
        .optional()?;
    row.map(app).transpose()
}

/// Returns the app, unless it is missing or removed. Locks it: nobody can remove it until the transaction ends.
pub async fn hold_in_tx(conn: &mut Conn, id: &AppId) -> Result<Option<App>, StoreError> {
    let row: Option<Columns> = apps::table
        .find(id.as_str())
        .for_share()
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(app).transpose()?.filter(|app| app.removed_at.is_none()))
}

/// A page of all apps, newest first, including removed ones.
pub async fn page(conn: &mut Conn, window: &Window<AppKey>) -> Result<Slice<App>, StoreError> {
    let direction = Direction::Descending;
    let queried = direction.queried(window);
    let bounded = |statement: QueryBuilder, compare: &str, key: &Option<AppKey>| match key {
        Some(key) => statement
            .sql(format!(" and (created_at, id) {compare} ("))
            .value::<At, _>(time(key.created_at))
            .sql(", ")
            .value::<Text, _>(key.app.to_string())
            .sql(")"),
        None => statement,
    };
    let rows: Vec<AppRow> = QueryBuilder::new("select id, name, created_at, removed_at from apps where true")
        .with(|statement| bounded(statement, direction.beyond(), &window.after))
        .with(|statement| bounded(statement, direction.short_of(), &window.before))
        .sql(format!(
            " order by created_at {0}, id {0} limit {1}",
            queried.keyword(),
            window.limit()
        ))
        .query()
        .load(conn)
        .await?;
    let apps = rows
        .into_iter()
        .map(|row| app((row.id, row.name, row.created_at, row.removed_at)));
    Ok(window.cut(apps.collect::<Result<_, _>>()?))
}

/// The number of apps, including removed ones.
pub async fn count(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(apps::table.count().get_result(conn).await?)
}
