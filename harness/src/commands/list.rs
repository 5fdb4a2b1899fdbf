//! `list`: the scenarios, and the rules and webhook types that each covers.

use clap::Args;

use tenterhook_harness::face::Face;
use tenterhook_harness::naming;
use tenterhook_harness::rules::RULES;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;
use tenterhook_harness::sentences::SENTENCES;
use tenterhook_harness::webhook_type::WebhookType;

/// List the scenarios, and which of them cover which rule for which webhook type.
#[derive(Args)]
#[command(after_help = "Examples:
  list                       the scenarios, then the matrix of rules and webhook types
  list ban                   only scenarios whose names contain `ban`
  list --rules               only the matrix
  list --type application    only scenarios about application webhooks
  list --face rest           only scenarios that are also played through REST
  list --sentences           what Pipedrive states, with the scenarios that prove it

Types: a scenario with `both` is played twice, once for each webhook type; with `general` or `application`, for that type only;
with `once`, once, because the type has no effect or because the scenario creates webhooks of both types itself.

`rest` marks scenarios that `run --face rest` plays through REST too. For each other scenario the list has the reason.")]
pub struct List {
    /// Only scenarios whose names contain one of these.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only the matrix: each rule with the scenarios that cover it.
    #[arg(long)]
    rules: bool,
    /// Only scenarios that are played for this webhook type.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    webhook_type: Option<WebhookType>,
    /// Only scenarios that can be played with webhooks created, listed and deleted through this API.
    #[arg(long, value_enum, value_name = "API", default_value_t)]
    face: Face,
    /// Only what Pipedrive states, sentence by sentence in our words, with the scenarios that prove it.
    #[arg(long, conflicts_with_all = ["rules", "names", "webhook_type", "face"])]
    sentences: bool,
}

/// A scenario with all its plays: two if it is played for both webhook types, else one.
struct Entry {
    plays: Vec<Scenario>,
}

impl Entry {
    fn first(&self) -> &Scenario {
        &self.plays[0]
    }

    fn types(&self) -> &'static str {
        let scenario = self.first();
        match scenario.webhook_type {
            Some(_) if scenario.name != scenario.base_name() => "both",
            Some(webhook_type) => webhook_type.name(),
            None => "once",
        }
    }

    /// Name, types, whether it is also played through REST, rules and sentence; the reason if REST cannot express it.
    fn text(&self) -> String {
        let scenario = self.first();
        let (name, types, rules) = (scenario.base_name(), self.types(), scenario.rules.join(" "));
        let (mark, reason) = match scenario.not_through_rest {
            None => ("rest", String::new()),
            Some(why) => ("-", format!("    not through REST: {why}\n")),
        };
        let sentence = &scenario.sentence;
        format!("{name:<48} {types:<11} {mark:<4} {rules}\n    {sentence}\n{reason}")
    }
}

impl List {
    /// Prints the list. Returns the exit code.
    pub fn run(self) -> anyhow::Result<u8> {
        if self.sentences {
            super::print(&sentences())?;
            return Ok(0);
        }
        let mut text = String::new();
        let entries = self.chosen(scenarios::all());
        if !self.rules {
            text.extend(entries.iter().map(Entry::text));
            text.push('\n');
        }
        text.push_str(&matrix(&entries));
        text.push_str(&summary(&entries));
        super::print(&text)?;
        Ok(0)
    }

    /// The scenarios with such a name and type, each with its plays.
    fn chosen(&self, all: Vec<Scenario>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for scenario in all {
            let is_named = self.names.is_empty()
                || self
                    .names
                    .iter()
                    .any(|part| naming::is_like(&scenario.name, part));
            if !is_named
                || !scenario.runs_through(self.face)
                || self.webhook_type.is_some() && scenario.webhook_type != self.webhook_type
            {
                continue;
            }
            match entries.last_mut() {
                Some(last) if last.first().base_name() == scenario.base_name() => last.plays.push(scenario),
                _ => entries.push(Entry {
                    plays: vec![scenario],
                }),
            }
        }
        entries
    }
}

