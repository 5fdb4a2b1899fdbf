//! Fills a database as a server would have left it after a month: companies, webhooks, their history, and open
//! deliveries.
//!
//! The rows are such as a server could have written: lanes by the same hash, ids with their time, attempts at the times
//! of the default schedule, counters and tallies that add up, and secrets that the harness's key opens. Their companies
//! have ids that nothing else uses, and the same sizes each time: the first company has a tenth of all events, the busy
//! ones, which are a hundredth of all companies, have two fifths, and the others have the rest.
//!
//! Two things need a server whose settings are not the defaults: no webhook is banned, and a first retry comes a day
//! later, so that open deliveries stay open during a measurement. A fill that fails leaves its rows behind: create the
//! database again then.

mod history;
mod sealing;
mod tenants;

use std::fmt;
use std::ops::RangeInclusive;

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio_postgres::{Client, Config, NoTls};

use tenterhook_harness::realtime;

use self::history::History;

/// Webhooks of each company. All belong to one user and are for every event.
pub const WEBHOOKS_OF_COMPANY: u32 = 4;
/// First company id of fills: different from those of loads, worlds and people, and below 2^53.
pub const FIRST_COMPANY: i64 = 5_000_000_000_000;
/// The user of each company, an admin.
pub const USER: u64 = 1;
/// Allowed numbers of webhooks. With fewer there would not be companies of all three sizes.
pub const WEBHOOKS: RangeInclusive<u32> = 3 * WEBHOOKS_OF_COMPANY..=1_000_000;
/// Most open deliveries.
pub const MOST_OPEN: u64 = 10_000_000;
/// Most attempts of deliveries that have ended.
pub const MOST_ATTEMPTS: u64 = 1_000_000_000;
/// Allowed days of history: the history crosses at least one midnight, and has no more partitions than anyone keeps.
pub const DAYS: RangeInclusive<u32> = 2..=90;
/// Concurrent connections: one waits for the disk while the other works.
const WRITERS: usize = 2;

/// The sizes of a fill.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of webhooks: a multiple of [`WEBHOOKS_OF_COMPANY`] within [`WEBHOOKS`].
    pub webhooks: u32,
    /// Open deliveries, each after one failed attempt: a multiple of [`WEBHOOKS_OF_COMPANY`], at most [`MOST_OPEN`].
    pub open: u64,
    /// Attempts of deliveries that have ended: at least one for each webhook, at most [`MOST_ATTEMPTS`]. The fill may
    /// have up to 79 fewer, because it has only whole groups of outcomes.
    pub attempts: u64,
    /// Days of history within [`DAYS`], including today.
    pub days: u32,
    /// The beginning of the webhooks' URLs. Each webhook's number follows.
    pub url: String,
}

/// The contents of a filled database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Companies, from [`FIRST_COMPANY`] on. The first is the large one, then come the busy ones.
    pub companies: u32,
    /// Number of busy companies.
    pub busy: u32,
    /// Number of webhooks of all companies.
    pub webhooks: u32,
    /// Number of events of all companies.
    pub events: u64,
    /// Attempts, including those of open deliveries.
    pub attempts: u64,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that failed four times.
    pub failed: u64,
    /// Deliveries that were lost during a pause.
    pub lost: u64,
    /// Open deliveries.
    pub open: u64,
}

/// The progress of a fill.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Events that were written, with their deliveries and attempts.
    pub written: u64,
    /// Events of the whole plan.
    pub planned: u64,
}

impl Plan {
    /// Refuses what cannot be filled in, and names the argument.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds or not a multiple of what it must be.
    pub fn check(&self) -> anyhow::Result<()> {
        let (webhooks, each) = (self.webhooks, WEBHOOKS_OF_COMPANY);
        ensure!(
            WEBHOOKS.contains(&webhooks) && webhooks.is_multiple_of(each),
            "--webhooks must be a multiple of {each} from {} to {}, not {webhooks}",
            WEBHOOKS.start(),
            WEBHOOKS.end()
        );
        ensure!(
            self.open <= MOST_OPEN && self.open.is_multiple_of(u64::from(each)),
            "--open must be a multiple of {each} up to {MOST_OPEN}, not {}",
            self.open
        );
        ensure!(
            (u64::from(webhooks)..=MOST_ATTEMPTS).contains(&self.attempts),
            "--attempts must be {webhooks}, one for each webhook, to {MOST_ATTEMPTS}, not {}",
            self.attempts
        );
        ensure!(
            DAYS.contains(&self.days),
            "--days must be {} to {}, not {}",
            DAYS.start(),
            DAYS.end(),
            self.days
        );
        Ok(())
    }

