//! SQL as a list of words, enough to see which tables a statement reads and by which columns.
//!
//! Two uses of a table with the same alias are not distinguished: each use needs its own alias.

use std::collections::BTreeSet;

/// A statement's words in lower case: names, numbers, parameters and symbols, without quotes. String literals are left
/// out.
pub struct Statement(Vec<String>);

/// The use of a table in a statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    pub table: String,
    /// The alias that qualifies its columns.
    pub alias: String,
    /// Its lane column, qualified by the alias.
    lane: String,
    /// Whether rows are inserted.
    pub filled: bool,
}

impl Use {
    /// The names of its lane column. Without an alias the column can also be used unqualified.
    fn lanes(&self) -> impl Iterator<Item = &str> {
        let bare = (self.alias == self.table).then_some("lane");
        std::iter::once(self.lane.as_str()).chain(bare)
    }
}

impl Statement {
    pub fn new(text: &str) -> Self {
        let mut words: Vec<String> = Vec::new();
        for (place, part) in text.split('\'').enumerate() {
            // Every second part is a string literal. Only its quotes are kept.
            if place % 2 == 1 {
                words.push("''".to_owned());
                continue;
            }
            let mut word = String::new();
            for c in part.chars().filter(|c| *c != '"') {
                if c.is_alphanumeric() || "_$.".contains(c) {
                    word.extend(c.to_lowercase());
                    continue;
                }
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                words.extend((!c.is_whitespace()).then(|| c.to_string()));
            }
            words.extend((!word.is_empty()).then_some(word));
        }
        Self(words)
    }

    pub fn words(&self) -> &[String] {
        &self.0
    }

    fn word(&self, at: usize) -> &str {
        self.0.get(at).map_or("", String::as_str)
    }

    /// The positions at which these words follow each other.
    pub fn places(&self, words: &str) -> Vec<usize> {
        let words: Vec<&str> = words.split(' ').collect();
        let starts = self.0.windows(words.len());
        let fits = starts
            .enumerate()
            .filter(|(_, window)| window.iter().zip(&words).all(|(word, wanted)| word == wanted));
        fits.map(|(at, _)| at).collect()
    }

    pub fn has(&self, words: &str) -> bool {
        !self.places(words).is_empty()
    }

    /// The statement's uses of these tables.
    pub fn uses(&self, tables: &BTreeSet<String>) -> Vec<Use> {
        let mut uses = Vec::new();
        for (at, word) in self.0.iter().enumerate().skip(1) {
            let before = self.word(at - 1);
            if !tables.contains(word) || !["from", "join", "into", "update", "using"].contains(&before) {
                continue;
            }
            let next = match self.word(at + 1) {
                "as" => self.word(at + 2),
                next => next,
            };
            let is_alias = !next.is_empty() && !ENDS.contains(&next) && !SIGNS.contains(&next);
            let alias = if is_alias { next } else { word };
            uses.push(Use {
                table: word.clone(),
                alias: alias.to_owned(),
                lane: format!("{alias}.lane"),
                filled: before == "into",
            });
        }
        uses
    }

