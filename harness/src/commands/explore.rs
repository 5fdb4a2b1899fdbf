//! `explore`: random histories against the reference model.

use std::io::{IsTerminal, Write, stderr};

use anyhow::ensure;
use clap::Args;

use tenterhook_harness::coverage::{Cell, Reasons, TELLING};
use tenterhook_harness::explore::{self, Coverage, Ending, Found, Plan, STEPS};
use tenterhook_harness::realtime::Stopwatch;

use tenterhook_harness::command_line::TargetArgs;

/// Most seeds of one exploration, and most steps of a history.
const MAX_SEEDS: u64 = 1_000_000;
const MAX_STEPS: usize = 100_000;
/// Number of seeds per line in a log.
const LOGGED_EVERY: u64 = 20;

/// Play random histories and check every step against the reference model of the policy.
///
/// A history has creations, events, receivers that change their behaviour, jumps in time, pauses, uninstalls and
/// crashes. A failure is shrunk to a few steps, and the command that repeats it is printed. Exit code: 0 everything
/// held, 1 a promise was broken or, over 200 seeds, something was never exercised, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  explore --seeds 200              seeds 0 to 199, 200 steps each
  explore --from 200 --seeds 25    seeds 200 to 224
  explore --seed 42                one history
  explore --seed 42 --only 0,2,17  only these of its steps, as a failure prints them")]
pub struct Explore {
    /// Number of seeds to play.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MAX_SEEDS))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "seed", value_parser = clap::value_parser!(u64).range(..=MAX_SEEDS))]
    from: u64,
    /// Play only this seed.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Number of steps per history.
    #[arg(long, value_name = "N", default_value_t = STEPS)]
    steps: usize,
    /// Take only the steps at these positions of the seed's history.
    #[arg(long, value_name = "PLACES", value_delimiter = ',', requires = "seed")]
    only: Vec<usize>,
    /// Report a failure at once, without shrinking it.
    #[arg(long)]
    no_shrink: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Explore {
    /// Runs the exploration. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        ensure!(
            (1..=MAX_STEPS).contains(&self.steps),
            "--steps must be 1 to {MAX_STEPS}, not {}",
            self.steps
        );
        let target = self.target.target(false)?;
        let target = target.as_ref();
        let watch = Stopwatch::start();
        let endings = match self.seed {
            Some(seed) => {
                let plan = Plan::new(seed, self.steps);
                let plan = if self.only.is_empty() {
                    plan
                } else {
                    plan.only(&self.only)
                };
                vec![(seed, explore::play(&plan, target).await)]
            }
            None => {
                let mut done = 0;
                let all = self.seeds;
                explore::explore(self.from..self.from + all, self.steps, target, |_, _| {
                    done += 1;
                    if done % LOGGED_EVERY == 0 || stderr().is_terminal() {
                        progress(&format!("{done} of {all} seeds"));
                    }
                })
                .await
            }
        };
        progress("");
        let played = endings.len();
        let mut coverage = Coverage::default();
        for (seed, ending) in endings {
            match ending {
                Ending::Held(exercised, _) => coverage.add(&exercised),
                Ending::CouldNotRun(why) => anyhow::bail!("seed {seed}: {why}"),
                Ending::Broken(found) => {
                    let found = if self.no_shrink {
                        found.until_breach()
                    } else {
                        eprintln!("seed {seed} broke a promise after step {}; shrinking", found.at);
                        explore::shrink(*found, target, |left| progress(&format!("{left} steps left"))).await
                    };
                    progress("");
                    super::print(&self.describe(seed, &found))?;
                    return Ok(1);
                }
            }
        }
        let mut text = coverage.to_string();
        text.push_str(&format!(
            "\n{played} histories of {} steps held in {:.0} s.\n",
            self.steps,
            watch.seconds()
        ));
        let mut missing: Vec<String> = coverage.missing().into_iter().map(str::to_owned).collect();
        let unexplored = Reasons::on_file()?.unexplored(coverage.cells());
        missing.extend(unexplored.iter().map(Cell::to_string));
        if self.seed.is_none() && !missing.is_empty() {
            text.push_str(&format!("never exercised: {}\n", missing.join(", ")));
        }
        super::print(&text)?;
        Ok(u8::from(
            self.seed.is_none() && self.seeds >= TELLING && target.is_none() && !missing.is_empty(),
        ))
    }

    fn describe(&self, seed: u64, found: &Found) -> String {
        let breach = &found.breach;
        let mut text = format!(
            "\nA promise was broken in {} steps.\n\nlooked at: {}\nexpected:\n{}\nseen:\n{}\nchecked at {}\n\nsteps:\n",
            found.plan.steps.len(),
            breach.what,
            indented(&breach.expected),
            indented(&breach.seen),
            breach.place
        );
        for (place, step) in &found.plan.steps {
            text.push_str(&format!("  {place:>4}  {step}\n"));
        }
        if !found.heard.is_empty() {
            text.push_str(&format!(
                "\nthe last that receivers heard:\n{}\n",
                indented(&found.heard.join("\n"))
            ));
        }
        let places: Vec<String> = found.plan.places().iter().map(usize::to_string).collect();
        let steps = if self.steps == STEPS {
            String::new()
        } else {
            format!(" --steps {}", self.steps)
        };
        text.push_str(&format!(
            "\nRepeat it with:\n  tenterhook-harness explore --seed {seed}{steps} --only {}\n",
            places.join(",")
        ));
        text
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// Overwrites the line on a terminal, prints a line elsewhere.
fn progress(text: &str) {
    // An error in showing progress is no reason to stop.
    let _ = if stderr().is_terminal() {
        write!(stderr(), "\r\x1b[K{text}").and_then(|()| stderr().flush())
    } else if text.is_empty() {
        Ok(())
    } else {
        writeln!(stderr(), "{text}")
    };
}
