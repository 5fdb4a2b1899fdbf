//! `explore`: random histories against the reference model.

use std::fs::File;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use tenterhook_harness::command_line::TargetArgs;
use tenterhook_harness::coverage::{Cell, Reasons, TELLING};
use tenterhook_harness::explore::{self, Coverage, Ending, Found, Plan, STEPS};
use tenterhook_harness::realtime::Stopwatch;
use tenterhook_harness::world::Target;

/// Most seeds of one exploration, and most steps of a history.
const MAX_SEEDS: u64 = 1_000_000;
const MAX_STEPS: usize = 100_000;
/// Number of seeds per line in a log.
const LOGGED_EVERY: u64 = 20;

/// Play random histories and check every step against the reference model of the policy.
///
/// A history has creations, events, receivers that change their behaviour, jumps in time, pauses, uninstalls and
/// crashes. A failure is shrunk to a few steps, and the command that repeats it is printed. Exit code: 0 everything
/// held, 1 a promise was broken or, with 200 seeds or more, a rule or transition was never exercised, 2 it could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  explore --seeds 200              seeds 0 to 199, 200 steps each
  explore --from 200 --seeds 25    seeds 200 to 224
  explore --seed 42                one history
  explore --seed 42 --only 0,2,17  only these steps of it, as a failure prints them")]
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
    /// Write a digest of each history's requests to FILE, to compare two builds.
    ///
    /// A line per seed that held: the seed, a tab, a SHA-256. Requests of one instant have no order, so a seed whose digest
    /// differs may differ between two runs of one build too.
    #[arg(long, value_name = "FILE")]
    digests: Option<PathBuf>,
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
        // Opened first: a file that cannot be written is reported before the histories are played.
        let digest_file = self.digests.as_deref().map(|path| {
            let shown = path.display();
            File::create(path).with_context(|| format!("cannot write {shown}"))
        });
        let digest_file = digest_file.transpose()?;
        let watch = Stopwatch::start();
        let endings = self.play(target).await;
        progress("");
        if let Some(mut file) = digest_file {
            file.write_all(digests(&endings).as_bytes())
                .context("cannot write the digests")?;
        }
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

    /// Plays the chosen seed, or all until one breaks a promise.
    async fn play(&self, target: Option<&Target>) -> Vec<(u64, Ending)> {
        match self.seed {
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
        }
    }

    fn describe(&self, seed: u64, found: &Found) -> String {
        let breach = &found.breach;
        let mut text = format!(
            "\nA promise was broken in {} steps.\n\nchecked: {}\nexpected:\n{}\nfound:\n{}\nplace in the code: {}\n\nsteps:\n",
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
                "\nthe last requests that receivers got:\n{}\n",
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

/// A line for each history that held, in the order of the seeds: the seed, a tab, and the SHA-256 of its requests.
fn digests(endings: &[(u64, Ending)]) -> String {
    let held = endings.iter().filter_map(|(seed, ending)| match ending {
        Ending::Held(_, requests) => Some((*seed, requests.join("\n"))),
        Ending::Broken(_) | Ending::CouldNotRun(_) => None,
    });
    let mut held: Vec<(u64, String)> = held.collect();
    held.sort_unstable();
    let mut text = String::new();
    for (seed, requests) in held {
        let digest = Sha256::digest(requests.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{seed}\t{digest}\n"));
    }
    text
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// Overwrites the line on a terminal, prints a line elsewhere.
fn progress(text: &str) {
    // An error in showing progress does not stop the command.
    let _ = if stderr().is_terminal() {
        write!(stderr(), "\r\x1b[K{text}").and_then(|()| stderr().flush())
    } else if text.is_empty() {
        Ok(())
    } else {
        writeln!(stderr(), "{text}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_lines_in_the_order_of_the_seeds() {
        let held = |requests: &[&str]| {
            let requests = requests.iter().map(|line| (*line).to_owned()).collect();
            Ending::Held(Coverage::default(), requests)
        };
        let endings = [
            (10, held(&["a", "b"])),
            (3, Ending::CouldNotRun("no database".to_owned())),
            (2, held(&[])),
        ];
        // As `sha256sum` prints them for no input and for `a`, a newline and `b`.
        assert_eq!(
            digests(&endings),
            "2\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
             10\t7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78\n"
        );
    }
}
