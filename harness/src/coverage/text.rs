//! The matrix as text for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::cell::{Cell, Column};
use super::draws::Draw;
use super::matrix::Matrix;
use super::reasons::{Kind, Reason, Reasons};
use super::rows::{ROWS, cells};
use crate::webhook_type::WebhookType;

/// How a cell without a webhook is shown.
const WITH_REASON: &str = "-";
const WITHOUT_REASON: &str = "EMPTY";

/// One table for each type, the reasons for empty cells, and a summary. Complaints are not part of it.
pub fn text(matrix: &Matrix, reasons: &Reasons) -> String {
    let mut text = String::new();
    for kind in WebhookType::ALL {
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{} webhooks, by rule and by error class or fault:",
            kind.word()
        );
        table(&mut text, matrix, reasons, kind);
        text.push('\n');
    }
    text.push_str(
        "A number counts webhooks in scenarios; after `+`, in random histories. `-` is empty, with a reason. A blank makes \
         no difference to the rule.\n\nReasons for empty cells:\n",
    );
    for reason in reasons.lines() {
        text.push_str(&shown(reason));
    }
    let _ = write!(text, "\n{}", summary(matrix));
    text
}

fn table(text: &mut String, matrix: &Matrix, reasons: &Reasons, kind: WebhookType) {
    let width = |column: Column| column.name().len().max(9);
    let mut head = "     ".to_owned();
    for column in Column::ALL {
        let _ = write!(head, " {:>1$}", column.name(), width(column));
    }
    let _ = writeln!(text, "{head}");
    for row in ROWS.iter().filter(|row| row.kinds.contains(&kind)) {
        let mut line = format!("{:<5}", row.rule);
        for column in Column::ALL {
            let cell = row
                .cells()
                .find(|cell| (cell.kind, cell.column) == (kind, column));
            let entry = cell.map_or_else(String::new, |cell| entry(matrix, reasons, &cell));
            let _ = write!(line, " {entry:>0$}", width(column));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn entry(matrix: &Matrix, reasons: &Reasons, cell: &Cell) -> String {
    match (matrix.in_scenarios(cell), matrix.in_histories(cell)) {
        (0, 0) if reasons.of(cell).is_some() => WITH_REASON.to_owned(),
        (0, 0) => WITHOUT_REASON.to_owned(),
        (played, 0) => played.to_string(),
        (0, explored) => format!("+{explored}"),
        (played, explored) => format!("{played}+{explored}"),
    }
}

/// The cells of a reason as they are written in the file, and the reason.
fn shown(reason: &Reason) -> String {
    let mut rules: Vec<&str> = Vec::new();
    let mut kinds: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for cell in &reason.cells {
        for (names, name) in [
            (&mut rules, cell.rule),
            (&mut kinds, cell.kind.word()),
            (&mut columns, cell.column.name()),
        ] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let by = match reason.kind {
        Kind::Empty => "",
        Kind::Explored => " (random histories exercise them)",
    };
    let [rules, kinds, columns] = [rules, kinds, columns].map(|names| names.join(" "));
    format!("  {rules}; {kinds}; {columns}{by}:\n    {}\n", reason.text)
}

fn summary(matrix: &Matrix) -> String {
    let all = cells().count();
    let played = cells().filter(|cell| matrix.in_scenarios(cell) > 0).count();
    let explored = cells()
        .filter(|cell| matrix.in_scenarios(cell) == 0 && matrix.in_histories(cell) > 0)
        .count();
    format!(
        "{all} cells: {played} exercised by {} scenarios, {explored} only by {} random histories, {} empty.\n",
        matrix.scenarios().len(),
        matrix.histories(),
        all - played - explored
    )
}

/// The effect of each deletion, for people.
pub fn draws_text(drawn: &[Draw], seed: u64) -> String {
    let mut text = format!(
        "{} scenarios drawn with seed {seed}, each deleted alone:\n",
        drawn.len()
    );
    for draw in drawn {
        let effect = if !draw.emptied.is_empty() {
            let cells: Vec<String> = draw.emptied.iter().map(Cell::to_string).collect();
            format!("empties {}", cells.join(", "))
        } else if draw.cells == 0 {
            "fills no cell: no webhook of it shows what its rules are about".to_owned()
        } else {
            format!(
                "redundant: its {} cells are also filled by {}",
                draw.cells,
                draw.replaced_by.join(", ")
            )
        };
        let _ = writeln!(text, "  {}\n    {effect}", draw.scenario);
    }
    text
}

/// Everything, for programs: cells, complaints and draws.
pub fn json(matrix: &Matrix, reasons: &Reasons, drawn: &[Draw]) -> Value {
    let name =
        |cell: &Cell| json!({"rule": cell.rule, "type": cell.kind.word(), "column": cell.column.name()});
    let entry = |cell: Cell| {
        let mut entry = name(&cell);
        entry["webhooks"] = json!(matrix.in_scenarios(&cell));
        entry["explored"] = json!(matrix.in_histories(&cell));
        entry["scenarios"] = json!(matrix.filled_by(&cell));
        entry["reason"] = json!(reasons.of(&cell).map(|reason| &reason.text));
        entry
    };
    let drawn = drawn.iter().map(|draw| {
        json!({
            "scenario": draw.scenario,
            "cells": draw.cells,
            "empties": draw.emptied.iter().map(name).collect::<Vec<_>>(),
            "replacedBy": draw.replaced_by,
        })
    });
    json!({
        "histories": matrix.histories(),
        "cells": cells().map(entry).collect::<Vec<_>>(),
        "complaints": matrix.complaints(reasons),
        "draws": drawn.collect::<Vec<_>>(),
    })
}
