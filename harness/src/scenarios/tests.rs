//! Tests of the catalogue: names are unique and well-formed, and every rule has a scenario.

use std::collections::BTreeSet;

use super::all;
use crate::rules::RULES;
use crate::scenario::{Need, Scenario};

#[test]
fn every_rule_has_a_scenario_and_every_scenario_a_rule() {
    let covered: BTreeSet<&str> = all()
        .iter()
        .flat_map(|scenario| scenario.rules)
        .copied()
        .collect();
    let known: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    let open: Vec<_> = known.difference(&covered).collect();
    assert!(open.is_empty(), "rules without a scenario: {open:?}");
    let invented: Vec<_> = covered.difference(&known).collect();
    assert!(
        invented.is_empty(),
        "scenarios cite rules that do not exist: {invented:?}"
    );
    assert!(all().iter().all(|scenario| !scenario.rules.is_empty()));
}

#[test]
fn names_are_unique_and_in_kebab_case() {
    let names: Vec<String> = all().into_iter().map(|scenario| scenario.name).collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name occurs twice");
    for name in &names {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(kebab), "{name}");
    }
    assert!(names.len() > 100, "{} scenarios", names.len());
}

/// These cannot be played against a server that runs elsewhere: they need a name server or an authority of their own, a second
/// server, another setting, a delivery that no worker reaches, or time that passes while no server runs. Add one only if
/// nothing else can show its promise.
const NEED_SERVERS_OF_THEIR_OWN: [&str; 11] = [
    "loopback-addresses-are-refused",
    "trusted-authority",
    "names-are-resolved-and-vetted",
    "previous-goes-into-the-objects-that-the-operator-names",
    "everyone-in-version-1-is-written-as-the-operator-chooses",
    "two-servers-make-one-ban",
    "a-crash-forgets-nothing",
    "a-ban-ends-while-no-server-runs",
    "a-retry-due-while-no-server-ran",
    "removal-while-no-server-runs",
    "due-in-a-pause-and-reached-after-it",
];

#[test]
fn few_scenarios_need_servers_of_their_own() {
    let own = |scenario: &&Scenario| {
        let needs = |need| scenario.needs.contains(&need);
        needs(Need::OwnServers) || needs(Need::Restart)
    };
    let all = all();
    let names: Vec<_> = all
        .iter()
        .filter(own)
        .map(|scenario| scenario.name.as_str())
        .collect();
    assert_eq!(names, NEED_SERVERS_OF_THEIR_OWN);
}
