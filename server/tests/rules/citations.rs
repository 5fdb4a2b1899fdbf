//! Finds citations of rules in text.
//!
//! A citation is a letter of a group and one or two digits, as a separate word (`B4`), or in lower case at the beginning of a
//! test's name (`fn b4_b5_…`). A code with another letter (`X5`, `H2`) is not a citation. A word that only looks like a rule
//! (`P99`) counts as an unknown rule and must be written differently (`p99`): otherwise a mistyped code would not be noticed.

/// The groups of the policy: webhooks, events, deliveries, bans, removal, time, both types.
const GROUPS: [char; 7] = ['W', 'E', 'D', 'B', 'R', 'T', 'P'];

/// Every rule that the text cites, in upper case, in the order of the text.
pub fn cited(text: &str) -> Vec<String> {
    let mut cited = Vec::new();
    let mut before = "";
    for (at, word) in words(text) {
        let ahead = &text[..at];
        let is_escape = ahead.ends_with(['%', '\\', '#']) || ahead.ends_with("u{");
        if is_code(word) && !is_escape {
            cited.push(word.to_owned());
        }
        if before == "fn" {
            let parts = word.split('_').map(str::to_uppercase);
            cited.extend(parts.take_while(|part| word.contains('_') && is_code(part)));
        }
        before = word;
    }
    cited
}

/// The anchors `<a id="b4"></a>` of the policy, in upper case, in their order.
pub fn anchors(policy: &str) -> Vec<String> {
    let behind = policy.split("<a id=\"").skip(1);
    behind
        .filter_map(|text| text.split('"').next())
        .map(str::to_uppercase)
        .collect()
}

/// Each run of letters, digits and underscores, and where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut start = None;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    ends.filter_map(move |(at, c)| match (start, is_of_word(c)) {
        (None, true) => {
            start = Some(at);
            None
        }
        (Some(from), false) => {
            start = None;
            Some((from, &text[from..at]))
        }
        _ => None,
    })
}

fn is_code(word: &str) -> bool {
    let mut letters = word.chars();
    let digits = word.len().saturating_sub(1);
    letters.next().is_some_and(|first| GROUPS.contains(&first))
        && (1..=2).contains(&digits)
        && letters.all(|c| c.is_ascii_digit())
}

#[test]
fn a_rule_is_found_wherever_it_is_cited() {
    for (text, expected) in [
        ("What a ban loses (B4, W13).", vec!["B4", "W13"]),
        ("(B1–B5) and W8's end", vec!["B1", "B5", "W8"]),
        ("see docs/policy.md, D13", vec!["D13"]),
        (r#"&["R1", "R3"]"#, vec!["R1", "R3"]),
        ("fn b3_b7_t2_ends_by_time() {}", vec!["B3", "B7", "T2"]),
        ("fn w10_takes_v1() {}", vec!["W10"]),
        // They look like rules that do not exist. The test of the tree must find them to refuse them.
        ("by B9 and D99", vec!["B9", "D99"]),
        ("fn e0_nothing() {}", vec!["E0"]),
    ] {
        assert_eq!(cited(text), expected, "{text}");
    }
}

#[test]
fn other_codes_are_not_taken_for_rules() {
    for text in [
        "A1 UTF8 N12 SHA256 H2 V2 X5 M1 RS256 Z9",
        "2026-11-23T10:11:12Z PT30M P1D P30D 1E5 E0308 B100",
        r"\u{D7} %E2%80%A6 #E2 \D1",
        "fn v1_is_old() {} fn x5_ranges() {} fn e4() {} let b4_x = p99; B4_X B4x xB4",
    ] {
        assert!(cited(text).is_empty(), "{text}: {:?}", cited(text));
    }
}

#[test]
fn anchors_are_read_in_their_order() {
    let page = "### <a id=\"w1\"></a>W1: type\n\ntext\n\n### <a id=\"b10\"></a>B10 ◆: end\n";
    assert_eq!(anchors(page), ["W1", "B10"]);
}
