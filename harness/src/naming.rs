//! Names of scenarios, and how a command line selects them.
//!
//! A scenario that is played once for each webhook type has the type after a slash: `failures-10/application`. Without
//! the type a name selects both plays.

/// The name without the webhook type.
pub fn base_name(name: &str) -> &str {
    name.split_once('/').map_or(name, |(base, _)| base)
}

/// Whether `name` is this scenario's name, with or without the webhook type.
pub fn is_called(scenario: &str, name: &str) -> bool {
    scenario == name || base_name(scenario) == name
}

/// Whether the scenario's name contains `part`. The webhook type is compared only if `part` has a slash, so that a word
/// such as `application` does not select half of the catalogue.
pub fn is_like(scenario: &str, part: &str) -> bool {
    let compared = if part.contains('/') {
        scenario
    } else {
        base_name(scenario)
    };
    compared.contains(part)
}

/// Whether one of `words` selects the scenario: the scenarios with exactly this name or, if `all` has none of them, those
/// whose name contains it.
pub fn is_selected(scenario: &str, words: &[String], all: &[String]) -> bool {
    words.iter().any(|word| {
        if all.iter().any(|known| is_called(known, word)) {
            is_called(scenario, word)
        } else {
            is_like(scenario, word)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(word: &str) -> Vec<String> {
        let all = [
            "failures-1/general",
            "failures-1/application",
            "failures-10/general",
            "failures-10/application",
            "an-application-webhook-says-so",
        ];
        let all: Vec<String> = all.map(str::to_owned).into();
        let words = [word.to_owned()];
        all.iter()
            .filter(|name| is_selected(name, &words, &all))
            .cloned()
            .collect()
    }

    #[test]
    fn a_name_without_a_type_selects_both_plays() {
        assert_eq!(
            selected("failures-1"),
            ["failures-1/general", "failures-1/application"]
        );
        assert_eq!(selected("failures-10/application"), ["failures-10/application"]);
    }

    #[test]
    fn a_part_of_a_name_selects_all_that_contain_it() {
        assert_eq!(selected("failures").len(), 4);
        assert_eq!(selected("application"), ["an-application-webhook-says-so"]);
        assert_eq!(
            selected("/application"),
            ["failures-1/application", "failures-10/application"]
        );
    }
}
