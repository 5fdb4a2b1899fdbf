//! Compares the citations of rules with docs/policy.md.
//!
//! A code that is cited in code, migrations, tests, scenarios or documentation must be a rule with an anchor, and each rule must
//! be cited by a test or a scenario. Text for readers without the source has no codes: help, settings, descriptions of the
//! schema, log lines and errors.

mod citations;
mod tree;

use std::collections::BTreeSet;
use std::process::Command;

use tenterhook_harness::rules::RULES;

use citations::{anchors, cited};
use tree::{page, sources};

const POLICY: &str = "docs/policy.md";

fn rules() -> Vec<String> {
    anchors(&page(POLICY))
}

#[test]
fn every_rule_has_one_anchor_at_its_heading() {
    let policy = page(POLICY);
    let headings = policy.lines().filter(|line| line.starts_with("### "));
    let named: Vec<String> = headings
        .map(|line| {
            let code = cited(line).into_iter().next();
            let code = code.unwrap_or_else(|| panic!("no rule in the heading {line:?}"));
            let anchor = format!("### <a id=\"{}\"></a>{code}", code.to_lowercase());
            assert!(
                line.starts_with(&anchor),
                "{line:?} does not have the anchor {anchor:?}"
            );
            code
        })
        .collect();
    assert_eq!(named, rules(), "an anchor is not at its heading");
    let unique: BTreeSet<&String> = named.iter().collect();
    assert_eq!(unique.len(), named.len(), "a rule is there twice");
}

#[test]
fn the_harness_has_the_same_rules() {
    let harness: Vec<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(harness, rules(), "harness/src/rules.rs and {POLICY} differ");
}

#[test]
fn every_code_that_is_cited_is_a_rule() {
    let rules = rules();
    let mut unknown = Vec::new();
    let mut count = 0;
    for source in sources() {
        for code in cited(&source.text) {
            count += 1;
            if !rules.contains(&code) {
                unknown.push(format!("{}: {code}", source.path.display()));
            }
        }
    }
    assert!(count > 1000, "only {count} citations: are all files read?");
    assert!(
        unknown.is_empty(),
        "cited, but not a rule of {POLICY} (write other codes in another way, such as p99):\n{}",
        unknown.join("\n")
    );
}

#[test]
fn every_rule_is_cited_by_a_test_or_a_scenario() {
    let proving = sources().into_iter().filter(|source| tree::proves(&source.path));
    let proved: BTreeSet<String> = proving.flat_map(|source| cited(&source.text)).collect();
    let unproved: Vec<_> = rules()
        .into_iter()
        .filter(|rule| !proved.contains(rule))
        .collect();
    assert!(unproved.is_empty(), "no test and no scenario cites {unproved:?}");
}

/// Each rule's code, whether it is marked as a rule of Pipedrive, and its text.
fn sections(policy: &str) -> Vec<(String, bool, &str)> {
    let (rules, _) = policy
        .split_once("## Where the server differs today")
        .expect("the section is there");
    let sections = rules.split("\n### ").skip(1);
    sections
        .map(|section| {
            let (heading, text) = section.split_once('\n').expect("a heading and a text");
            let text = text.split("\n## ").next().unwrap_or_default();
            let code = cited(heading).into_iter().next().expect("a rule");
            (code, heading.contains('◆'), text.trim())
        })
        .collect()
}

/// The last paragraph of a rule says which part of it Pipedrive states (`**Stated:**`) and which part is ours
/// (`**Ours:**`).
#[test]
fn each_rule_says_what_is_stated_and_what_is_ours() {
    let policy = page(POLICY);
    let sections = sections(&policy);
    assert_eq!(sections.len(), RULES.len());
    for (code, is_stated, text) in sections {
        let last = text.rsplit("\n\n").next().unwrap_or_default();
        let first = if is_stated {
            "**Stated:** "
        } else {
            "**Ours:** all of it."
        };
        assert!(
            last.starts_with(first),
            "{code} ends with {last:?}, not with {first}"
        );
        assert!(is_stated || !text.contains("**Stated:**"), "{code} has no mark");
    }
}

