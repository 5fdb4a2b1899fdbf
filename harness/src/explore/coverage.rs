//! Counts how often each transition and each rule was exercised. Random histories prove nothing about a rule that they
//! never exercised.

use std::collections::BTreeMap;
use std::fmt;

use super::answered::Answered;
use crate::coverage::{Cells, Life};
use crate::model::Step;

/// Counts by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    transitions: BTreeMap<&'static str, u64>,
    rules: BTreeMap<&'static str, u64>,
    cells: Cells,
}

const TRANSITIONS: [&str; 13] = [
    "ban started",
    "ban ended",
    "window opened",
    "warned after 24 h",
    "warned after 48 h",
    "warned after 71 h",
    "recovered",
    "removed after 72 h",
    "deleted",
    "paused",
    "resumed",
    "restored",
    "uninstalled",
];

/// The rules that a random history can exercise. Scenarios cover the others.
const RULES: [&str; 27] = [
    "W1", "W3", "W4", "W8", "W12", "W13", "E2", "E3", "E7", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "B1",
    "B2", "B3", "B4", "B5", "B6", "B7", "R1", "R2", "R3", "R5",
];

impl Default for Coverage {
    fn default() -> Self {
        Self {
            transitions: TRANSITIONS.map(|name| (name, 0)).into(),
            rules: RULES.map(|rule| (rule, 0)).into(),
            cells: Cells::new(),
        }
    }
}

impl Coverage {
    /// Counts a check of a rule in a situation in which it could have been broken.
    pub fn rule(&mut self, rule: &'static str) {
        *self.rules.entry(rule).or_default() += 1;
    }

    /// Counts a transition.
    pub fn transition(&mut self, name: &'static str) {
        *self.transitions.entry(name).or_default() += 1;
    }

    /// Counts steps of the model.
    pub fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            let (name, rules): (_, &[&'static str]) = match step {
                Step::BanStarted { .. } => ("ban started", &["B2"]),
                Step::BanEnded { .. } => ("ban ended", &["B3", "B7"]),
                Step::WindowOpened { .. } => ("window opened", &["R1"]),
                Step::Warned { hours: 24, .. } => ("warned after 24 h", &["R5"]),
                Step::Warned { hours: 48, .. } => ("warned after 48 h", &["R5"]),
                Step::Warned { .. } => ("warned after 71 h", &["R5"]),
                Step::Recovered { .. } => ("recovered", &["R1"]),
                Step::Removed { .. } => ("removed after 72 h", &["R1", "R3"]),
            };
            self.transition(name);
            rules.iter().for_each(|rule| self.rule(rule));
        }
    }

    /// Counts an attempt that was judged; `banned` says whether its webhook was banned.
    pub fn attempt(&mut self, attempt: &Answered, banned: bool) {
        self.rule("D1");
        self.rule("B1");
        match attempt.status {
            None => self.rule("D2"),
            Some(300..=399) => self.rule("D3"),
            Some(_) => {}
        }
        if attempt.number > 1 {
            self.rule("D4");
        }
        if banned {
            self.rule("B5");
        }
    }

    /// Counts the cells of the matrix that these webhooks fill for the rules that were checked so far.
    pub fn webhooks(&mut self, lives: &[Life]) {
        let checked = self.rules.iter().filter(|(_, count)| **count > 0);
        let checked: Vec<&str> = checked.map(|(rule, _)| *rule).collect();
        for cell in lives.iter().flat_map(|life| life.cells(&checked)) {
            *self.cells.entry(cell).or_default() += 1;
        }
    }

    /// The exercised cells of the matrix, see [`crate::coverage`].
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.transitions {
            *self.transitions.entry(name).or_default() += count;
        }
        for (rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        for (cell, count) in &other.cells {
            *self.cells.entry(*cell).or_default() += count;
        }
    }

    /// Transitions and rules that were never exercised.
    pub fn missing(&self) -> Vec<&'static str> {
        let counts = self.transitions.iter().chain(&self.rules);
        counts
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "transitions:")?;
        for (name, count) in &self.transitions {
            writeln!(f, "  {name:<20} {count:>9}")?;
        }
        write!(f, "rules:")?;
        for (place, (rule, count)) in self.rules.iter().enumerate() {
            if place % 6 == 0 {
                write!(f, "\n ")?;
            }
            write!(f, " {rule:<4}{count:>8}")?;
        }
        writeln!(f)
    }
}
