//! A run as text: a table, the broken promises with details, and a summary.
//!
//! The text is plain and without colour, so that it can go to a log. Control characters are replaced, and nothing is
//! cut.

use std::fmt::Write;

use crate::run::{Breach, Outcome, Run, Verdict};

use super::{timeline, webhook_type, word};

/// The scenarios whose timelines are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timelines {
    /// Scenarios that broke or could not finish.
    OfBroken,
    /// All scenarios.
    OfAll,
}

/// The run as text.
pub fn draw(run: &Run, timelines: Timelines) -> String {
    let mut text = table(run);
    for outcome in &run.outcomes {
        let wanted = timelines == Timelines::OfAll
            || matches!(outcome.verdict, Verdict::Broken(_) | Verdict::CouldNotRun(_));
        if wanted {
            text.push('\n');
            text.push_str(&detail(outcome));
        }
    }
    text.push('\n');
    text.push_str(&summary(run));
    // Text from a server must not control the terminal on which it is read.
    text.replace(
        |character: char| character.is_control() && character != '\n',
        "\u{fffd}",
    )
}

fn table(run: &Run) -> String {
    let rows: Vec<[String; 6]> = run.outcomes.iter().map(row).collect();
    let head = ["verdict", "scenario", "type", "rules", "simulated", "real"].map(str::to_owned);
    let mut widths = [0; 6];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [verdict, name, kind, rules, simulated, real] = widths;
    let mut text = String::new();
    for row in [&head].into_iter().chain(&rows) {
        text.push_str(&format!(
            "{:<verdict$}  {:<name$}  {:<kind$}  {:<rules$}  {:>simulated$}  {:>real$}\n",
            row[0], row[1], row[2], row[3], row[4], row[5]
        ));
    }
    text
}

fn row(outcome: &Outcome) -> [String; 6] {
    [
        word(&outcome.verdict).to_owned(),
        outcome.name.clone(),
        webhook_type(outcome).to_owned(),
        outcome.rules.join(" "),
        timeline::span((outcome.simulated_seconds * 1000.0).round() as i64),
        format!("{:.2} s", outcome.real_seconds),
    ]
}

fn detail(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", word(&outcome.verdict), outcome.name);
    text.push_str(&aligned("", &outcome.sentence));
    match &outcome.verdict {
        Verdict::Held => {}
        Verdict::Broken(breach) => text.push_str(&broken(breach)),
        Verdict::Skipped(reason) | Verdict::CouldNotRun(reason) => {
            text.push_str(&aligned("why", reason));
        }
    }
    for timeline in &outcome.timelines {
        text.push('\n');
        for line in timeline::draw(timeline).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn broken(breach: &Breach) -> String {
    [
        aligned("checked", &breach.what),
        aligned("expected", &breach.expected),
        aligned("found", &breach.seen),
        aligned("place", &breach.place),
    ]
    .concat()
}

/// The label, and the lines of the value in one column next to it.
fn aligned(label: &str, value: &str) -> String {
    if label.is_empty() {
        return value.lines().map(|line| format!("  {line}\n")).collect();
    }
    let lines: Vec<&str> = if value.is_empty() {
        vec!["(nothing)"]
    } else {
        value.lines().collect()
    };
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    lines
        .iter()
        .zip(labels)
        .map(|(line, label)| format!("  {label:<9}  {line}\n"))
        .collect()
}

fn summary(run: &Run) -> String {
    let count = |wanted: &str| run.count(|verdict| word(verdict) == wanted);
    let mut text = format!(
        "{} held, {} broken, {} skipped, {} could not run\n",
        count("held"),
        count("BROKEN"),
        count("skipped"),
        count("COULD NOT RUN")
    );
    for outcome in &run.outcomes {
        if let Verdict::Skipped(reason) = &outcome.verdict {
            text.push_str(&aligned("skipped", &format!("{}: {reason}", outcome.name)));
        }
    }
    let simulated: f64 = run.outcomes.iter().map(|outcome| outcome.simulated_seconds).sum();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "{:.1} simulated days in {:.1} real seconds; {}, harness {}, {:.0}",
        simulated / 86_400.0,
        run.real_seconds,
        run.judged(),
        run.version,
        run.started
    );
    text
}
