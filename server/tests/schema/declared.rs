//! Compares the declarations in docs/schema-changes.md with the actual changes.

use super::changes::Change;

/// The heading above the declarations, which end at the next heading.
const HEADING: &str = "## Since the baseline";

/// Faults: a change that is not declared, a declaration without a change, or one without a reason.
pub fn compare(made: &[Change], page: &str) -> Vec<String> {
    let declared: Vec<&str> = section(page)
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let declares = |line: &&str, change: &Change| line.starts_with(&format!("{change}."));
    let undeclared = made
        .iter()
        .filter(|change| !declared.iter().any(|line| declares(line, change)))
        .map(|change| format!("clients may notice a change. Take it back, or declare it under {HEADING:?}:\n- {change}. Why."));
    let stale = declared
        .iter()
        .filter(|line| !made.iter().any(|change| declares(line, change)))
        .map(|line| format!("declared, but not so (any more): {line}"));
    let groundless = declared
        .iter()
        .filter(|line| {
            line.split_once(". ")
                .is_none_or(|(_, reason)| reason.trim().is_empty())
        })
        .map(|line| format!("declared without a reason: {line}"));
    undeclared.chain(stale).chain(groundless).collect()
}

fn section(page: &str) -> &str {
    let (_, behind) = page.split_once(HEADING).expect("the page has the heading");
    behind.split("\n## ").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(made: &[Change], declarations: &str) -> Vec<String> {
        let page = format!(
            "# A page\n\n- not this\n\n{HEADING}\n\nProse.\n\n{declarations}\n\n## Before\n\n- nor this\n"
        );
        let lines = compare(made, &page).into_iter();
        lines
            .map(|line| line.split(['.', ',', ':']).next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn changes_and_declarations_must_match() {
        let made = [Change {
            at: "Thing.name".to_owned(),
            what: "removed",
        }];
        let declaration = "- `Thing.name`: removed. Nobody has asked for it since 2026.";
        assert_eq!(wrong(&[], ""), [""; 0]);
        assert_eq!(wrong(&made, declaration), [""; 0]);
        assert_eq!(wrong(&made, ""), ["clients may notice a change"]);
        assert_eq!(wrong(&[], declaration), ["declared"]);
        let other = declaration.replace("removed", "another type");
        assert_eq!(wrong(&made, &other), ["clients may notice a change", "declared"]);
        assert_eq!(
            wrong(&made, "- `Thing.name`: removed."),
            ["declared without a reason"]
        );
    }
}
