//! `load`: measures a server at a steady rate, with callers that wait for responses, with a backlog, or without work.

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgGroup, Args, ValueEnum};

use tenterhook_lab::load::{self, Against, Plan, Programs, Work};

use tenterhook_harness::command_line::TargetArgs;

/// Publish events, and measure when their deliveries arrive and what that costs.
///
/// The receivers are on this machine. With --server the command starts processes of that program on its own durable
/// Postgres, and reports their use of CPU and memory. With --target it uses a remote server, which must run on the
/// system clock and allow webhooks to loopback. Otherwise it starts a server in this process. Rates and latencies leave
/// out the warm-up. Exit code: 0 everything arrived, 1 something could not be published or did not arrive within the
/// grace time, 2 it could not run.
#[derive(Args)]
#[command(
    group(ArgGroup::new("work").args(["rate", "callers", "drain", "idle"])),
    after_help = "Examples:
  load --server target/dist/tenterhook --callers 32                 as fast as 32 callers get their responses
  load --server target/dist/tenterhook --callers 32 --fan-out 10
  load --server target/dist/tenterhook --rate 100 --seconds 30      100 events per second, however slow the responses
  load --server target/dist/tenterhook --drain 500000               how fast a backlog is delivered
  load --server target/dist/tenterhook --idle 60                    what an idle server uses
  load --target http://127.0.0.1:8080 --jwt-key data/jwt.key --format json"
)]
pub struct Load {
    /// Events per second, up to 100000, even if earlier calls have no response yet. Default: 50, unless other work is chosen.
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// Number of callers that wait for each response before their next call, 1 to 1000.
    #[arg(long, value_name = "N")]
    callers: Option<u32>,
    /// Deliver a backlog of this size, created while the servers are stopped, up to 5000000.
    #[arg(long, value_name = "DELIVERIES", requires = "server")]
    drain: Option<u64>,
    /// Do nothing for this number of seconds, 1 to 3600.
    #[arg(long, value_name = "SECONDS", requires = "server")]
    idle: Option<u32>,
    /// Seconds to measure, 1 to 3600.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,
    /// Seconds of the same work before the measurement, up to 600; the figures leave them out.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    warm_up: u32,
    /// Number of webhooks that get each event, 1 to 1000.
    #[arg(long, value_name = "WEBHOOKS", default_value_t = 1)]
    fan_out: u32,
    /// Number of companies, 1 to 100000, each with its own webhooks. They get the events in turn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    companies: u32,
    /// Events per call, 1 to 1000.
    #[arg(long, value_name = "EVENTS", default_value_t = 1)]
    batch: u32,
    /// Bytes of an event's data, 16 to 262144.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    body_bytes: u32,
    /// Percentage of webhooks whose receiver responds with 500.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, requires = "server")]
    failing: u32,
    /// Number of additional webhooks whose receiver never responds, up to 10000, spread over the companies.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "server")]
    hanging: u32,
    /// Number of hosts for the receivers, 1 to 10000; receivers that hang have the same number of other hosts. More than
    /// one host needs a system with all addresses of 127/8, such as Linux.
    #[arg(long, value_name = "N", default_value_t = 1)]
    hosts: u32,
    /// Seconds to wait for deliveries after the last response, up to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u32,
    /// The server's program, to start processes for the load.
    #[arg(long, value_name = "PATH", conflicts_with = "target")]
    server: Option<PathBuf>,
    /// Number of server processes, 1 to 8, which get the calls in turn.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "server")]
    servers: u32,
    /// The servers' database, sealed with the harness's key. Default: a durable Postgres is started.
    #[arg(long, value_name = "URL", requires = "server")]
    database: Option<String>,
    /// An additional setting of the servers, by its environment variable; can be repeated.
    #[arg(long, value_name = "NAME=VALUE", requires = "server", value_parser = setting)]
    setting: Vec<(String, String)>,
    /// An additional setting of the Postgres that is started; can be repeated.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        requires = "server",
        conflicts_with = "database"
    )]
    postgres_setting: Vec<String>,
    /// Also list the ten statements on which Postgres spent most time.
    #[arg(long)]
    statements: bool,
    /// Output format.
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

fn setting(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Load {
    /// Runs the load. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let plan = self.plan();
        let figures = load::run(&plan, &self.against()?, |progress| {
            eprintln!(
                "{:.0} s: {} deliveries have arrived",
                progress.seconds, progress.arrived
            );
        })
        .await?;
        super::print(&match self.format {
            Format::Text if self.statements => format!("{figures}{}", figures.statements()),
            Format::Text => figures.to_string(),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&figures)?),
        })?;
        Ok(u8::from(!figures.complete()))
    }

    fn plan(&self) -> Plan {
        let (work, seconds) = match (self.callers, self.drain, self.idle) {
            (Some(callers), ..) => (Work::Callers(callers), self.seconds),
            (_, Some(deliveries), _) => (Work::Backlog(deliveries), self.seconds),
            (.., Some(seconds)) => (Work::Idle, seconds),
            (None, None, None) => (Work::Rate(self.rate.unwrap_or(50.0)), self.seconds),
        };
        Plan {
            work,
            seconds,
            warm_up: self.warm_up,
            fan_out: self.fan_out,
            companies: self.companies,
            batch: self.batch,
            body_bytes: self.body_bytes,
            failing: self.failing,
            hanging: self.hanging,
            hosts: self.hosts,
            grace: self.grace,
        }
    }

    fn against(&self) -> anyhow::Result<Against> {
        let target = self.target.target(true)?;
        Ok(match (&self.server, target) {
            (Some(binary), _) => Against::Programs(Programs {
                binary: binary.clone(),
                count: self.servers,
                database: self.database.clone(),
                settings: self.setting.clone(),
                postgres_settings: self.postgres_setting.clone(),
            }),
            (None, Some(target)) => Against::Target(target),
            (None, None) => Against::Own,
        })
    }
}
