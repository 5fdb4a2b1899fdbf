//! `explain`: shows the report of a saved run again.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use tenterhook_harness::naming;
use tenterhook_harness::report::{self, html, text};
use tenterhook_harness::run::Run;

/// Show a run that `run --format json --output FILE` saved, with its timelines.
#[derive(Args)]
#[command(after_help = "Examples:
  explain run.json                             every scenario with its timelines
  explain run.json failures-10                 one scenario, for both webhook types
  explain run.json --format html > run.html    a page for a browser")]
pub struct Explain {
    /// The saved run.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only scenarios with these names. A part of a name selects all that contain it.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// Lines of text.
    Text,
    /// One page for a browser.
    Html,
}

impl Explain {
    /// Reads and draws the run.
    ///
    /// # Errors
    /// If the file cannot be read, is not a run, or has no scenario with such a name.
    pub fn run(self) -> anyhow::Result<()> {
        let json = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let run = report::read(&json).with_context(|| format!("cannot explain {}", self.file.display()))?;
        let run = only(run, &self.names)?;
        super::print(&match self.format {
            Form::Text => text::draw(&run, text::Timelines::OfAll),
            Form::Html => html::draw(&run),
        })
    }
}

/// The run with only the named scenarios: those with this exact name, with or without the webhook type, or else those
/// whose name contains it.
fn only(mut run: Run, names: &[String]) -> anyhow::Result<Run> {
    if names.is_empty() {
        return Ok(run);
    }
    let all: Vec<String> = run.outcomes.iter().map(|outcome| outcome.name.clone()).collect();
    for name in names {
        ensure!(
            all.iter().any(|known| naming::is_like(known, name)),
            "no scenario of this run is called {name}; without names `explain` shows all"
        );
    }
    run.outcomes
        .retain(|outcome| naming::is_selected(&outcome.name, names, &all));
    run.real_seconds = run.outcomes.iter().map(|outcome| outcome.real_seconds).sum();
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let outcome = |name: &str| {
            format!(
                r#"{{"name":"{name}","sentence":"","rules":[],"verdict":"held","real_seconds":0.0,
                    "simulated_seconds":0.0,"timelines":[]}}"#
            )
        };
        let outcomes = ["failures-1", "failures-10", "ban-end"].map(outcome).join(",");
        report::read(&format!(
            r#"{{"version":"0","target":"","started":"2026-01-01T00:00:00Z","real_seconds":0.0,
                "outcomes":[{outcomes}]}}"#
        ))
        .unwrap()
    }

    fn chosen(name: &str) -> anyhow::Result<Vec<String>> {
        let run = only(run(), &[name.to_owned()])?;
        Ok(run.outcomes.into_iter().map(|outcome| outcome.name).collect())
    }

    #[test]
    fn scenarios_are_chosen_by_name_or_part() {
        assert_eq!(chosen("failures-1").unwrap(), ["failures-1"]);
        assert_eq!(chosen("failures").unwrap(), ["failures-1", "failures-10"]);
        assert_eq!(only(run(), &[]).unwrap(), run());
    }

    #[test]
    fn a_name_that_is_not_in_the_run_is_refused() {
        assert!(chosen("nothing").unwrap_err().to_string().contains("nothing"));
    }
}
