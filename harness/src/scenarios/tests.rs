//! Tests of the catalogue: names are unique and well-formed, and every rule has a scenario.

use std::collections::BTreeSet;

use super::all;
use crate::rules::RULES;
use crate::scenario::{Need, Scenario};
use crate::webhook_type::WebhookType;

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

/// Whether P1 demands both webhook types for the rule: it is about deliveries, bans or removal.
fn is_for_both_types(rule: &str) -> bool {
    rule.starts_with(['D', 'B', 'R'])
}

#[test]
fn every_rule_of_deliveries_bans_and_removal_has_a_scenario_for_both_types() {
    let all = all();
    let mut open = Vec::new();
    for (rule, _) in RULES.iter().filter(|(rule, _)| is_for_both_types(rule)) {
        for webhook_type in WebhookType::ALL {
            let proves = |scenario: &Scenario| {
                scenario.rules.contains(rule) && scenario.webhook_type == Some(webhook_type)
            };
            if !all.iter().any(proves) {
                open.push(format!("{rule} for {} webhooks", webhook_type.name()));
            }
        }
    }
    assert!(open.is_empty(), "rules without a scenario: {open:?}");
}

/// Scenarios of such a rule that are not played for both types, with the reason.
const NOT_FOR_BOTH_TYPES: [(&str, &str); 9] = [
    (
        "what-an-app-sees-of-deliveries-and-notices",
        "compares a webhook of each type",
    ),
    (
        "what-an-app-sees-of-deliveries-and-notices-under-own-general",
        "compares a webhook of each type",
    ),
    (
        "uninstalling-cancels-what-is-pending",
        "only application webhooks are uninstalled",
    ),
    (
        "an-attempt-on-the-wire-may-end-after-uninstalling",
        "only application webhooks are uninstalled",
    ),
    (
        "two-uninstallations-at-once-remove-once",
        "only application webhooks are uninstalled",
    ),
    (
        "a-client-closes-before-it-says-anything",
        "is about a connection without webhooks",
    ),
    (
        "a-client-closes-after-the-acknowledgement",
        "is about a connection without webhooks",
    ),
    (
        "a-client-closes-with-a-subscription",
        "is about a connection without webhooks",
    ),
    ("both-types-are-judged-alike", "compares a webhook of each type"),
];

#[test]
fn scenarios_of_deliveries_bans_and_removal_are_played_for_both_types() {
    let all = all();
    let once: Vec<_> = all
        .iter()
        .filter(|scenario| scenario.rules.iter().any(|rule| is_for_both_types(rule)))
        .map(|scenario| scenario.name.as_str())
        .filter(|name| !name.contains('/'))
        .collect();
    assert_eq!(once, NOT_FOR_BOTH_TYPES.map(|(name, _)| name));
}

#[test]
fn names_are_unique_and_in_kebab_case() {
    let names: Vec<String> = all().into_iter().map(|scenario| scenario.name).collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name occurs twice");
    for name in &names {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let base = name.trim_end_matches("/general").trim_end_matches("/application");
        assert!(base.chars().all(kebab), "{name}");
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
    let mut names: Vec<_> = all.iter().filter(own).map(Scenario::base_name).collect();
    names.dedup();
    assert_eq!(names, NEED_SERVERS_OF_THEIR_OWN);
}

/// Most characters of a reason, so that it fits on a line of `list`.
const LONGEST_REASON: usize = 60;

#[test]
fn the_reason_against_rest_is_a_short_phrase() {
    let all = all();
    let reasons: BTreeSet<&str> = all
        .iter()
        .filter_map(|scenario| scenario.not_through_rest)
        .collect();
    assert!(!reasons.is_empty());
    for reason in reasons {
        let is_short = (1..=LONGEST_REASON).contains(&reason.chars().count());
        assert!(is_short && !reason.ends_with('.'), "{reason}");
    }
}