    /// The contents that the plan results in.
    pub fn filled(&self) -> Filled {
        let companies = self.webhooks / WEBHOOKS_OF_COMPANY;
        let shares = history::shares(self);
        Filled {
            companies,
            busy: history::busy(companies),
            webhooks: self.webhooks,
            events: history::events(self) + self.open / u64::from(WEBHOOKS_OF_COMPANY),
            attempts: shares * history::ATTEMPTS_OF_SHARE + u64::from(self.webhooks) + self.open,
            succeeded: shares * history::SUCCEEDED_OF_SHARE + u64::from(self.webhooks),
            failed: shares * history::FAILED_OF_SHARE,
            lost: shares * history::LOST_OF_SHARE,
            open: self.open,
        }
    }
}

/// Fills the database, which must have the server's schema and none of these companies. Calls `progress` after each
/// part.
///
/// # Errors
///
/// If the plan is out of bounds, if the database is not as required, or if it cannot be written.
pub async fn run(plan: &Plan, database: &Config, progress: impl Fn(Progress)) -> anyhow::Result<Filled> {
    plan.check()?;
    let client = connect(database).await?;
    refuse_unless_empty(&client).await?;
    let now = client
        .query_one("select now()::text", &[])
        .await?
        .get::<_, String>(0);
    let history = History::new(plan, &now.parse().context("the database's time")?);
    history.make_partitions(&client).await?;
    tenants::write(&client, plan, history.begins()).await?;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(connect(database).await?);
    }
    history.write(&writers, progress).await?;
    history.settle(&client).await?;
    Ok(plan.filled())
}

async fn connect(database: &Config) -> anyhow::Result<Client> {
    let (client, connection) = database
        .connect(NoTls)
        .await
        .context("cannot connect to the database")?;
    realtime::spawn(async move { drop(connection.await) });
    // Not durable: after a crash of the machine the fill starts again in any case.
    client.batch_execute("set synchronous_commit = off").await?;
    Ok(client)
}

async fn refuse_unless_empty(client: &Client) -> anyhow::Result<()> {
    let migrated = "select count(to_regclass(t)) = 7 from unnest('{settings,users,webhooks,events,deliveries,attempts,outcomes}'::text[]) as t";
    ensure!(
        client.query_one(migrated, &[]).await?.get::<_, bool>(0),
        "the database lacks the server's tables: run `tenterhook migrate` on it first"
    );
    let lanes = client
        .query_opt("select value from settings where key = 'lanes'", &[])
        .await?
        .map(|row| row.get::<_, String>(0));
    ensure!(
        lanes == Some(tenants::LANES.to_string()),
        "the database has {lanes:?} lanes, and `fill` supports only {}",
        tenants::LANES
    );
    let taken = "select exists (select from users where company >= $1) or exists (select from webhooks where company >= $1)";
    ensure!(
        !client
            .query_one(taken, &[&FIRST_COMPANY])
            .await?
            .get::<_, bool>(0),
        "the database already has companies from {FIRST_COMPANY} on, so it was filled before"
    );
    Ok(())
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "companies   {} from {FIRST_COMPANY} on: a large one, {} busy ones; user {USER} is an admin of each",
            self.companies, self.busy
        )?;
        writeln!(f, "webhooks    {}", self.webhooks)?;
        writeln!(f, "events      {}", self.events)?;
        writeln!(f, "attempts    {}", self.attempts)?;
        writeln!(
            f,
            "deliveries  {} succeeded, {} failed, {} lost, {} open",
            self.succeeded, self.failed, self.lost, self.open
        )
    }
}

#[cfg(test)]
mod tests;
