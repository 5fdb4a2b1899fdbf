//! The matrix: which scenarios and how many random histories exercise each cell.

use std::collections::BTreeMap;

use super::cell::{Cell, Cells};
use super::life::Life;
use super::reasons::{Kind, Reasons};
use super::rows::cells;

/// With at least this number of random histories, something that none of them exercised is a failure.
pub const TELLING: u64 = 200;

/// What scenarios and histories exercised.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    scenarios: BTreeMap<String, Cells>,
    explored: Cells,
    histories: u64,
}

impl Matrix {
    /// Adds a scenario that held, with the rules that it covers and the lives of its webhooks. One that is played once for
    /// each webhook type (`NAME/TYPE`) is one scenario.
    pub fn add_scenario<R: AsRef<str>>(&mut self, name: &str, rules: &[R], lives: &[Life]) {
        let name = name.split_once('/').map_or(name, |(name, _)| name);
        let cells = self.scenarios.entry(name.to_owned()).or_default();
        for cell in lives.iter().flat_map(|life| life.cells(rules)) {
            *cells.entry(cell).or_default() += 1;
        }
    }

    /// Adds a random history that held.
    pub fn add_history(&mut self, exercised: &Cells) {
        self.histories += 1;
        for (cell, count) in exercised {
            *self.explored.entry(*cell).or_default() += count;
        }
    }

    /// The scenarios, each with the cells that it fills.
    pub fn scenarios(&self) -> &BTreeMap<String, Cells> {
        &self.scenarios
    }

    /// Number of random histories.
    pub fn histories(&self) -> u64 {
        self.histories
    }

    /// The scenarios that fill a cell.
    pub fn filled_by(&self, cell: &Cell) -> Vec<&str> {
        let filling = self
            .scenarios
            .iter()
            .filter(|(_, cells)| cells.contains_key(cell));
        filling.map(|(name, _)| name.as_str()).collect()
    }

    /// Number of webhooks that filled a cell in scenarios.
    pub fn in_scenarios(&self, cell: &Cell) -> u64 {
        self.scenarios.values().filter_map(|cells| cells.get(cell)).sum()
    }

    /// Number of webhooks that filled a cell in random histories.
    pub fn in_histories(&self, cell: &Cell) -> u64 {
        self.explored.get(cell).copied().unwrap_or(0)
    }

    /// Everything that contradicts the reasons on file: empty cells without a reason, and reasons that do not hold.
    pub fn complaints(&self, reasons: &Reasons) -> Vec<String> {
        cells()
            .filter_map(|cell| self.complaint(&cell, reasons))
            .collect()
    }

    fn complaint(&self, cell: &Cell, reasons: &Reasons) -> Option<String> {
        let (played, explored) = (self.filled_by(cell), self.in_histories(cell));
        let Some(reason) = reasons.of(cell) else {
            return match (played.is_empty(), explored) {
                (false, _) => None,
                (true, 0) => Some(format!("{cell}: empty, and no reason on file")),
                (true, _) => Some(format!(
                    "{cell}: exercised by random histories alone, and no reason of kind `explored` on file"
                )),
            };
        };
        let of_line = format!("the reason in line {}", reason.line);
        if let Some(first) = played.first() {
            return Some(format!(
                "{cell}: exercised by {} scenarios, such as {first}, so {of_line} is outdated: remove the cell from it",
                played.len()
            ));
        }
        match (reason.kind, explored) {
            (Kind::Empty, 1..) => Some(format!(
                "{cell}: exercised by random histories, but {of_line} says that nothing does: its kind is `explored`"
            )),
            (Kind::Explored, 0) if self.histories >= TELLING => Some(format!(
                "{cell}: not exercised by {} random histories, but {of_line} says that they do",
                self.histories
            )),
            _ => None,
        }
    }
}
