//! The tables that hold deliveries, and how each is queried so that an index returns its rows in order.

use diesel::sql_types::{Array, Integer, SmallInt, Uuid as SqlUuid};
use jiff::Timestamp;

use super::{CLOCKS_APART, DeliveryPlace, DeliveryQuery};
use crate::sql::page::{Direction, Window};
use crate::sql::query_builder::QueryBuilder;
use crate::sql::{At, time};
use crate::webhooks::visibility::Cutoffs;
use tenterhook_model::delivery::DeliveryStatus;
use tenterhook_model::ids::EventId;

/// A part of a table that holds deliveries, with the alias `d`.
struct Source {
    /// The statuses of deliveries in this part.
    statuses: &'static [DeliveryStatus],
    /// Everything from `select` to the first condition.
    select: &'static str,
    /// The expression for a row's status.
    status: &'static str,
    /// The column of the partitions: no earlier than the creation of a delivery.
    ended: Option<&'static str>,
    /// The columns that order the rows, as in an index.
    order: &'static [&'static str],
}

const BY_MAKING: &[&str] = &["d.created_at", "d.event", "d.generation"];
/// The same order for first deliveries: they are created when their event is accepted, and an event's id begins with that
/// time. The queue's own key has this order; a second index would be expensive for the queue.
const BY_EVENT: &[&str] = &["d.event", "d.generation"];

/// For a row without an owner, `vis_at` is when any process may take it: the due time, or later if a process has put it
/// back. For a leased row it is the end of the lease, so the due time is shown.
macro_rules! open {
    ($condition:literal) => {
        concat!(
            "select d.lane, d.webhook, d.event, d.generation, d.company, d.created_at, 0::smallint as status,
                    null::smallint as reason,
                    case when d.owner is null then d.vis_at else d.due_at end as next_attempt_at,
                    null::timestamptz as finished_at
             from deliveries d where ",
            $condition
        )
    };
}

/// Which deliveries of a source. First deliveries of an event are found by the time when it was accepted; replays have an
/// index of their own. A condition for both together could use neither index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arm {
    All,
    Firsts,
    Replays,
}

impl Arm {
    fn all(source: &Source, query: &DeliveryQuery) -> &'static [Self] {
        if query.event.is_some() && source.ended.is_some() {
            &[Self::Firsts, Self::Replays]
        } else {
            &[Self::All]
        }
    }

    /// Adds the condition on the event, if there is one. None of its deliveries ended before it was accepted.
    fn of_event(self, statement: QueryBuilder, source: &Source, query: &DeliveryQuery) -> QueryBuilder {
        let Some(event) = query.event else {
            return statement;
        };
        let accepted = event.accepted_at();
        let earliest = accepted.saturating_sub(CLOCKS_APART).unwrap_or(Timestamp::MIN);
        let statement = statement.sql(" and d.event = ").value::<SqlUuid, _>(event.0);
        let statement = match self {
            Self::All => statement,
            // As a range of one moment, the rows still have an order, which only one index has. If everything were fixed,
            // the index over ends would seem as good to the planner, and would be read from the event's acceptance until
            // today.
            Self::Firsts => statement
                .sql(" and d.generation = 0 and d.created_at >= ")
                .value::<At, _>(time(accepted))
                .sql(" and d.created_at <= ")
                .value::<At, _>(time(accepted)),
            Self::Replays => statement.sql(" and d.generation > 0"),
        };
        match source.ended {
            Some(ended) => statement
                .sql(format!(" and {ended} >= "))
                .value::<At, _>(time(earliest)),
            None => statement,
        }
    }
}