    /// The uses without a bound lane: neither a parameter nor another bound use determines it.
    pub fn unbound<'a>(&self, uses: &'a [Use]) -> Vec<&'a Use> {
        let mut left: Vec<&Use> = uses.iter().collect();
        loop {
            let is_left = |name: &str| left.iter().any(|usage| usage.lanes().any(|lane| lane == name));
            let says = |name: &str| name.starts_with('$') || name == "any" || name.ends_with(".lane");
            let is_bound = |usage: &&Use| {
                let mut others = usage.lanes().flat_map(|lane| self.compared_with(lane)).peekable();
                let named = others.any(|other| says(other) && !is_left(other));
                named || usage.filled && self.columns_of(&usage.table).contains(&"lane")
            };
            let before = left.len();
            let kept: Vec<&Use> = left.iter().copied().filter(|usage| !is_bound(usage)).collect();
            left = kept;
            if left.len() == before {
                return left;
            }
        }
    }

    /// Whether the lane of one of these uses is a parameter.
    pub fn binds_one_lane(&self, uses: &[Use]) -> bool {
        let mut lanes = uses.iter().flat_map(Use::lanes);
        lanes.any(|lane| self.compared_with(lane).any(|other| other.starts_with('$')))
    }

    fn compared_with(&self, name: &str) -> impl Iterator<Item = &str> {
        let after = self.places(&format!("{name} =")).into_iter().map(|at| at + 2);
        let before = self
            .places(&format!("= {name}"))
            .into_iter()
            .map(|at| at.wrapping_sub(1));
        after.chain(before).map(|at| self.word(at))
    }

    fn columns_of(&self, table: &str) -> Vec<&str> {
        let after = self.places(&format!("into {table}"));
        let columns = after.first().map_or(&[][..], |at| &self.0[*at..]);
        let columns = columns.split(|word| word == "(").nth(1).unwrap_or_default();
        columns
            .iter()
            .take_while(|word| *word != ")")
            .map(String::as_str)
            .collect()
    }

    /// Whether a subquery that Postgres cannot inline uses the lane of an `unnest` outside of it.
    pub fn correlates_with_parameters(&self) -> bool {
        self.places("unnest (").into_iter().any(|unnest| {
            let alias = self.alias_of_call(unnest + 1);
            let lane = format!("{alias}.lane");
            let mut asked = self.0.iter().enumerate().filter(|(_, word)| **word == lane);
            asked.any(|(at, _)| self.depth(at) > self.depth(unnest) && self.is_kept_apart(at))
        })
    }

    /// The alias after the call whose parenthesis opens at `open`: `unnest(…) with ordinality as k(…)`.
    fn alias_of_call(&self, open: usize) -> &str {
        let depth = self.depth(open);
        let close = (open + 1..self.0.len()).find(|at| self.word(*at) == ")" && self.depth(*at) == depth + 1);
        let rest = close.map_or(self.0.len(), |at| at + 1);
        let name = (rest..self.0.len()).find(|at| !["with", "ordinality", "as"].contains(&self.word(*at)));
        name.map_or("", |at| self.word(at))
    }

    fn depth(&self, at: usize) -> usize {
        let count = |sign| self.0[..at].iter().filter(|word| *word == sign).count();
        count("(") - count(")")
    }

    /// Whether the innermost parentheses at this position contain a query with an order, a limit or a sum.
    fn is_kept_apart(&self, at: usize) -> bool {
        let depth = self.depth(at);
        let open = (0..at)
            .rev()
            .find(|place| self.word(*place) == "(" && self.depth(*place) < depth);
        let close = (at..self.0.len()).find(|place| self.word(*place) == ")" && self.depth(*place) == depth);
        let inside = &self.0[open.unwrap_or(0)..close.unwrap_or(self.0.len())];
        inside
            .iter()
            .any(|word| ["limit", "max", "min", "count"].contains(&word.as_str()))
    }
}

/// Words that may follow a table without an alias.
const ENDS: [&str; 15] = [
    "where",
    "on",
    "set",
    "order",
    "group",
    "limit",
    "join",
    "left",
    "cross",
    "inner",
    "for",
    "values",
    "select",
    "using",
    "returning",
];
const SIGNS: [&str; 4] = ["(", ")", ",", ";"];

/// The checks of this file, which run as tests of their own.
pub mod checks {
    use super::*;

    fn tables() -> BTreeSet<String> {
        ["webhooks", "deliveries"].map(str::to_owned).into()
    }

    /// The statements that are not judged as expected.
    fn misjudged(cases: &[(bool, String)], judged: impl Fn(&str) -> bool) -> Vec<String> {
        let wrong = cases.iter().filter(|(expected, text)| judged(text) != *expected);
        wrong
            .map(|(expected, text)| format!("not {expected}: {text}"))
            .collect()
    }

    /// A table is bound by its own lane.
    pub fn bound() -> Vec<String> {
        let cases = [
            (true, "select * from webhooks w where w.lane = $1"),
            (
                true,
                "SELECT * FROM \"webhooks\" WHERE \"webhooks\".\"lane\" = $1",
            ),
            (true, "insert into webhooks as w (lane, id) select 1, 2"),
            (true, "delete from deliveries d using x where d.lane = x.lane"),
            (false, "select lane from webhooks w where id = $1"),
            (
                false,
                "select * from webhooks w join deliveries d on d.webhook = w.id where w.lane = $1",
            ),
            (
                true,
                "select * from webhooks w join deliveries d on d.lane = w.lane where w.lane = $1",
            ),
            (
                false,
                "select * from webhooks w join deliveries d on d.lane = w.lane where true",
            ),
            (false, "insert into webhooks (id) values ('lane')"),
        ];
        misjudged(
            &cases.map(|(expected, text)| (expected, text.to_owned())),
            |text| {
                let statement = Statement::new(text);
                let uses = statement.uses(&tables());
                !uses.is_empty() && statement.unbound(&uses).is_empty()
            },
        )
    }

    /// A subquery with a limit may not ask for the lane of a parameter.
    pub fn correlated() -> Vec<String> {
        let limited = "(select 1 from deliveries d where d.lane = k.lane limit 1)";
        let unnest = "unnest($1::int[]) with ordinality as k(lane, n)";
        let cases = [
            (true, format!("select {limited} as x from {unnest}")),
            (
                true,
                format!("select * from {unnest} cross join lateral {limited} d"),
            ),
            (
                false,
                format!("select * from {unnest} join deliveries d on d.lane = k.lane limit 1"),
            ),
            (
                false,
                format!(
                    "select * from {unnest} cross join lateral (select * from deliveries d where d.lane = k.lane) d"
                ),
            ),
        ];
        misjudged(&cases, |text| Statement::new(text).correlates_with_parameters())
    }
}
