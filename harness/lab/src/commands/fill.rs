//! `fill`: fills a database with a month of history and with open deliveries.

use anyhow::Context;
use clap::Args;

use tenterhook_lab::seed_database::{self, Plan, Progress};

/// Fill a migrated database with webhooks, a history of some days and open deliveries.
///
/// The rows are like those that a server leaves, for many companies.
///
/// Needs no server. The webhooks' secrets are sealed with the harness's own key. Give servers that run on the database
/// a ban threshold that they never reach. Exit code: 0 it is filled, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  fill --database postgres://localhost/tenterhook
  fill --database postgres://localhost/tenterhook --webhooks 400 --open 4000 --attempts 100000 --days 7")]
pub struct Fill {
    /// The database to fill: migrated, and never filled before.
    #[arg(long, value_name = "URL")]
    database: String,
    #[command(flatten)]
    plan: PlanArgs,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The sizes of a fill.
#[derive(Args)]
pub struct PlanArgs {
    /// Number of webhooks, 12 to 1000000, four per company.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    webhooks: u32,
    /// Number of open deliveries, up to 10000000, four per event; they are due in one to four hours.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    open: u64,
    /// Number of attempts in the history, at least one per webhook, up to 1000000000.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    attempts: u64,
    /// Number of days, 2 to 90, including today.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
    /// The beginning of the webhooks' URLs; each webhook's number follows.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9")]
    url: String,
}

impl PlanArgs {
    /// The plan for the library.
    pub fn plan(&self) -> Plan {
        Plan {
            webhooks: self.webhooks,
            open: self.open,
            attempts: self.attempts,
            days: self.days,
            url: self.url.clone(),
        }
    }
}

impl Fill {
    /// Fills the database. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let database = self
            .database
            .parse()
            .context("--database is not the URL of a database")?;
        let filled = seed_database::run(&self.plan.plan(), &database, report).await?;
        super::print(&if self.json {
            format!("{}\n", serde_json::to_string_pretty(&filled)?)
        } else {
            filled.to_string()
        })?;
        Ok(0)
    }
}

/// Prints the progress.
pub fn report(progress: Progress) {
    let percent = |written: u64| written * 100 / progress.planned.max(1);
    eprintln!(
        "{} of {} events written ({} %)",
        progress.written,
        progress.planned,
        percent(progress.written)
    );
}
