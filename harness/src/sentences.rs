//! What Pipedrive states about its webhooks, sentence by sentence in our words, with the scenarios that prove it.
//!
//! The contract tests have one test for each sentence as well (`tests/sentences.rs`), so that each can be read and played
//! alone. Everything that no sentence says is a decision of this project: see docs/policy.md.

/// A sentence about Pipedrive's webhooks.
#[derive(Debug, Clone, Copy)]
pub struct Sentence {
    /// Its number, from 1.
    pub number: usize,
    /// The sentence, in our words.
    pub text: &'static str,
    /// The rules that say the same here.
    pub rules: &'static [&'static str],
    /// The scenarios that prove it.
    pub scenarios: &'static [&'static str],
    /// What proves it outside of the catalogue of scenarios.
    pub elsewhere: Option<&'static str>,
}

const fn sentence(
    number: usize,
    text: &'static str,
    rules: &'static [&'static str],
    scenarios: &'static [&'static str],
) -> Sentence {
    Sentence {
        number,
        text,
        rules,
        scenarios,
        elsewhere: None,
    }
}

/// Every sentence.
pub const SENTENCES: &[Sentence] = &[
    sentence(
        1,
        "Only an app creates application webhooks.",
        &["W1"],
        &["the-type-follows-from-the-token", "the-type-is-no-input"],
    ),
    sentence(
        2,
        "The web app never shows an application webhook.",
        &["W5"],
        &[
            "what-a-user-sees-of-application-webhooks",
            "what-an-admin-sees-of-application-webhooks",
            "node-hides-what-webhook-hides",
        ],
    ),
    Sentence {
        elsewhere: Some("no scenario: tests/rest.rs"),
        ..sentence(
            3,
            "An app creates a webhook with POST /webhooks.",
            &["W1", "W2"],
            &[],
        )
    },
    sentence(
        4,
        "An app needs the scope admin, and no other scope.",
        &["W2"],
        &[
            "the-admin-scope-alone-is-enough-for-an-app",
            "an-app-without-the-admin-scope-sees-nothing",
            "an-app-without-the-admin-scope-writes-nothing",
        ],
    ),
    sentence(
        5,
        "An app has at most 40 webhooks for each of its users.",
        &["W3"],
        &[
            "limit-40-application-webhooks",
            "limit-41-application-webhooks",
            "limit-under-concurrency-application",
            "each-user-and-each-app-has-its-own-limit",
        ],
    ),
    sentence(
        6,
        "At first an app also saw the general webhooks that its user had created.",
        &["W4"],
        &[
            "what-an-app-sees-under-own-general",
            "what-an-app-for-an-admin-sees-under-own-general",
        ],
    ),
    sentence(
        7,
        "Since 5 May 2021 an app sees only the webhooks that it created.",
        &["W4"],
        &[
            "what-an-app-sees-of-general-webhooks",
            "what-an-app-for-an-admin-sees-of-general-webhooks",
            "what-another-app-sees-of-application-webhooks",
        ],
    ),
    sentence(
        8,
        "Each webhook has the type application or general.",
        &["W1", "E4"],
        &["the-type-follows-from-the-token", "each-webhook-says-its-type"],
    ),
    sentence(
        9,
        "An app deletes its webhook with DELETE /webhooks/{id}.",
        &["W6"],
        &["an-app-deletes-its-own-webhook"],
    ),
    sentence(
        10,
        "No other app can delete it, and its user cannot either.",
        &["W6"],
        &[
            "another-app-cannot-delete-an-application-webhook",
            "the-app-user-cannot-delete-an-application-webhook",
            "the-admin-cannot-delete-an-application-webhook",
        ],
    ),
    sentence(
        11,
        "If a user uninstalls an app, the app's webhooks for this user are removed.",
        &["W8"],
        &[
            "uninstalling-removes-the-apps-webhooks-at-once",
            "uninstalling-leaves-everything-else",
            "creations-racing-an-uninstallation-leave-no-orphan",
        ],
    ),
    sentence(
        12,
        "If an app leaves the marketplace, its webhooks for all users are removed.",
        &["W8"],
        &[
            "an-app-removed-from-the-marketplace-takes-all-its-webhooks",
            "an-app-removed-from-the-marketplace-creates-nothing",
        ],
    ),
    sentence(
        13,
        "Bans, retries and removal are the same for both types.",
        &["P1"],
        &["both-types-are-judged-alike"],
    ),
    sentence(
        14,
        "A first try without a 2xx response within 10 seconds adds one to the webhook's ban counter.",
        &["B1", "D1", "D2"],
        &[
            "first-try-counts-one",
            "timeouts-ban-too",
            "an-answer-just-before-ten-seconds",
            "an-answer-at-ten-seconds",
            "every-3xx-is-a-failure",
            "every-4xx-is-a-failure",
            "every-5xx-is-a-failure",
        ],
    ),
    sentence(
        15,
        "At ten the webhook is banned for 30 minutes.",
        &["B2"],
        &[
            "failures-9",
            "failures-10",
            "ban-counts-from-the-end-of-the-tenth",
            "ban-end-just-before",
            "ban-end-at",
        ],
    ),
    sentence(
        16,
        "After the ban the webhook is active again, with its counter at zero.",
        &["B3", "B7"],
        &["after-a-ban-the-counter-is-zero", "a-ban-ends-without-a-request"],
    ),
    sentence(
        17,
        "A retry that fails does not count, and further retries follow.",
        &["B1", "D4"],
        &["retries-never-count", "four-attempts-then-failed"],
    ),
    sentence(
        18,
        "A webhook without a successful delivery on 3 consecutive days is deleted.",
        &["R1"],
        &[
            "window-end-just-before",
            "window-end-at",
            "a-success-ends-the-window",
            "three-days-of-failure-in-one-story",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SENTENCES;
    use crate::rules::RULES;
    use crate::scenarios;

    #[test]
    fn every_sentence_has_a_proof_that_exists() {
        let all = scenarios::all();
        // A scenario that is played for both webhook types has the type in its name, after a slash.
        let names: BTreeSet<&str> = all
            .iter()
            .filter_map(|scenario| scenario.name.split('/').next())
            .collect();
        let mut missing: Vec<&str> = Vec::new();
        for sentence in SENTENCES {
            let named = sentence.scenarios.iter().copied();
            missing.extend(named.filter(|name| !names.contains(name)));
            assert!(
                !sentence.scenarios.is_empty() || sentence.elsewhere.is_some(),
                "nothing proves: {}",
                sentence.text
            );
        }
        assert!(missing.is_empty(), "there are no such scenarios: {missing:?}");
    }

    #[test]
    fn sentences_are_numbered_and_cite_rules() {
        let numbers: Vec<usize> = SENTENCES.iter().map(|sentence| sentence.number).collect();
        assert_eq!(numbers, (1..=18).collect::<Vec<_>>());
        for sentence in SENTENCES {
            let is_rule = |rule: &&str| RULES.iter().any(|(known, _)| known == rule);
            assert!(
                !sentence.rules.is_empty() && sentence.rules.iter().all(is_rule),
                "{sentence:?}"
            );
        }
    }

    /// A scenario that covers none of a sentence's rules cannot prove it.
    #[test]
    fn the_scenarios_of_a_sentence_cover_one_of_its_rules() {
        let all = scenarios::all();
        for sentence in SENTENCES {
            for scenario in all.iter().filter(|scenario| {
                let name = scenario.name.split('/').next();
                name.is_some_and(|name| sentence.scenarios.contains(&name))
            }) {
                assert!(
                    scenario.rules.iter().any(|rule| sentence.rules.contains(rule)),
                    "{} covers {:?} and is listed as proof of: {}",
                    scenario.name,
                    scenario.rules,
                    sentence.text
                );
            }
        }
    }
}
