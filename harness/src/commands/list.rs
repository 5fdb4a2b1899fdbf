//! `list`: the scenarios, and the rules that each covers.

use clap::Args;

use tenterhook_harness::rules::RULES;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;

/// List the scenarios, and which of them cover which rule of the policy.
#[derive(Args)]
#[command(after_help = "Examples:
  list            the scenarios, then the matrix of rules
  list ban        only scenarios whose names contain `ban`
  list --rules    only the matrix")]
pub struct List {
    /// Only scenarios whose names contain one of these.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only the matrix: each rule with the scenarios that cover it.
    #[arg(long)]
    rules: bool,
}

impl List {
    /// Prints the list. Returns the exit code.
    pub fn run(self) -> anyhow::Result<u8> {
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
