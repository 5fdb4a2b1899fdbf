//! The users of the companies: known from a token or from the platform, removed by the platform.
//!
//! Guarantees: a removed user stays recorded as removed, so that a token that is still valid is refused, until the platform
//! adds the user again.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::schema::users;
use super::sql::unnest::{Arrays, sql_text, unnest};
use super::sql::{At, statement, time};
use super::{Conn, StoreError};
use tenterhook_model::access::UserRole;
use tenterhook_model::ids::{AppId, CompanyId, Lane, UserId};

/// What is known about the holder of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether the user is known, from a token or from the platform.
    pub known: bool,
    /// Whether the platform has removed the user.
    pub removed: bool,
    /// Whether the user has the app installed; false without an app.
    pub app_installed: bool,
}

/// A user as the platform reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEntry {
    /// The tenant.
    pub company: CompanyId,
    /// The user.
    pub user: UserId,
    /// The role that the platform reports. A role in a token takes precedence.
    pub role: UserRole,
}

/// An installation of a removed app that no batch has deleted yet does not count.
const PRESENCE: &str = "\
select u.id is not null as known, u.removed_at is not null as removed,
       exists (select from installations i join apps a on a.id = i.app and a.removed_at is null
               where i.lane = $1 and i.company = $2 and i.user_id = $3 and i.app = $4) as app_installed
from (select 1) one left join users u on u.lane = $1 and u.company = $2 and u.id = $3";

unnest! {
    from 1;
    /// A user with its role.
    struct EntryRow in Entries {
        lane: i32,
        company: i64,
        id: i64,
        role: i16,
    }
}

/// Each user once; a removed user is restored.
const UPSERT: &str = sql_text!(
    "\
insert into users as u (lane, company, id, role, created_at)
select n.lane, n.company, n.id, n.role, $5 from unnest(",
    Entries::ARRAYS,
    ") as n(",
    Entries::NAMES,
    ")
order by n.lane, n.company, n.id
on conflict (lane, company, id) do update set role = excluded.role, removed_at = null"
);

#[derive(diesel::QueryableByName)]
struct PresenceRow {
    #[diesel(sql_type = Bool)]
    known: bool,
    #[diesel(sql_type = Bool)]
    removed: bool,
    #[diesel(sql_type = Bool)]
    app_installed: bool,
}

/// What is known about a user, and whether it has `app` installed.
pub async fn presence(
    conn: &mut Conn,
    company: CompanyId,
    user: UserId,
    app: Option<&AppId>,
) -> Result<Presence, StoreError> {
    let row: PresenceRow = statement(PRESENCE)
        .bind::<Integer, _>(Lane::of(company).0)
        .bind::<BigInt, _>(company.get())
        .bind::<BigInt, _>(user.get())
        .bind::<Nullable<Text>, _>(app.map(AppId::as_str))
        .get_result(conn)
        .await?;
    Ok(Presence {
        known: row.known,
        removed: row.removed,
        app_installed: row.app_installed,
    })
}

/// Records a user at its first token; a known user stays unchanged.
pub async fn meet(conn: &mut Conn, now: Timestamp, entry: &UserEntry) -> Result<(), StoreError> {
    diesel::insert_into(users::table)
        .values((
            users::lane.eq(Lane::of(entry.company).0),
            users::company.eq(entry.company.get()),
            users::id.eq(entry.user.get()),
            users::role.eq(entry.role.code()),
            users::created_at.eq(time(now)),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds users or changes their roles. If a user is listed twice, the last entry counts. Returns the number of users.
pub async fn upsert(conn: &mut Conn, now: Timestamp, entries: &[UserEntry]) -> Result<usize, StoreError> {
    let distinct: std::collections::BTreeMap<_, _> = entries
        .iter()
        .map(|entry| ((entry.company, entry.user), entry))
        .collect();
    let rows = distinct.values().map(|entry| EntryRow {
        lane: Lane::of(entry.company).0,
        company: entry.company.get(),
        id: entry.user.get(),
        role: entry.role.code(),
    });
    statement(UPSERT)
        .arrays(&Entries::of(rows))
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    Ok(distinct.len())
}

/// Marks a user as removed, known or not: an unknown user may still hold a token.
pub async fn mark_removed(
    conn: &mut Conn,
    now: Timestamp,
    company: CompanyId,
    user: UserId,
) -> Result<(), StoreError> {
    diesel::insert_into(users::table)
        .values((
            users::lane.eq(Lane::of(company).0),
            users::company.eq(company.get()),
            users::id.eq(user.get()),
            users::role.eq(UserRole::Regular.code()),
            users::created_at.eq(time(now)),
            users::removed_at.eq(time(now)),
        ))
        .on_conflict((users::lane, users::company, users::id))
        .do_update()
        .set(users::removed_at.eq(excluded(users::removed_at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks a user until the transaction ends. Returns whether it is known and not removed.
///
/// Creations for one user wait for each other here, which keeps their number within the limit (W3).
pub async fn lock_in_tx(conn: &mut Conn, company: CompanyId, user: UserId) -> Result<bool, StoreError> {
    let removed: Option<bool> = users::table
        .find((Lane::of(company).0, company.get(), user.get()))
        .select(users::removed_at.is_not_null())
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(removed == Some(false))
}