#[test]
fn every_rule_with_a_part_of_our_own_is_explained() {
    let decisions = page("docs/decisions.md");
    let policy = page(POLICY);
    let ours = sections(&policy)
        .into_iter()
        .filter(|(_, _, text)| text.contains("**Ours:**"));
    let unexplained: Vec<_> = ours
        .map(|(code, ..)| code)
        .filter(|code| !decisions.contains(&format!("policy.md#{})", code.to_lowercase())))
        .collect();
    assert!(
        unexplained.is_empty(),
        "docs/decisions.md has nothing about {unexplained:?}"
    );
}

#[test]
fn links_to_the_policy_have_a_target() {
    let policy = page(POLICY);
    let mut targets: BTreeSet<String> = rules().iter().map(|rule| rule.to_lowercase()).collect();
    let sections = policy.lines().filter_map(|line| line.strip_prefix("## "));
    targets.extend(sections.map(|title| title.to_lowercase().replace(' ', "-").replace(':', "")));
    let mut broken = Vec::new();
    for source in sources() {
        let own = source.path.ends_with(POLICY);
        let links = source.text.split(if own { "](#" } else { "policy.md#" }).skip(1);
        let is_of_target = |c: char| c.is_ascii_alphanumeric() || c == '-';
        for link in links {
            let target = link.split(|c| !is_of_target(c)).next().unwrap_or_default();
            if !targets.contains(target) {
                broken.push(format!("{}: #{target}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A setting that a rule names exists, or the page says that it does not yet.
#[test]
fn settings_that_rules_name_exist() {
    let (policy, settings) = (page(POLICY), page("docs/settings.md"));
    let (rules, differences) = policy
        .split_once("## Where the server differs today")
        .expect("the section is there");
    let unknown: Vec<_> = rules
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.starts_with("policy."))
        .map(|name| format!("`{name}`"))
        .filter(|name| !settings.contains(&format!("| {name} |")) && !differences.contains(name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "no such settings: {unknown:?}");
}

#[test]
fn pages_for_operators_and_clients_of_the_api_cite_no_rule() {
    for path in [
        "docs/settings.md",
        "schema.graphql",
        "docs/schema-baseline.graphql",
    ] {
        let codes = cited(&page(path));
        assert!(codes.is_empty(), "{path} cites {codes:?}");
    }
}

/// Log lines, errors, messages of the API and names of metrics are strings, so code outside comments is searched.
#[test]
fn strings_in_the_servers_code_cite_no_rule() {
    let of_server = |source: &tree::Source| {
        source.path.starts_with("server") && source.path.iter().any(|part| part == "src")
    };
    let mut found = Vec::new();
    for source in sources().into_iter().filter(of_server) {
        if tree::proves(&source.path) || source.path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        for line in tree::code(&source.text).lines() {
            if !cited(line).is_empty() {
                found.push(format!("{}: {}", source.path.display(), line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "cite a rule in a comment:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_servers_help_cites_no_rule() {
    let help = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tenterhook"))
            .args(words)
            .output()
            .expect("the server can be run");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("help is text")
    };
    let all = help(&["--help"]);
    let commands = all.split_once("Commands:").expect("it lists commands").1;
    let names: Vec<&str> = commands
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in &names {
        for flag in ["-h", "--help"] {
            let text = if *name == "help" {
                help(&["help"])
            } else {
                help(&[*name, flag])
            };
            assert!(cited(&text).is_empty(), "{name} {flag}: {:?}", cited(&text));
        }
    }
    assert!(cited(&all).is_empty(), "--help: {:?}", cited(&all));
    let settings = help(&["settings"]);
    assert!(cited(&settings).is_empty(), "settings: {:?}", cited(&settings));
}