const SOURCES: [Source; 4] = [
    Source {
        statuses: &[DeliveryStatus::Pending],
        select: open!("d.generation = 0"),
        status: "0::smallint",
        ended: None,
        order: BY_EVENT,
    },
    Source {
        statuses: &[DeliveryStatus::Pending],
        select: open!("d.generation > 0"),
        status: "0::smallint",
        ended: None,
        order: BY_MAKING,
    },
    Source {
        statuses: &[DeliveryStatus::Succeeded, DeliveryStatus::Failed],
        select: "select d.lane, d.webhook, d.event, d.generation, d.company, d.created_at, d.ending as status,
                        case d.ending when 2 then 1::smallint end as reason, null::timestamptz as next_attempt_at,
                        d.ended_at as finished_at
                 from attempts d where d.ending is not null",
        status: "d.ending",
        ended: Some("d.ended_at"),
        order: BY_MAKING,
    },
    Source {
        statuses: &[DeliveryStatus::Lost, DeliveryStatus::Cancelled],
        select: "select d.lane, d.webhook, d.event, d.generation, d.company, d.created_at, d.status, d.reason,
                        null::timestamptz as next_attempt_at, d.at as finished_at
                 from outcomes d where true",
        status: "d.status",
        ended: Some("d.at"),
        order: BY_MAKING,
    },
];

/// Whether the requested deliveries can have ended: then they are in partitions.
pub(super) fn may_have_ended(query: &DeliveryQuery) -> bool {
    let ended = SOURCES.iter().filter(|source| source.ended.is_some());
    let mut statuses = ended.flat_map(|source| source.statuses);
    statuses.any(|status| query.statuses.as_ref().is_none_or(|asked| asked.contains(status)))
}

/// Adds the deliveries of webhook `w`, from every source that can hold requested ones. From each source no more rows than
/// the window needs, and of ended deliveries only those that ended at or after `ended_since`.
pub(super) fn of_webhook(
    mut statement: QueryBuilder,
    query: &DeliveryQuery,
    cutoffs: &Cutoffs,
    ended_since: Option<Timestamp>,
    window: Option<&Window<DeliveryPlace>>,
) -> QueryBuilder {
    let asked = |status: &DeliveryStatus| query.statuses.as_ref().is_none_or(|asked| asked.contains(status));
    let mut sources: Vec<&Source> = SOURCES
        .iter()
        .filter(|source| source.statuses.iter().any(asked))
        .collect();
    if sources.is_empty() {
        // No status at all is requested: take one source; its condition on the status matches nothing.
        sources.push(&SOURCES[0]);
    }
    let arms = sources
        .into_iter()
        .flat_map(|source| Arm::all(source, query).iter().map(move |arm| (source, *arm)));
    for (index, (source, arm)) in arms.enumerate() {
        statement = statement
            .sql(if index == 0 {
                "select u.* from (("
            } else {
                " union all ("
            })
            .sql(source.select)
            .sql(" and d.lane = w.lane and d.webhook = w.id")
            .with(|statement| matching(statement, source, query, cutoffs))
            .with(|statement| arm.of_event(statement, source, query))
            .with(|statement| match (source.ended, ended_since) {
                (Some(ended), Some(since)) => statement
                    .sql(format!(" and {ended} >= "))
                    .value::<At, _>(time(since)),
                _ => statement,
            })
            .with(|statement| match window {
                Some(window) if arm == Arm::Replays => unordered(statement, source, window),
                Some(window) => paged(statement, source, window),
                None => statement,
            })
            .sql(")");
    }
    let statement = statement.sql(") u");
    match window {
        Some(window) => ordered(statement, &["u.created_at", "u.event", "u.generation"], window),
        None => statement,
    }
}

/// Adds the deliveries whose positions are in the table `k`, from every source. A bound on the end prunes partitions; it
/// allows one hour for the different clocks of two processes. For ended deliveries the time of creation is a range, so that
/// rows have an order, as in [`Arm::of_event`].
pub(super) fn at_places(mut statement: QueryBuilder) -> QueryBuilder {
    for (index, source) in SOURCES.iter().enumerate() {
        let place = match source.ended {
            Some(ended) => format!(
                " and d.created_at >= k.created_at and d.created_at <= k.created_at and {ended} >= k.created_at - interval
                  '1 hour' order by {}",
                source.order.join(", ")
            ),
            None => " and d.created_at = k.created_at".to_owned(),
        };
        statement = statement
            .sql(if index == 0 { "(" } else { " union all (" })
            .sql(source.select)
            .sql(
                " and d.lane = k.lane and d.webhook = k.webhook and d.event = k.event and d.generation = k.generation",
            )
            .sql(place)
            .sql(")");
    }
    statement
}