fn covering<'a>(entries: &'a [Entry], rule: &str) -> Vec<&'a Entry> {
    let covers = |entry: &&Entry| entry.first().rules.contains(&rule);
    entries.iter().filter(covers).collect()
}

/// Each rule, with the number of plays for each webhook type and the scenarios that cover it.
fn matrix(entries: &[Entry]) -> String {
    let mut text = "rule  general  application  once\n".to_owned();
    for (rule, words) in RULES {
        let covering = covering(entries, rule);
        let plays = |webhook_type: Option<WebhookType>| {
            let plays = covering.iter().flat_map(|entry| &entry.plays);
            plays.filter(|play| play.webhook_type == webhook_type).count()
        };
        text.push_str(&format!(
            "{rule:<4}  {:>7}  {:>11}  {:>4}  {words}\n",
            plays(Some(WebhookType::General)),
            plays(Some(WebhookType::Application)),
            plays(None)
        ));
        for entry in covering {
            text.push_str(&format!(
                "      {:<11}  {}\n",
                entry.types(),
                entry.first().base_name()
            ));
        }
    }
    text
}

fn summary(entries: &[Entry]) -> String {
    let count =
        |counted: fn(&Scenario) -> bool| entries.iter().filter(|entry| counted(entry.first())).count();
    let plays: usize = entries.iter().map(|entry| entry.plays.len()).sum();
    let covered = RULES
        .iter()
        .filter(|(rule, _)| !covering(entries, rule).is_empty())
        .count();
    format!(
        "\n{} scenarios with {plays} plays; {covered} of {} rules covered; {} run in process only, {} also in real time, {} \
         also through REST.\n",
        entries.len(),
        RULES.len(),
        count(Scenario::needs_own_servers),
        count(|scenario| scenario.real_time),
        count(|scenario| scenario.runs_through(Face::Rest)),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str], webhook_type: Option<WebhookType>) -> Vec<Entry> {
        list_through(Face::GraphQl, names, webhook_type)
    }

    fn list_through(face: Face, names: &[&str], webhook_type: Option<WebhookType>) -> Vec<Entry> {
        let list = List {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            rules: false,
            webhook_type,
            face,
            sentences: false,
        };
        list.chosen(scenarios::all())
    }

    #[test]
    fn a_scenario_for_both_types_is_one_entry() {
        let entries = list(&["failures-10", "both-types", "limit-39-application"], None);
        let shown: Vec<_> = entries
            .iter()
            .map(|entry| (entry.first().base_name(), entry.types()))
            .collect();
        let expected = [
            ("limit-39-application-webhooks", "application"),
            ("failures-10", "both"),
            ("both-types-are-judged-alike", "once"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_list_says_what_is_not_played_through_rest_and_why() {
        let names = ["limit-41-general", "node-hides", "failures-10"];
        let text: String = list(&names, None).iter().map(Entry::text).collect();
        for wanted in [
            "limit-41-general-webhooks                        general     rest W3\n",
            "    not through REST: REST has no query `node`\n",
            "failures-10                                      both        -    ",
            "    not through REST: about bans and removal\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
        let through = list_through(Face::Rest, &names, None);
        let names: Vec<_> = through.iter().map(|entry| entry.first().base_name()).collect();
        assert_eq!(names, ["limit-41-general-webhooks"]);
    }

    #[test]
    fn the_matrix_counts_the_plays_of_each_type() {
        let line = |text: String, rule: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(rule))
                .map(str::to_owned);
            let words = line.unwrap_or_default();
            let words: Vec<_> = words.split_whitespace().take(4).map(str::to_owned).collect();
            words.join(" ")
        };
        let both = matrix(&list(&["failures-1", "both-types"], None));
        assert_eq!(line(both, "B2 "), "B2 2 2 1");
        let one = matrix(&list(&["failures-1"], Some(WebhookType::Application)));
        assert_eq!(line(one, "B2 "), "B2 0 2 0");
    }
}
