//! `reads`: how long a real server takes for queries about a long history.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use tenterhook_lab::read_latency::{self, Answers, Plan};

use super::fill::{PlanArgs, report};

/// Measure queries for lists, history, statistics and objects on a filled database.
///
/// Without --database, a Postgres is started and filled first. Exit code: 0 all queries are within the bound, 1 a query
/// took longer or failed, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  reads --server target/dist/tenterhook
  reads --server target/dist/tenterhook --database postgres://localhost/filled --json")]
pub struct Reads {
    /// The server's binary; by default the one next to this program.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// A database that `fill` has filled.
    #[arg(long, value_name = "URL", conflicts_with_all = ["webhooks", "open", "attempts", "days", "url"])]
    database: Option<String>,
    #[command(flatten)]
    fill: PlanArgs,
    /// Number of samples per query, 10 to 100000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    samples: u32,
    /// Bound for the 99th percentile, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20.0)]
    bound: f64,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Reads {
    /// Measures. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let server = match self.server {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("tenterhook"),
        };
        let plan = Plan {
            samples: self.samples,
            bound: self.bound,
        };
        plan.check()?;
        let told = |answers: &Answers| {
            eprintln!(
                "{}: {:.1} ms, {:.1} ms",
                answers.question, answers.few.p50, answers.many.p50
            )
        };
        let figures = match &self.database {
            Some(url) => {
                let url_is_one = url.parse::<tokio_postgres::Config>();
                url_is_one.context("--database is not the URL of a database")?;
                read_latency::run(&plan, &server, url, told).await?
            }
            None => read_latency::run_filled(&plan, &server, &self.fill.plan(), report, told).await?,
        };
        super::print(&if self.json {
            format!("{}\n", serde_json::to_string_pretty(&figures)?)
        } else {
            figures.to_string()
        })?;
        Ok(u8::from(!figures.kept()))
    }
}
