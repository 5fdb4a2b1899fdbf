//! What the matrix would lose without a scenario: a check that the scenarios are needed and the cells can be empty.

use std::collections::BTreeSet;

use super::cell::{Cell, Cells};
use super::matrix::Matrix;
use crate::rng::Rng;

/// A scenario that was drawn at random, and the effect of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The name of the scenario.
    pub scenario: String,
    /// Number of cells that it fills.
    pub cells: usize,
    /// The cells that no other scenario fills.
    pub emptied: Vec<Cell>,
    /// If it empties none: a few scenarios that together fill all of its cells.
    pub replaced_by: Vec<String>,
}

/// Draws this number of different scenarios. The result depends only on the seed and the catalogue.
pub fn draw(matrix: &Matrix, count: usize, seed: u64) -> Vec<Draw> {
    let mut names: Vec<&String> = matrix.scenarios().keys().collect();
    Rng::new(seed).shuffle(&mut names);
    names.truncate(count);
    names.into_iter().map(|name| without(matrix, name)).collect()
}

fn without(matrix: &Matrix, name: &str) -> Draw {
    let own: BTreeSet<Cell> = matrix
        .scenarios()
        .get(name)
        .into_iter()
        .flat_map(Cells::keys)
        .copied()
        .collect();
    let emptied: Vec<Cell> = own
        .iter()
        .filter(|cell| matrix.filled_by(cell) == [name])
        .copied()
        .collect();
    let replaced_by = if emptied.is_empty() {
        replacement(matrix, name, own.clone())
    } else {
        Vec::new()
    };
    Draw {
        scenario: name.to_owned(),
        cells: own.len(),
        emptied,
        replaced_by,
    }
}

/// Other scenarios that fill these cells: each time the one that fills most of those that are left.
fn replacement(matrix: &Matrix, name: &str, mut left: BTreeSet<Cell>) -> Vec<String> {
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let fills = |cells: &Cells| left.iter().filter(|cell| cells.contains_key(cell)).count();
        let others = matrix.scenarios().iter().filter(|(other, _)| *other != name);
        let Some((best, cells)) = others.max_by_key(|(_, cells)| fills(cells)) else {
            break;
        };
        let before = left.len();
        left.retain(|cell| !cells.contains_key(cell));
        if left.len() == before {
            break;
        }
        chosen.push(best.clone());
    }
    chosen
}
