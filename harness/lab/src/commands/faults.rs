//! `faults`: faults in everything around real servers, after which nothing may be lost.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use tenterhook_lab::faults::{self, Ending, Kind, Plan, Round};

/// Cause faults around real servers, and check whether an event is lost.
///
/// Kills servers and Postgres; cuts, stalls and silences their connections; fills the disk; steps clocks; silences name
/// servers; makes Postgres refuse values. After each round it checks whether every event is accounted for.
///
/// Starts its own Postgres and servers, in real time, and changes nothing else. Some faults need root: filling a disk,
/// and faults of name servers and addresses. Stepping clocks needs libfaketime, but not root. The report names the faults
/// that are not available here.
///
/// Exit code: 0 nothing was lost, 1 a promise was broken, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  faults --rounds 38                     every fault twice
  faults --rounds 220 --seed 7 --json    a campaign, its figures as JSON
  faults --fault fill-disk --rounds 5    one fault alone
  faults --seed 7 --rounds 220 --round 31")]
pub struct Faults {
    /// Number of rounds.
    #[arg(long, value_name = "N", default_value_t = 38)]
    rounds: u32,
    /// Seed of all random choices.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Stop at the end of the round after this number of seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Events per round. Every webhook gets a delivery of each.
    #[arg(long, value_name = "N", default_value_t = 500)]
    events: u32,
    /// Number of servers on the Postgres.
    #[arg(long, value_name = "N", default_value_t = 2)]
    servers: usize,
    /// Only these faults.
    #[arg(long = "fault", value_name = "FAULT", value_enum)]
    faults: Vec<Kind>,
    /// Only this round of the campaign, from 0.
    #[arg(long, value_name = "ROUND")]
    round: Option<u32>,
    /// The server's binary; by default the one next to this program.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Keep logs and data even if nothing was lost.
    #[arg(long)]
    keep: bool,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Faults {
    /// Runs the campaign. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let binary = match self.server {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("tenterhook"),
        };
        let binary = binary.canonicalize().with_context(|| {
            format!(
                "no server at {}: build it, or name one with --server",
                binary.display()
            )
        })?;
        let plan = Plan {
            rounds: self.rounds,
            seed: self.seed,
            servers: self.servers,
            events: self.events,
            kinds: if self.faults.is_empty() {
                Kind::all().to_vec()
            } else {
                self.faults
            },
            only: self.round,
            keep: self.keep,
        };
        let campaign = faults::run(&plan, &binary, self.duration, progress);
        let figures = tokio::select! {
            figures = campaign => figures?,
            // Dropping the campaign ends and unmounts everything that it started.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped"),
        };
        super::print(&match self.json {
            true => format!("{}\n", serde_json::to_string_pretty(&figures)?),
            false => figures.to_string(),
        })?;
        Ok(u8::from(!figures.held()))
    }
}

fn progress(round: &Round, ending: &Ending) {
    let faults: Vec<String> = round.faults.iter().map(|kind| kind.name()).collect();
    let word = if ending.breaches.is_empty() {
        "held"
    } else {
        "BROKEN"
    };
    eprintln!(
        "round {:>4} {word:<6} {:>6} events, {:>6} deliveries, {:>4} duplicates, stall {:>5.1} s, {}",
        round.number,
        ending.events,
        ending.deliveries.iter().sum::<u64>(),
        ending.duplicates,
        ending.stall,
        faults.join(" and ")
    );
}