/// Excludes ended deliveries past their retention, and those whose event may have been dropped. Open ones keep their event.
fn in_retention(statement: QueryBuilder, source: &Source, cutoffs: &Cutoffs) -> QueryBuilder {
    match source.ended {
        Some(ended) => statement
            .sql(format!(" and {ended} > "))
            .value::<At, _>(time(cutoffs.history))
            .sql(" and d.event > ")
            .value::<SqlUuid, _>(EventId::last_of(cutoffs.event_dropped).0),
        None => statement,
    }
}

fn matching(
    statement: QueryBuilder,
    source: &Source,
    query: &DeliveryQuery,
    cutoffs: &Cutoffs,
) -> QueryBuilder {
    let mut statement = in_retention(statement, source, cutoffs);
    if let Some(asked) = &query.statuses
        && !source.statuses.iter().all(|status| asked.contains(status))
    {
        let codes: Vec<i16> = asked.iter().map(|status| status.code()).collect();
        statement = statement
            .sql(format!(" and {} = any(", source.status))
            .value::<Array<SmallInt>, _>(codes)
            .sql("::smallint[])");
    }
    if let Some(since) = query.since {
        statement = statement.sql(" and d.created_at >= ").value::<At, _>(time(since));
        if let Some(ended) = source.ended {
            statement = statement
                .sql(format!(" and {ended} >= "))
                .value::<At, _>(time(since));
        }
    }
    if let Some(until) = query.until {
        statement = statement.sql(" and d.created_at < ").value::<At, _>(time(until));
        statement = made_by(statement, source, until);
    }
    statement
}

/// Repeats a bound on the creation of first deliveries in a form for which the queue's key can be used.
fn made_by(statement: QueryBuilder, source: &Source, at: Timestamp) -> QueryBuilder {
    if source.order == BY_EVENT {
        statement
            .sql(" and d.event <= ")
            .value::<SqlUuid, _>(EventId::last_of(at).0)
    } else {
        statement
    }
}

fn paged(statement: QueryBuilder, source: &Source, window: &Window<DeliveryPlace>) -> QueryBuilder {
    ordered(within_window(statement, source, window), source.order, window)
}

/// Without an order, and separated from the outer one by `offset 0`. If the few replays of an event were requested in order,
/// a planner that avoids sorting would read all rows of the webhook in the index with that order.
fn unordered(statement: QueryBuilder, source: &Source, window: &Window<DeliveryPlace>) -> QueryBuilder {
    within_window(statement, source, window).sql(" offset 0")
}

fn within_window(statement: QueryBuilder, source: &Source, window: &Window<DeliveryPlace>) -> QueryBuilder {
    let direction = Direction::Descending;
    let statement = bounded(statement, source, direction.beyond(), window.after.as_ref());
    bounded(statement, source, direction.short_of(), window.before.as_ref())
}

fn bounded(
    statement: QueryBuilder,
    source: &Source,
    compare: &str,
    place: Option<&DeliveryPlace>,
) -> QueryBuilder {
    let Some(place) = place else { return statement };
    let statement = statement
        .sql(format!(
            " and (d.created_at, d.event, d.webhook, d.generation) {compare} ("
        ))
        .value::<At, _>(time(place.created_at))
        .sql(", ")
        .value::<SqlUuid, _>(place.key.event.0)
        .sql(", ")
        .value::<SqlUuid, _>(place.key.webhook.0)
        .sql(", ")
        .value::<Integer, _>(place.key.generation)
        .sql(")");
    if compare == "<" {
        made_by(statement, source, place.created_at)
    } else {
        statement
    }
}

fn ordered(statement: QueryBuilder, columns: &[&str], window: &Window<DeliveryPlace>) -> QueryBuilder {
    let keyword = Direction::Descending.queried(window).keyword();
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} {keyword}"))
        .collect();
    statement.sql(format!(
        " order by {} limit {}",
        columns.join(", "),
        window.limit()
    ))
}
