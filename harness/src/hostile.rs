//! URLs that try to make a server call a forbidden target, with the expected result of each (W10).
//!
//! The table is data, in `hostile/urls.tsv` and `hostile/names.tsv`, which people can read and extend. This module
//! reads it.

use crate::dns_server::{Answer, NameServer};

const URLS: &str = include_str!("hostile/urls.tsv");
const NAMES: &str = include_str!("hostile/names.tsv");

/// One URL, with the expected result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostile {
    /// `TAKEN`, the code of the refusal to create a webhook, or the error class of its first attempt.
    pub code: String,
    /// The reason, in a few words.
    pub reason: String,
    /// The URL of the webhook.
    pub url: String,
}

/// The DNS records of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The host name that the answers are about.
    pub name: String,
    /// The answer before webhooks are created.
    pub first: Answer,
    /// The answer after that.
    pub then: Answer,
}

/// Every URL. Those of this machine use these ports in turn.
///
/// # Panics
///
/// If a line of the table cannot be read.
pub fn urls(ports: &[u16]) -> Vec<Hostile> {
    rows(URLS)
        .zip(ports.iter().cycle())
        .map(|(line, port)| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [code, reason, url] = columns[..] else {
                panic!("not three columns: {line:?}");
            };
            Hostile {
                code: code.to_owned(),
                reason: reason.to_owned(),
                url: unescaped(url).replace("{port}", &port.to_string()),
            }
        })
        .collect()
}

/// Every name that one of the URLs needs.
///
/// # Panics
///
/// If a line of the table cannot be read.
pub fn names() -> Vec<Saying> {
    rows(NAMES)
        .map(|line| {
            let (name, answers) = line
                .split_once('\t')
                .unwrap_or_else(|| panic!("no DNS responses: {line:?}"));
            let (first, then) = answers.split_once(" / ").unwrap_or((answers, answers));
            Saying {
                name: name.to_owned(),
                first: Answer::read(first),
                then: Answer::read(then),
            }
        })
        .collect()
}

/// Sets the first or the second answer of every name.
pub fn say(names: &NameServer, then: bool) {
    for saying in self::names() {
        names.set(&saying.name, if then { saying.then } else { saying.first });
    }
}

fn rows(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

/// Replaces the escapes `\0 \t \n \r \\ \u{…}`.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut tail = after.chars();
        plain.push(match tail.next() {
            Some('0') => '\0',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('u') => {
                let (hex, _) = after[1..]
                    .strip_prefix('{')
                    .and_then(|text| text.split_once('}'))
                    .unwrap_or_else(|| panic!("an unfinished escape: {text:?}"));
                tail.by_ref().find(|c| *c == '}');
                let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
                code.unwrap_or_else(|| panic!("not a character: {text:?}"))
            }
            Some('\\') => '\\',
            other => panic!("an unknown escape {other:?}: {text:?}"),
        });
        rest = tail.as_str();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_large_and_has_no_duplicates() {
        let all = urls(&[8080]);
        assert!(all.len() >= 200, "{}", all.len());
        for (index, hostile) in all.iter().enumerate() {
            let again = all[..index].iter().any(|other| other.url == hostile.url);
            assert!(!again, "{:?} is listed twice", hostile.url);
        }
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescaped(r"a\t\\\u{fc}b\0"), "a\t\\\u{fc}b\0");
    }
}
