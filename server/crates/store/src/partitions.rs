//! Day partitions of the growing tables: created ahead, dropped by retention.
//!
//! Guarantees: a missing partition for tomorrow can be detected before midnight ([`missing`]). No partition of events is
//! dropped while an open delivery refers to its day. One process at a time works on partitions: it locks the `lanes` row of
//! `settings`. This is a row lock because Citus nodes do not share advisory locks. Functions of the database do the work,
//! with the rights of the role that ran the migrations, so that a server need not own a table.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Date as SqlDate, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sql::{At, Rows, statement, time};
use super::{Conn, StoreError, limit_lock_waits_in_tx};

/// The partitioned tables.
const TABLES: [&str; 3] = ["events", "attempts", "outcomes"];

/// How long dropping a partition waits for its readers.
const READERS: Duration = Duration::from_secs(2);

const LOCK: &str = "select key as name from settings where key = 'lanes' for update";

const EXISTING: &str = "\
select c.relname::text as name from pg_inherits i
join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
where p.relname = any($1) and p.relnamespace = (select oid from pg_namespace where nspname = current_schema())
order by c.relname";

const MAKE: &str = "select make_partition($1, $2) as done";
const DROP: &str = "select drop_partition($1, $2) as done";

/// A day is referred to while a delivery of one of its events is open.
const REFERRED: &str = "\
select 'deliveries' as name where exists (select from deliveries where event_at >= $1 and event_at < $2)";

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Whether a function has done its work.
#[derive(QueryableByName)]
struct DoneRow {
    #[diesel(sql_type = Bool)]
    done: bool,
}

/// The UTC day of a time.
pub fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The time at which a UTC day begins.
pub fn start_of(day: Date) -> Timestamp {
    TimeZone::UTC
        .to_timestamp(day.at(0, 0, 0, 0))
        .unwrap_or(Timestamp::MAX)
}

/// Creates the missing partitions of the days from `first` to `last`, and returns their number.
pub async fn ensure(conn: &mut Conn, first: Date, last: Date) -> Result<usize, StoreError> {
    conn.transaction(async |conn| {
        statement(LOCK).load::<NameRow>(conn).await?;
        let existing = names(conn).await?;
        let mut made = 0;
        for day in first
            .series(jiff::Span::new().days(1))
            .take_while(|day| *day <= last)
        {
            for table in TABLES {
                let name = partition(table, day);
                if existing.contains(&name) {
                    continue;
                }
                made += usize::from(call(conn, MAKE, table, day).await?);
            }
        }
        Ok(made)
    })
    .await
}

/// The missing partitions of `day`.
pub async fn missing(conn: &mut Conn, day: Date) -> Result<Vec<String>, StoreError> {
    let existing = names(conn).await?;
    Ok(TABLES
        .iter()
        .map(|table| partition(table, day))
        .filter(|name| !existing.contains(name))
        .collect())
}

/// The number of days after `today` that have all their partitions, up to the first day that does not.
pub async fn days_ahead(conn: &mut Conn, today: Date) -> Result<usize, StoreError> {
    let existing = names(conn).await?;
    let is_whole = |day: &Date| {
        let mut needed = TABLES.iter().map(|table| partition(table, *day));
        needed.all(|name| existing.contains(&name))
    };
    let days = today.series(jiff::Span::new().days(1)).skip(1);
    Ok(days.take_while(is_whole).count())
}

/// Drops the partitions of days before `keep_from`, except those of events that open deliveries refer to. Returns the
/// dropped partitions and those that could not be dropped.
///
/// Each is dropped in its own transaction, so that one failure does not keep the others. Waits at most two seconds for the
/// readers of a partition: the next round tries again.
pub async fn drop_before(conn: &mut Conn, keep_from: Date) -> Result<Rows<String, String>, StoreError> {
    let old = names(conn).await?;
    let old = old.into_iter().filter_map(|name| Some((day_of(&name)?, name)));
    let mut dropped = Vec::new();
    for (day, name) in old.filter(|(day, _)| *day < keep_from) {
        match drop_one(conn, &name, day).await {
            Ok(false) => {}
            Ok(true) => dropped.push((name.clone(), Ok(name))),
            Err(error) if error.is_unavailable() && !error.is_locked_out() => return Err(error),
            Err(error) => dropped.push((name, Err(error))),
        }
    }
    Ok(dropped.into_iter().collect())
}

/// Returns `false` if open deliveries refer to it, or if it no longer exists.
async fn drop_one(conn: &mut Conn, name: &str, day: Date) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        statement(LOCK).load::<NameRow>(conn).await?;
        let is_there = names(conn).await?.iter().any(|other| other == name);
        if !is_there || (name.starts_with("events_") && is_referred(conn, day).await?) {
            return Ok(false);
        }
        limit_lock_waits_in_tx(conn, Some(READERS)).await?;
        match TABLES.into_iter().find(|table| partition(table, day) == name) {
            Some(table) => call(conn, DROP, table, day).await,
            None => Ok(false),
        }
    })
    .await
}

async fn call(conn: &mut Conn, function: &'static str, table: &str, day: Date) -> Result<bool, StoreError> {
    let row: DoneRow = statement(function)
        .bind::<Text, _>(table)
        .bind::<SqlDate, _>(jiff_diesel::Date::from(day))
        .get_result(conn)
        .await?;
    Ok(row.done)
}

async fn is_referred(conn: &mut Conn, day: Date) -> Result<bool, StoreError> {
    let next = day.saturating_add(jiff::Span::new().days(1));
    let rows: Vec<NameRow> = statement(REFERRED)
        .bind::<At, _>(time(start_of(day)))
        .bind::<At, _>(time(start_of(next)))
        .load(conn)
        .await?;
    Ok(!rows.is_empty())
}

async fn names(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let rows: Vec<NameRow> = statement(EXISTING)
        .bind::<Array<Text>, _>(TABLES.to_vec())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

fn partition(table: &str, day: Date) -> String {
    format!("{table}_{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

fn day_of(name: &str) -> Option<Date> {
    let digits = name.rsplit('_').next().filter(|digits| digits.len() == 8)?;
    Date::strptime("%Y%m%d", digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day_and_read_back() {
        let day = Date::constant(2026, 3, 7);
        assert_eq!(partition("events", day), "events_20260307");
        assert_eq!(day_of("events_20260307"), Some(day));
        assert_eq!(day_of("events_default"), None);
    }
}
