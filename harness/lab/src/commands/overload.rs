//! `overload`: more than a server can handle, and how it behaves.

use std::path::PathBuf;

use clap::Args;

use tenterhook_lab::overload::{self, Plan};

/// Overload a real server, and measure memory, refusals and the delays of another company.
///
/// Floods it with publications, gives it a backlog while half of the receivers hang, and lets it recover.
///
/// Starts its own Postgres and server, and changes nothing else. Runs on Linux only. Exit code: 0 every expectation
/// held, 1 one did not, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  overload --server target/dist/tenterhook
  overload --webhooks 100 --deliveries 2000 --seconds 2 --drain 60 --json")]
pub struct Overload {
    /// Number of webhooks, 2 to 100000; half of their receivers hang.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    webhooks: u32,
    /// Number of deliveries in the backlog, up to 10000000.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    deliveries: u64,
    /// Duration of each part in seconds, 1 to 600.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
    /// Events per second of a quiet company, which is observed during the overload, 1 to 1000.
    #[arg(long, value_name = "EVENTS", default_value_t = 20)]
    quiet_rate: u32,
    /// Number of callers that flood the server for one company, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    flooders: u32,
    /// Number of callers that publish 6 MiB at a time, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 64)]
    large_callers: u32,
    /// Maximum number of calls of each of these callers, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 10)]
    large_calls: u32,
    /// Seconds to wait at the end until all deliveries have ended, up to 7200.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    drain: u32,
    /// Allowed memory of the server, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512.0)]
    memory_bound: f64,
    /// The server's binary; by default the one next to this program.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Overload {
    /// Runs the overload. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let server = match self.server {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("tenterhook"),
        };
        let plan = Plan {
            webhooks: self.webhooks,
            deliveries: self.deliveries,
            seconds: self.seconds,
            quiet_rate: self.quiet_rate,
            flooders: self.flooders,
            large_callers: self.large_callers,
            large_calls: self.large_calls,
            drain: self.drain,
            memory_bound: self.memory_bound,
        };
        let figures = overload::run(&plan, &server, |at| eprintln!("{at}")).await?;
        super::print(&if self.json {
            format!("{}\n", serde_json::to_string_pretty(&figures)?)
        } else {
            figures.to_string()
        })?;
        Ok(u8::from(!figures.missed().is_empty()))
    }
}
