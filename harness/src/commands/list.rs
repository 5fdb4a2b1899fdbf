//! `list`: the scenarios, and the rules that each covers.

use clap::Args;

use tenterhook_harness::rules::RULES;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;
use tenterhook_harness::sentences::SENTENCES;

/// List the scenarios, and which of them cover which rule of the policy.
#[derive(Args)]
#[command(after_help = "Examples:
  list               the scenarios, then the matrix of rules
  list ban           only scenarios whose names contain `ban`
  list --rules       only the matrix
  list --sentences   what the described system says, with the scenarios that prove it")]
pub struct List {
    /// Only scenarios whose names contain one of these.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only the matrix: each rule with the scenarios that cover it.
    #[arg(long)]
    rules: bool,
    /// Each sentence of the system that this product follows, in our words, with the scenarios that prove it.
    #[arg(long, conflicts_with_all = ["rules", "names"])]
    sentences: bool,
}

impl List {
    /// Prints the list. Returns the exit code.
    pub fn run(self) -> anyhow::Result<u8> {
        if self.sentences {
            super::print(&sentences())?;
            return Ok(0);
        }
        let chosen: Vec<Scenario> = scenarios::all()
            .into_iter()
            .filter(|scenario| {
                self.names.is_empty() || self.names.iter().any(|part| scenario.name.contains(part))
            })
            .collect();
        let mut text = String::new();
        if !self.rules {
            for scenario in &chosen {
                text.push_str(&format!("{:<48} {}\n", scenario.name, scenario.rules.join(" ")));
                text.push_str(&format!("    {}\n", scenario.sentence));
            }
            text.push('\n');
        }
        let mut uncovered = 0;
        for (rule, words) in RULES {
            let covering: Vec<&str> = chosen
                .iter()
                .filter(|scenario| scenario.rules.contains(rule))
                .map(|scenario| scenario.name.as_str())
                .collect();
            uncovered += usize::from(covering.is_empty());
            text.push_str(&format!("{rule:<4} {words}\n"));
            for name in covering {
                text.push_str(&format!("       {name}\n"));
            }
        }
        let own = chosen
            .iter()
            .filter(|scenario| scenario.needs_own_servers())
            .count();
        let real = chosen.iter().filter(|scenario| scenario.real_time).count();
        text.push_str(&format!(
            "\n{} scenarios; {} of {} rules covered; {own} run in process only, {real} also in real time.\n",
            chosen.len(),
            RULES.len() - uncovered,
            RULES.len()
        ));
        super::print(&text)?;
        Ok(0)
    }
}

/// Each sentence with its rules and the scenarios that prove it.
fn sentences() -> String {
    let mut text = String::new();
    for sentence in SENTENCES {
        let rules = sentence.rules.join(" ");
        text.push_str(&format!("{:>2}  {} ({rules})\n", sentence.number, sentence.text));
        for proof in sentence.scenarios.iter().copied().chain(sentence.elsewhere) {
            text.push_str(&format!("      {proof}\n"));
        }
    }
    text
}
