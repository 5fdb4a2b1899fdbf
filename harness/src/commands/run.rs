//! `run`: plays scenarios and prints which promises held.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use tenterhook_harness::face::Face;
use tenterhook_harness::naming;
use tenterhook_harness::report::{self, Format};
use tenterhook_harness::run::{Outcome, Verdict};
use tenterhook_harness::runner::Runner;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;
use tenterhook_harness::webhook_type::WebhookType;

use tenterhook_harness::command_line::TargetArgs;

/// Play scenarios against the policy and report which promises held.
///
/// Without a target each scenario gets its own server in this process, with its own database and simulated clock. A
/// target must run with `--clock simulated`, and nobody else may move its clock during the run. With `--real-time` it
/// must run on the system clock, and only the few scenarios that take seconds are played.
///
/// Exit code: 0 everything held, 1 a promise was broken, 2 something could not run.
#[derive(Args)]
#[command(after_help = "Examples:
  run                                         everything, in process
  run ban-end-at failures-10                  two scenarios, each for both webhook types
  run failures-10/application                 one scenario, for application webhooks only
  run --rule B4                               those that cover a rule
  run --type application                      those about application webhooks
  run --face rest                             those that REST can express, through REST
  run --target http://127.0.0.1:8080 --jwt-key ~/.local/share/tenterhook/jwt.key
  run --format junit --output results.xml     for CI
  run --format json --output run.json         for `explain run.json`")]
pub struct Run {
    /// Only scenarios with these names; `list` shows them. A part of a name selects all that contain it.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only scenarios that cover one of these rules of the policy; `list --rules` shows them.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Only scenarios that are played for this webhook type.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    webhook_type: Option<WebhookType>,
    /// Create, list and delete webhooks through this API; everything else goes through GraphQL. With `rest` only scenarios
    /// that it can express are played; `list` names the others, with the reason.
    #[arg(long, value_enum, value_name = "API", default_value_t)]
    face: Face,
    #[command(flatten)]
    target: TargetArgs,
    /// The target runs on the system clock: play only scenarios that take seconds.
    #[arg(long, requires = "target")]
    real_time: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the output to this file, and the text format to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show no progress on standard error.
    #[arg(long, short)]
    quiet: bool,
}

impl Run {
    /// Plays the scenarios and prints the results. Returns the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        let (chosen, others) = choose(&self.names, &self.rule, self.webhook_type, self.face)?;
        if others > 0 {
            eprintln!(
                "{} plays through REST; {others} others cannot: see `list`",
                chosen.len()
            );
        }
        let runner = match self.target.target(self.real_time)? {
            Some(target) => Runner::against(target),
            None => Runner::in_process(),
        };
        let runner = runner.through(self.face);
        let mut progress = Progress::new(!self.quiet, chosen.len());
        let run = runner.run(&chosen, |outcome| progress.step(outcome)).await;
        progress.end();
        match &self.output {
            Some(file) => {
                let rendered = report::render(&run, self.format)?;
                std::fs::write(file, rendered).with_context(|| format!("cannot write {}", file.display()))?;
                super::print(&report::render(&run, Format::Text)?)?;
            }
            None => super::print(&report::render(&run, self.format)?)?,
        }
        Ok(run.exit_code())
    }
}

/// The named scenarios: those with this exact name, with or without the webhook type, or else those whose name contains
/// it. Those that cannot be played through this API are only counted.
fn choose(
    names: &[String],
    rules: &[String],
    webhook_type: Option<WebhookType>,
    face: Face,
) -> anyhow::Result<(Vec<Scenario>, usize)> {
    let all = scenarios::all();
    for rule in rules {
        ensure!(
            all.iter().any(|scenario| scenario.rules.contains(&rule.as_str())),
            "there is no rule {rule}; `list --rules` shows all rules"
        );
    }
    for name in names {
        ensure!(
            all.iter().any(|scenario| naming::is_like(&scenario.name, name)),
            "no scenario is called {name}; `list` shows all scenarios"
        );
    }
    let known: Vec<String> = all.iter().map(|scenario| scenario.name.clone()).collect();
    let chosen = |scenario: &&Scenario| {
        (names.is_empty() || naming::is_selected(&scenario.name, names, &known))
            && (rules.is_empty() || rules.iter().any(|rule| scenario.rules.contains(&rule.as_str())))
            && (webhook_type.is_none() || scenario.webhook_type == webhook_type)
    };
    let chosen: Vec<Scenario> = all.iter().filter(chosen).cloned().collect();
    ensure!(
        !chosen.is_empty(),
        "no scenario matches the names, the rules and the webhook type"
    );
    let named = chosen.len();
    let through: Vec<Scenario> = chosen
        .into_iter()
        .filter(|scenario| scenario.runs_through(face))
        .collect();
    ensure!(
        !through.is_empty(),
        "none of the {named} plays can go through REST; `list` says why"
    );
    let others = named - through.len();
    Ok((through, others))
}

