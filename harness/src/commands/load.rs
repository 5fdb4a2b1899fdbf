//! `load`: events at a steady rate, and how long their deliveries took.

use clap::{Args, ValueEnum};

use tenterhook_harness::load::{self, Plan};

use super::target::TargetArgs;

/// Publish events at a steady rate and measure when their deliveries arrive at a receiver on this machine.
///
/// Without a target, a server and a Postgres are started for it. A server elsewhere must run on the system clock and
/// allow webhooks to loopback. Exit code: 0 everything arrived, 1 something did not within the grace time or could not
/// be published, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  load --rate 200 --seconds 30              200 events per second to one webhook
  load --rate 50 --fan-out 20 --batch 10    five calls per second, 1000 deliveries per second
  load --target http://127.0.0.1:8080 --jwt-key data/jwt.key --format json")]
pub struct Load {
    /// Events per second, up to 100000.
    #[arg(long, value_name = "EVENTS", default_value_t = 50.0)]
    rate: f64,
    /// How long to publish, 1 to 3600.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,
    /// How many webhooks get each event, 1 to 1000.
    #[arg(long, value_name = "WEBHOOKS", default_value_t = 1)]
    fan_out: u32,
    /// Events of each call, 1 to 1000.
    #[arg(long, value_name = "EVENTS", default_value_t = 1)]
    batch: u32,
    /// How many seconds to wait for deliveries after the last answer, up to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u32,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people.
    Text,
    /// One JSON object; latencies are in milliseconds.
    Json,
}

impl Load {
    /// Runs the load, and answers the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let plan = Plan {
            rate: self.rate,
            seconds: self.seconds,
            fan_out: self.fan_out,
            batch: self.batch,
            grace: self.grace,
        };
        let figures = load::run(&plan, self.target.target(true)?.as_ref(), |progress| {
            eprintln!(
                "{:.0} s: {} of {} deliveries have arrived",
                progress.seconds, progress.arrived, progress.planned
            );
        })
        .await?;
        super::print(&match self.format {
            Format::Text => figures.to_string(),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&figures)?),
        })?;
        Ok(u8::from(!figures.complete()))
    }
}
