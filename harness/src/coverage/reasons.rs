//! The reasons why cells are empty, from `reasons.tsv`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

use super::cell::{Cell, Cells, Column, type_named};
use super::rows::Row;
use crate::webhook_type::WebhookType;

const ON_FILE: &str = include_str!("reasons.tsv");

/// What a reason claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing exercises the cell.
    Empty,
    /// No scenario exercises the cell, but random histories do.
    Explored,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The line's number in the file, from 1.
    pub line: usize,
    /// What it claims.
    pub kind: Kind,
    /// The cells that it is about.
    pub cells: Vec<Cell>,
    /// The reason, in one sentence.
    pub text: String,
}

/// All reasons, found by their cells.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    lines: Vec<Reason>,
    by_cell: BTreeMap<Cell, usize>,
}

impl Reasons {
    /// The reasons on file.
    ///
    /// # Errors
    ///
    /// As [`Reasons::read`].
    pub fn on_file() -> anyhow::Result<Self> {
        Self::read(ON_FILE)
    }

    /// Reads a table of reasons.
    ///
    /// # Errors
    ///
    /// If a line does not have five columns, names something that does not exist, or is about a cell that an earlier
    /// line is about.
    pub fn read(table: &str) -> anyhow::Result<Self> {
        let mut reasons = Self::default();
        for (index, line) in table.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let reason = parse(number, line).with_context(|| format!("line {number} of the reasons"))?;
            for cell in &reason.cells {
                if let Some(other) = reasons.by_cell.insert(*cell, reasons.lines.len()) {
                    let earlier = reasons.lines.get(other).map_or(number, |other| other.line);
                    bail!("lines {earlier} and {number} of the reasons are both about {cell}");
                }
            }
            reasons.lines.push(reason);
        }
        Ok(reasons)
    }

    /// The reason for this cell.
    pub fn of(&self, cell: &Cell) -> Option<&Reason> {
        self.by_cell.get(cell).and_then(|line| self.lines.get(*line))
    }

    /// The cells that random histories exercise, according to the reasons, and that are not among these.
    pub fn unexplored(&self, exercised: &Cells) -> Vec<Cell> {
        let explored = self.lines.iter().filter(|reason| reason.kind == Kind::Explored);
        let cells = explored.flat_map(|reason| &reason.cells);
        cells
            .filter(|cell| !exercised.contains_key(cell))
            .copied()
            .collect()
    }

    /// All reasons, in the order of the file.
    pub fn lines(&self) -> &[Reason] {
        &self.lines
    }
}

fn parse(number: usize, line: &str) -> anyhow::Result<Reason> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [kind, rules, kinds, columns, text] = columns[..] else {
        bail!("it needs five columns, separated by tabs: {line:?}");
    };
    let kind = match kind {
        "empty" => Kind::Empty,
        "explored" => Kind::Explored,
        other => bail!("it begins with {other:?}, not with `empty` or `explored`"),
    };
    ensure!(!text.trim().is_empty(), "the reason itself is missing");
    let kinds: Vec<WebhookType> = match kinds {
        "both" => WebhookType::ALL.into(),
        one => vec![type_named(one)?],
    };
    let columns: Vec<Column> = columns.split(' ').map(Column::named).collect::<Result<_, _>>()?;
    let mut cells = Vec::new();
    for rule in rules.split(' ') {
        let row = Row::of(rule).with_context(|| format!("there is no rule {rule:?}"))?;
        for (kind, column) in kinds
            .iter()
            .flat_map(|kind| columns.iter().map(move |c| (*kind, *c)))
        {
            let cell = row
                .cells()
                .find(|cell| (cell.kind, cell.column) == (kind, column));
            let name = (kind.word(), column.name());
            cells.push(cell.with_context(|| format!("{rule} has no cell {} {}", name.0, name.1))?);
        }
    }
    Ok(Reason {
        line: number,
        kind,
        cells,
        text: text.to_owned(),
    })
}