/// Shows on standard error how far a run is.
pub(super) struct Progress {
    shown: bool,
    in_place: bool,
    all: usize,
    done: usize,
}

impl Progress {
    pub(super) fn new(shown: bool, all: usize) -> Self {
        Self {
            shown,
            in_place: stderr().is_terminal(),
            all,
            done: 0,
        }
    }

    pub(super) fn step(&mut self, outcome: &Outcome) {
        self.done += 1;
        let word = match &outcome.verdict {
            Verdict::Held => "held",
            Verdict::Broken(_) => "BROKEN",
            Verdict::Skipped(_) => "skipped",
            Verdict::CouldNotRun(_) => "COULD NOT RUN",
        };
        let line = format!("{:>4}/{} {word:<8} {}", self.done, self.all, outcome.name);
        let quiet = matches!(outcome.verdict, Verdict::Held);
        if !self.shown {
            return;
        }
        // An error in showing progress does not stop the command.
        let _ = if self.in_place && quiet {
            write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush())
        } else if self.in_place {
            writeln!(stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(stderr(), "{line}")
        };
    }

    pub(super) fn end(&self) {
        if self.shown && self.in_place {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(names: &[&str], rules: &[&str], webhook_type: Option<WebhookType>) -> Vec<String> {
        let (chosen, others) = choose(&own(names), &own(rules), webhook_type, Face::GraphQl).unwrap();
        assert_eq!(others, 0);
        chosen.into_iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn scenarios_are_chosen_by_name_part_and_rule() {
        let both = ["failures-10/general", "failures-10/application"];
        assert_eq!(names(&["failures-10"], &[], None), both);
        assert_eq!(names(&["failures-1"], &[], None).len(), 4);
        assert!(names(&[], &["B7"], None).contains(&"ban-end-at/general".to_owned()));
        assert_eq!(names(&[], &[], None).len(), scenarios::all().len());
    }

    #[test]
    fn scenarios_are_chosen_by_webhook_type() {
        let application = Some(WebhookType::Application);
        for asked in [
            names(&["failures-10"], &[], application),
            names(&["failures-10/application"], &[], None),
        ] {
            assert_eq!(asked, ["failures-10/application"]);
        }
        let of_rule = names(&[], &["B7"], application);
        assert!(
            of_rule.iter().all(|name| name.ends_with("/application")),
            "{of_rule:?}"
        );
    }

    #[test]
    fn scenarios_that_rest_cannot_express_are_counted_and_left_out() {
        let chosen = |names: &[&str]| choose(&own(names), &[], None, Face::Rest);
        let (through, others) = chosen(&["limit-41-general-webhooks", "failures-10"]).unwrap();
        let names: Vec<_> = through.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(
            (names.as_slice(), others),
            (&["limit-41-general-webhooks"][..], 2)
        );
        let none = chosen(&["failures-10"])
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(none.contains("none of the 2 plays"), "{none}");
        let (through, others) = chosen(&[]).unwrap();
        assert_eq!(through.len() + others, scenarios::all().len());
        assert!(through.len() > 100, "{}", through.len());
    }

    #[test]
    fn unknown_scenarios_and_rules_are_refused_with_a_hint() {
        let refused = |names: &[&str], rules: &[&str]| {
            choose(&own(names), &own(rules), None, Face::GraphQl)
                .err()
                .map(|error| error.to_string())
        };
        assert!(refused(&["no-such"], &[]).is_some_and(|text| text.contains("`list`")));
        assert!(refused(&[], &["Z9"]).is_some_and(|text| text.contains("Z9")));
    }
}
