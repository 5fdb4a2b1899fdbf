//! Day partitions of the growing tables: created ahead, dropped by retention.
//!
//! Guarantees: a missing partition for tomorrow can be detected before midnight ([`missing`]). No partition of events is
//! dropped while an open delivery, an attempt or an ended delivery refers to its day (D10). One process at a time works on partitions: it locks the `lanes` row of
//! `settings`. This is a row lock because Citus nodes do not share advisory locks. Functions of the database do the work,
//! with the rights of the role that ran the migrations, so that a server need not own a table.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Date as SqlDate, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sql::{At, Rows, statement, time, unknown};
use super::{Conn, StoreError, kv_settings, limit_lock_waits_in_tx};
use tenterhook_model::ids::EventId;

/// The partitioned tables.
const TABLES: [&str; 3] = ["events", "attempts", "outcomes"];

/// The unit of the time in an event's id.
const MILLISECOND: Duration = Duration::from_millis(1);

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

/// Attempts and ended deliveries that ended at `$3` or later refer to the day whose ids are between `$1` and `$2`. The
/// condition on their age is that of the two indexes over late ones.
const REFERRED_LATE: &str = "\
select 'history' as name
where exists (select from attempts
              where (generation > 0 or ended_at - created_at > interval '1 day') and event > $1 and event <= $2
                and ended_at >= $3)
   or exists (select from outcomes
              where (generation > 0 or at - created_at > interval '1 day') and event > $1 and event <= $2 and at >= $3)";

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

/// Since when events are kept for late attempts. An older event may have been dropped although an attempt refers to it.
pub async fn events_kept_since(conn: &mut Conn) -> Result<Timestamp, StoreError> {
    let key = kv_settings::EVENTS_KEPT_SINCE;
    let Some(stored) = kv_settings::get(conn, key).await? else {
        return Ok(Timestamp::MIN);
    };
    let day = stored
        .parse::<Date>()
        .map_err(|_| unknown("settings", key, &stored))?;
    Ok(start_of(day))
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

/// Drops the partitions of days before `keep_from`, except those of events that something refers to that is kept. Returns
/// the dropped partitions and those that could not be dropped.
///
/// Events are kept one day longer than attempts, because an attempt may end on the day after. Few attempts end even
/// later, and an index finds them.
///
/// Each is dropped in its own transaction, so that one failure does not keep the others. Waits at most two seconds for the
/// readers of a partition: the next round tries again.
pub async fn drop_before(conn: &mut Conn, keep_from: Date) -> Result<Rows<String, String>, StoreError> {
    let old = names(conn).await?;
    let old = old.into_iter().filter_map(|name| Some((day_of(&name)?, name)));
    let mut dropped = Vec::new();
    for (day, name) in old.filter(|(day, _)| *day < keep_from) {
        match drop_one(conn, &name, day, keep_from).await {
            Ok(false) => {}
            Ok(true) => dropped.push((name.clone(), Ok(name))),
            Err(error) if error.is_unavailable() && !error.is_locked_out() => return Err(error),
            Err(error) => dropped.push((name, Err(error))),
        }
    }
    Ok(dropped.into_iter().collect())
}

/// Returns `false` if something refers to it that is kept, or if it no longer exists.
async fn drop_one(conn: &mut Conn, name: &str, day: Date, keep_from: Date) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        statement(LOCK).load::<NameRow>(conn).await?;
        let is_there = names(conn).await?.iter().any(|other| other == name);
        if !is_there || (name.starts_with("events_") && is_referred(conn, day, keep_from).await?) {
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

/// Whether an event of this day is referred to by an open delivery, or by something that ended on `keep_from` or later.
async fn is_referred(conn: &mut Conn, day: Date, keep_from: Date) -> Result<bool, StoreError> {
    let next = day.saturating_add(jiff::Span::new().days(1));
    if next >= keep_from {
        return Ok(true);
    }
    let open: Vec<NameRow> = statement(REFERRED)
        .bind::<At, _>(time(start_of(day)))
        .bind::<At, _>(time(start_of(next)))
        .load(conn)
        .await?;
    if !open.is_empty() {
        return Ok(true);
    }
    let last_before = |day| {
        EventId::last_of(
            start_of(day)
                .saturating_sub(MILLISECOND)
                .unwrap_or(Timestamp::MIN),
        )
    };
    let late: Vec<NameRow> = statement(REFERRED_LATE)
        .bind::<SqlUuid, _>(last_before(day).0)
        .bind::<SqlUuid, _>(last_before(next).0)
        .bind::<At, _>(time(start_of(keep_from)))
        .load(conn)
        .await?;
    Ok(!late.is_empty())
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
