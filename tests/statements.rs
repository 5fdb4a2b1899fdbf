//! Every statement that reaches Postgres names the lanes that it is about, so that the same SQL works on a database
//! that is distributed by `lane`. Exceptions are listed, with the reason.
//!
//! No statement is left out: each constant of `server/crates/store` is checked, and those that are composed at run time
//! are checked as the scenarios of the catalogue send them. Only Citus shows what Citus does with a statement
//! (`.ci/citus`). The rules here are derived from what it refused.

mod lists;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use self::lists::{LISTED, Rule};
use self::text::Statement;

/// Each row of the feed has a lane, but every process reads the whole feed.
const FEED: &str = "changes";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file with this extension below a folder of the workspace.
fn files(folder: &str, kind: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry of it too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with(kind) || path.extension().is_some_and(|extension| extension == kind) {
                files.push((path.clone(), fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    assert!(!files.is_empty(), "no {kind} in {folder}");
    files
}

/// The tables with a lane, from the migrations.
fn tables_by_lane() -> BTreeSet<String> {
    let migrations = files("migrations", "up.sql");
    let made = migrations
        .iter()
        .flat_map(|(_, sql)| sql.split("create table ").skip(1));
    let with_lane = made.filter(|table| {
        let (_, columns) = table.split_once('(').unwrap_or_default();
        columns.trim_start().starts_with("lane ") || table.starts_with(FEED)
    });
    let names = with_lane.filter_map(|table| table.split_whitespace().next());
    names.filter(|name| *name != FEED).map(str::to_owned).collect()
}

/// The texts of each constant in the store that is a statement, by file and name.
fn constants() -> BTreeMap<String, Vec<String>> {
    let mut constants = BTreeMap::new();
    for (path, source) in files("server/crates/store", "rs") {
        let name = path.file_stem().unwrap_or_default();
        let in_crate = path.strip_prefix(root()).unwrap_or(&path);
        let of_tests = in_crate.iter().any(|folder| folder == "tests");
        if of_tests || name == "tests" || name == "testing" {
            continue;
        }
        let file = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for constant in source.split("\nconst ").skip(1) {
            let Some((name, value)) = constant.split_once(": &str =") else {
                continue;
            };
            let value = value.split(";\n").next().unwrap_or_default();
            let pieces: Vec<String> = value.split('"').skip(1).step_by(2).map(joined).collect();
            if pieces.iter().any(|piece| is_statement(piece)) {
                constants.insert(format!("{file}::{name}"), pieces);
            }
        }
    }
    constants
}

/// Joins lines that end in a backslash, as the compiler does.
fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

fn is_statement(piece: &str) -> bool {
    let first = piece.split_whitespace().next().unwrap_or_default();
    ["select", "insert", "update", "delete", "with"].contains(&first)
}

/// The rules with exceptions that a statement breaks.
fn broken(text: &str, tables: &BTreeSet<String>) -> Vec<Rule> {
    let statement = Statement::new(text);
    let uses = statement.uses(tables);
    let locks = statement.has("for update") || statement.has("for share");
    let across = locks && !statement.binds_one_lane(&uses)
        || statement.has("with recursive")
        || statement.correlates_with_parameters();
    let clock = [
        "now (",
        "clock_timestamp (",
        "statement_timestamp (",
        "transaction_timestamp (",
        "timeofday (",
    ];
    let moments = [
        "current_timestamp",
        "current_date",
        "current_time",
        "localtimestamp",
        "localtime",
    ];
    let rules = [
        (Rule::Global, !statement.unbound(&uses).is_empty()),
        (Rule::AcrossLanes, !uses.is_empty() && across),
        (
            Rule::Clock,
            clock.iter().chain(&moments).any(|words| statement.has(words)),
        ),
    ];
    rules
        .iter()
        .filter(|(_, breaks)| *breaks)
        .map(|(rule, _)| *rule)
        .collect()
}

/// What no statement may do. There are no exceptions.
fn forbidden(text: &str, tables: &BTreeSet<String>) -> Option<&'static str> {
    let statement = Statement::new(text);
    let moves_lane = statement.places("set lane =").len() + statement.places("set webhooks.lane =").len() > 0;
    let unnamed = statement.uses(tables).iter().any(|usage| {
        usage.filled && usage.alias == usage.table && statement.has("returning") && !statement.has("values")
    });
    let rules = [
        (moves_lane, "a row keeps its lane for life"),
        (
            unnamed,
            "Citus loses the name of a table that a query fills and that returns rows: give it an alias",
        ),
        (statement.has("merge into"), "Citus knows no MERGE from values"),
        (
            statement.has("listen") || statement.has("notify"),
            "each machine has listeners of its own",
        ),
        (
            statement.has("create trigger"),
            "a distributed table has no triggers",
        ),
    ];
    rules.iter().find(|(breaks, _)| *breaks).map(|(_, why)| *why)
}

fn spaced(text: &str) -> String {
    Statement::new(text).words().join(" ")
}

/// The words that list a statement as an exception from a rule, if it is listed.
fn listed(rule: Rule, words: &str) -> Option<&'static str> {
    let mut of_rule = LISTED.iter().filter(|(of, _, _)| *of == rule);
    of_rule
        .find(|(_, start, _)| words.contains(&spaced(start)))
        .map(|(_, start, _)| *start)
}

/// A check without a play: its name, and the function that returns what is wrong.
pub type Check = (&'static str, fn() -> Vec<String>);

/// The checks of the reader of statements itself.
pub const CHECKS: [Check; 2] = [
    ("a_table_is_bound_by_its_own_lane", text::checks::bound),
    (
        "a_subquery_with_a_limit_may_not_ask_for_a_parameter_s_lane",
        text::checks::correlated,
    ),
];

/// The statements that the servers of the scenarios have sent.
pub struct Statements {
    tables: BTreeSet<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    texts: BTreeSet<String>,
    /// The exceptions that were needed.
    used: BTreeSet<(Rule, &'static str)>,
}

impl Statements {
    pub fn new() -> Self {
        Self {
            tables: tables_by_lane(),
            seen: Mutex::default(),
        }
    }

    /// What is wrong with those of these statements that nobody has sent before.
    pub fn check(&self, texts: impl Iterator<Item = String>) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut complaints = Vec::new();
        for text in texts {
            if seen.texts.insert(text.clone()) {
                complaints.extend(judged(&text, &self.tables, &mut seen.used));
            }
        }
        complaints
    }

    /// What is wrong after all scenarios: with the statements that none of them sent, and with the list of exceptions.
    pub fn check_all(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { texts, used } = &mut *seen;
        let sent: BTreeSet<String> = texts.iter().map(|text| spaced(text)).collect();
        let constants = constants();
        let mut complaints = Vec::new();
        if self.tables.len() <= 10 || !self.tables.contains("deliveries") {
            complaints.push(format!("tables with a lane: {:?}", self.tables));
        }
        if constants.len() <= 50 {
            complaints.push(format!("constants: {:?}", constants.keys()));
        }
        for (name, pieces) in constants {
            let is_sent = sent
                .iter()
                .any(|text| pieces.iter().all(|piece| text.contains(&spaced(piece))));
            if is_sent {
                continue;
            }
            if listed(Rule::ByRealTime, &spaced(&name)).is_none() {
                match listed(Rule::NotPlayed, &spaced(&name)) {
                    Some(start) => drop(used.insert((Rule::NotPlayed, start))),
                    None => complaints.push(format!("{name}: no scenario sends it, so list it")),
                }
            }
            complaints.extend(judged(&pieces.join(" "), &self.tables, used));
        }
        let stale = LISTED
            .iter()
            .filter(|(rule, start, _)| *rule != Rule::ByRealTime && !used.contains(&(*rule, *start)));
        complaints.extend(
            stale.map(|(rule, start, _)| format!("listed as {rule:?}, but nothing needs it: {start}")),
        );
        complaints
    }
}

/// What is wrong with a statement. Notes the exceptions that it needs.
fn judged(text: &str, tables: &BTreeSet<String>, used: &mut BTreeSet<(Rule, &'static str)>) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Some(why) = forbidden(text, tables) {
        complaints.push(format!("{why}:\n{text}"));
    }
    for rule in broken(text, tables) {
        match listed(rule, &spaced(text)) {
            Some(start) => drop(used.insert((rule, start))),
            None => complaints.push(format!("{rule:?}:\n{text}")),
        }
    }
    complaints
}
