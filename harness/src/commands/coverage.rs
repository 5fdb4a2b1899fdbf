//! `coverage`: what a run of the scenarios exercises.

use clap::Args;

use tenterhook_harness::coverage::{self, Draw, Matrix, Reasons};
use tenterhook_harness::explore::{self, Ending, STEPS};
use tenterhook_harness::run::Verdict;
use tenterhook_harness::runner::Runner;
use tenterhook_harness::scenarios;

use super::run::Progress;

/// Most histories, as for `explore`.
const MAX_SEEDS: u64 = 1_000_000;

/// Count what the scenarios exercise: each rule by webhook type and error class or fault.
///
/// Plays all scenarios in this process, and reads from the API what happened to each of their webhooks. A cell of the matrix
/// is exercised if a scenario that covers the rule held and one of its webhooks went through the situation. An empty cell
/// needs a reason in `harness/src/coverage/reasons.tsv`, and a reason for a cell that is exercised is outdated.
///
/// Exit code: 0 every empty cell has a reason, 1 one has none, a reason is outdated or a promise was broken, 2 something
/// could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  coverage                        the matrix of all scenarios
  coverage --explore 200          with random histories of the seeds 0 to 199
  coverage --draws 20 --seed 7    what 20 scenarios, drawn at random, would leave empty if they were deleted
  coverage --json                 for programs")]
pub struct Coverage {
    /// Also count this number of random histories.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_SEEDS))]
    explore: Option<u64>,
    /// Draw this number of scenarios, and print for each the cells that no other scenario fills.
    #[arg(long, value_name = "N", default_value_t = 0)]
    draws: usize,
    /// The seed of the draws.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Show no progress on standard error.
    #[arg(long, short)]
    quiet: bool,
}

impl Coverage {
    /// Plays, counts and prints. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let reasons = Reasons::on_file()?;
        let mut matrix = Matrix::default();
        let played = self.play(&mut matrix).await;
        if played != 0 {
            // What did not run was not counted, so the matrix would show gaps that do not exist.
            return Ok(played);
        }
        if let Some(seeds) = self.explore
            && !explored(&mut matrix, seeds).await?
        {
            return Ok(1);
        }
        let drawn = coverage::draw(&matrix, self.draws, self.seed);
        let complaints = matrix.complaints(&reasons);
        if self.json {
            let json = coverage::json(&matrix, &reasons, &drawn);
            super::print(&format!("{json:#}\n"))?;
        } else {
            super::print(&self.text(&matrix, &reasons, &drawn, &complaints))?;
        }
        Ok(u8::from(!complaints.is_empty()))
    }

    /// Plays all scenarios. Returns the exit code: 0 if all of them held.
    async fn play(&self, matrix: &mut Matrix) -> u8 {
        let all = scenarios::all();
        let mut progress = Progress::new(!self.quiet, all.len());
        let run = Runner::in_process()
            .count(&all, |scenario, outcome, lives| {
                progress.step(outcome);
                if outcome.verdict == Verdict::Held {
                    matrix.add_scenario(&scenario.name, scenario.rules, lives);
                }
            })
            .await;
        progress.end();
        for outcome in &run.outcomes {
            match &outcome.verdict {
                Verdict::Held => {}
                Verdict::Broken(breach) => eprintln!("{} broke a promise: {}", outcome.name, breach.what),
                Verdict::Skipped(why) => eprintln!("{} was skipped: {why}", outcome.name),
                Verdict::CouldNotRun(why) => eprintln!("{} could not run: {why}", outcome.name),
            }
        }
        run.exit_code()
    }

    fn text(&self, matrix: &Matrix, reasons: &Reasons, drawn: &[Draw], complaints: &[String]) -> String {
        let mut text = coverage::text(matrix, reasons);
        if !drawn.is_empty() {
            text.push('\n');
            text.push_str(&coverage::draws_text(drawn, self.seed));
        }
        if !complaints.is_empty() {
            text.push_str(&format!(
                "\n{} cells do not agree with harness/src/coverage/reasons.tsv:\n",
                complaints.len()
            ));
            for complaint in complaints {
                text.push_str(&format!("  {complaint}\n"));
            }
        }
        text
    }
}

/// Plays and counts random histories. Returns whether all of them held.
async fn explored(matrix: &mut Matrix, seeds: u64) -> anyhow::Result<bool> {
    for (seed, ending) in explore::explore(0..seeds, STEPS, None, |_, _| {}).await {
        match ending {
            Ending::Held(exercised, _) => matrix.add_history(exercised.cells()),
            Ending::Broken(found) => {
                eprintln!(
                    "seed {seed} broke a promise: {}; `explore --seed {seed}` shrinks the history",
                    found.breach.what
                );
                return Ok(false);
            }
            Ending::CouldNotRun(why) => anyhow::bail!("seed {seed}: {why}"),
        }
    }
    Ok(true)
}
