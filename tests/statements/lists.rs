//! The statements that may break a rule, each with the reason. An unused entry fails the test.

/// A rule with exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every statement names the lanes of each table that has lanes.
    Global,
    /// Citus 13.2.2 refuses some statements that Postgres on one machine executes for the lanes of a batch, unless all
    /// lanes are in one shard: row locks, recursion, and a subquery with a limit or a sum for each row of the
    /// parameters.
    AcrossLanes,
    /// No statement reads a clock: the server supplies the time.
    Clock,
    /// A scenario sends every statement. One that is not sent is checked by its text in the source.
    NotPlayed,
    /// A scenario sends it only if it takes as long in real time, so a run may have it or not.
    ByRealTime,
}

use Rule::{AcrossLanes, ByRealTime, Clock, Global, NotPlayed};

const DAILY: &str = "deletes old rows once a day";
const BATCH: &str = "the rows of a batch, locked together";
const LIVENESS: &str =
    "one clock decides for all processes which of them live; `nodes` stays on the coordinator";
const NOTICES: &str = "the platform's endpoint gets the notices of all companies, from few tasks";
const SUBSCRIBERS: &str = "reads for all subscribers of a server, seldom";
const COMMAND: &str = "a command sends it, not a server";
const IN_TESTS: &str = "contract tests send it, in worlds of their own";
const EVERY_MINUTE: &str = "sent after each minute of real time; tests of the store send it";
const STORE_TEST: &str = "tests of the store send it";
const REFUSED: &str = "sent only if the database refuses to lease a delivery together with others";

