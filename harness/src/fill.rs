//! A database as a server would have left it after a month: companies, webhooks, their history, and what is still owed.
//!
//! Promises rows that a server could have written itself: lanes by the same hash, ids that carry their moment, attempts
//! that follow each other by the default schedule, counters and tallies that add up, secrets that open with the harness's
//! own key. They lie in companies that nobody else has, in the same shape each time: one company in which a tenth of
//! everything happens, a hundredth of them with two fifths, and the many with the rest.
//!
//! Two things are of a server with other settings than the default: nobody is ever banned, and a first retry comes a
//! day later, so that what is open stays so while somebody measures. Ends nothing that it has begun when it fails: the
//! database is to be made anew.

mod history;
mod sealing;
mod tenants;

use std::fmt;
use std::ops::RangeInclusive;

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio_postgres::{Client, Config, NoTls};

use self::history::History;
use crate::realtime;

/// Webhooks of each company, all of one user and for every event.
pub const WEBHOOKS_OF_COMPANY: u32 = 4;
/// Company ids of fills begin here, apart from those of loads, worlds and people, and are below 2^53.
pub const FIRST_COMPANY: i64 = 5_000_000_000_000;
/// The user of each company, an admin.
pub const USER: u64 = 1;
/// How many webhooks there can be: fewer companies would not have all three sizes.
pub const WEBHOOKS: RangeInclusive<u32> = 3 * WEBHOOKS_OF_COMPANY..=1_000_000;
/// The most deliveries that are still owed.
pub const MOST_OPEN: u64 = 10_000_000;
/// The most attempts of deliveries that have ended.
pub const MOST_ATTEMPTS: u64 = 1_000_000_000;
/// Over how many days the history can go: not less than a night, not more partitions than anybody keeps.
pub const DAYS: RangeInclusive<u32> = 2..=90;
/// Connections that write at once: one waits for the disk while the other works.
const WRITERS: usize = 2;

/// How much to fill in.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many webhooks: a multiple of [`WEBHOOKS_OF_COMPANY`] within [`WEBHOOKS`].
    pub webhooks: u32,
    /// Deliveries that are still owed, each after one failed attempt: a multiple of [`WEBHOOKS_OF_COMPANY`], at most
    /// [`MOST_OPEN`].
    pub open: u64,
    /// Attempts of deliveries that have ended: at least one for each webhook, at most [`MOST_ATTEMPTS`]. There may be up
    /// to 79 fewer, since each share of outcomes is whole.
    pub attempts: u64,
    /// Days of history within [`DAYS`], today included.
    pub days: u32,
    /// Where the webhooks lead; the number of each is added to it.
    pub url: String,
}

/// What was filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Companies, from [`FIRST_COMPANY`] on; the first is the large one, then come the busy ones.
    pub companies: u32,
    /// How many of them are busy.
    pub busy: u32,
    /// Webhooks.
    pub webhooks: u32,
    /// Events.
    pub events: u64,
    /// Attempts, those of open deliveries included.
    pub attempts: u64,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that failed four times.
    pub failed: u64,
    /// Deliveries that were lost in a pause.
    pub lost: u64,
    /// Deliveries that are still owed.
    pub open: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Events that are written, with all that belongs to them.
    pub written: u64,
    /// Events of the whole plan.
    pub planned: u64,
}

impl Plan {
    /// Refuses what cannot be filled in, naming the argument.
    ///
    /// # Errors
    ///
    /// When a number is out of its bounds or does not divide.
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

    /// What it will come to.
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

/// Fills the database, which must have the server's schema and nothing in these companies; tells `progress` after each
/// piece.
///
/// # Errors
///
/// When the plan is out of bounds, or the database is not such a one or cannot be written.
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
    // Whoever loses the machine meanwhile begins anew anyway.
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
        "the database has {lanes:?} lanes, and a fill knows {} alone",
        tenants::LANES
    );
    let taken = "select exists (select from users where company >= $1) or exists (select from webhooks where company >= $1)";
    ensure!(
        !client
            .query_one(taken, &[&FIRST_COMPANY])
            .await?
            .get::<_, bool>(0),
        "the database has companies from {FIRST_COMPANY} on already: it was filled before"
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