/// Each entry has words that occur in no other statement, or the name of the constant.
pub const LISTED: &[(Rule, &str, &str)] = &[
    (
        Global,
        "select t.accepted, t.succeeded",
        "D7 is one sum over all lanes; read for a metric",
    ),
    (
        Global,
        "with taken as ( delete from tallies",
        "folds all lanes once a minute",
    ),
    (
        Global,
        "select lane, webhook, next_transition_at as at from webhook_health",
        "what is due, in whichever lane",
    ),
    (
        Global,
        "select min(next_transition_at) as at from webhook_health",
        "what is due next, in whichever lane",
    ),
    (
        Global,
        "select coalesce(sum(cardinality(notices))",
        "read for a metric",
    ),
    (Global, "select min(vis_at) as at from notice_queues", NOTICES),
    (Global, "select lane, webhook from notice_queues", NOTICES),
    (
        Global,
        "with replayed as (delete from replays where expires_at",
        DAILY,
    ),
    (
        Global,
        "with gone as ( delete from webhooks w where removed_at",
        DAILY,
    ),
    (Global, "from deliveries where event_at", DAILY),
    (Global, "and event > $1 and event <= $2 and ended_at >= $3", DAILY),
    (Global, "delete from notices n where n.kind = 7", DAILY),
    (
        Global,
        "select company, user_id, app from installations where app = $1",
        "an app leaves the marketplace",
    ),
    (
        Global,
        "from webhooks w cross join lateral (values (w.auth)",
        "what lies under which sealing key",
    ),
    (
        Global,
        "h.webhook = w.id where false",
        "who may see nothing: no row is read",
    ),
    (
        AcrossLanes,
        "select company, user_id, app from installations where app = $1",
        "an app leaves the marketplace",
    ),
    (AcrossLanes, "select h.lane, h.webhook as id from unnest", BATCH),
    (
        AcrossLanes,
        "join deliveries d on d.lane = i.lane and d.webhook = i.webhook and d.event = i.event and d.generation = i.generation and d.token = i.token order by",
        BATCH,
    ),
    (AcrossLanes, "join notice_queues q on q.lane = i.lane", NOTICES),
    (AcrossLanes, "select lane, webhook from notice_queues", NOTICES),
    (AcrossLanes, "join notice_queues q on q.lane = k.lane", NOTICES),
    (
        AcrossLanes,
        "select w.webhook, (select d.vis_at from deliveries d",
        "when each webhook has something due: one look at an index for each",
    ),
    (
        AcrossLanes,
        "select u.webhook, (select max(a.ended_at) from attempts a",
        "the last success of each webhook: as a join it reads every partition of the history",
    ),
    (
        AcrossLanes,
        "with recursive walk as",
        "the search for deliveries that nobody knows of, over every lane",
    ),
    (
        AcrossLanes,
        "select x.* from unnest($1::int[], $2::uuid[]) as w(lane, id)",
        "the last deliveries of each webhook of a list",
    ),
    (
        AcrossLanes,
        "percentile_disc(0.99)",
        "the figures of each webhook of a list",
    ),
    (
        AcrossLanes,
        "with old as materialized",
        "a replay of many deliveries",
    ),
    (
        AcrossLanes,
        "where a.lane = k.lane and a.webhook = k.webhook and a.ended_at >= $3 order by",
        SUBSCRIBERS,
    ),
    (AcrossLanes, "select k.place, w.lane, w.id", SUBSCRIBERS),
    (
        AcrossLanes,
        "where n.lane = k.lane and n.webhook = k.webhook and n.at >= $3",
        SUBSCRIBERS,
    ),
    (
        Clock,
        "select clock_timestamp() as at",
        "the server's clock follows it",
    ),
    (Clock, "insert into nodes", LIVENESS),
    (Clock, "update nodes set heartbeat_at", LIVENESS),
    (
        Clock,
        "delete from nodes where id <> $1 and heartbeat_at",
        LIVENESS,
    ),
    (Clock, "from nodes where id <> $1 and heartbeat_at >", LIVENESS),
    (ByRealTime, "changes::PRUNE", EVERY_MINUTE),
    (ByRealTime, "delivery_counters::FOLD", EVERY_MINUTE),
    (NotPlayed, "claim::CLAIM_ONE", REFUSED),
    (NotPlayed, "claim::PUT_BACK", REFUSED),
    (NotPlayed, "claim::VISIBLE", REFUSED),
    (NotPlayed, "creation_keys::CLAIM", IN_TESTS),
    (NotPlayed, "creation_keys::READ", IN_TESTS),
    (NotPlayed, "distribution::HAS_CITUS", COMMAND),
    (NotPlayed, "distribution::PLACED", COMMAND),
    (NotPlayed, "leases::EXTEND", STORE_TEST),
    (NotPlayed, "live::ENDED", IN_TESTS),
    (NotPlayed, "live::NAMED", IN_TESTS),
    (NotPlayed, "live::OF_SCOPES", IN_TESTS),
    (NotPlayed, "migrations::IS_LISTED", COMMAND),
    (NotPlayed, "migrations::LISTED", COMMAND),
    (NotPlayed, "migrations::LOCK", COMMAND),
    (NotPlayed, "nodes::OTHERS", COMMAND),
    (NotPlayed, "notice_queues::CLAIM", IN_TESTS),
    (NotPlayed, "notice_queues::DUE", IN_TESTS),
    (NotPlayed, "notice_queues::NEXT", IN_TESTS),
    (NotPlayed, "notice_queues::SETTLE", IN_TESTS),
    (NotPlayed, "notices::LAST_OF_EACH", IN_TESTS),
    (NotPlayed, "preconditions::READ", COMMAND),
    (NotPlayed, "replay_idempotency::CLAIM", STORE_TEST),
    (NotPlayed, "replay_idempotency::READ", STORE_TEST),
    (NotPlayed, "replay_idempotency::REMEMBER", STORE_TEST),
    (NotPlayed, "sealed::COUNT", COMMAND),
    (NotPlayed, "sealed::LOCK_OTHERS", COMMAND),
    (NotPlayed, "sealed::WRITE", COMMAND),
    (NotPlayed, "stats::READ", STORE_TEST),
];
