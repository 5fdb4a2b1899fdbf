//! Output of a run: text for people, JSON to store, JUnit for CI, HTML for a browser.
//!
//! Every format shows every outcome with its verdict, and reading JSON gives the same run again. This module does not
//! judge outcomes and does not write files.

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::run::{Outcome, Run, Verdict};
use crate::webhook_type::WebhookType;

pub mod html;
pub mod junit;
pub mod svg;
pub mod text;
pub mod timeline;

#[cfg(test)]
mod tests;

/// The forms in which a run can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table, a summary, and what broke.
    Text,
    /// Everything, to be read again.
    Json,
    /// JUnit XML, for CI.
    Junit,
    /// One page for a browser, with drawn timelines.
    Html,
}

/// The run in this format.
///
/// # Errors
/// If the run cannot be written as JSON.
pub fn render(run: &Run, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => text::draw(run, text::Timelines::OfBroken),
        Format::Json => serde_json::to_string_pretty(run).context("cannot write the run as JSON")? + "\n",
        Format::Junit => junit::draw(run),
        Format::Html => html::draw(run),
    })
}

/// Reads a run that was saved as JSON.
///
/// # Errors
/// If the text is not a run. The error says what is missing and how to make one.
pub fn read(json: &str) -> anyhow::Result<Run> {
    if json.trim().is_empty() {
        bail!("the file is empty; `run --format json --output FILE` writes a run");
    }
    serde_json::from_str(json)
        .context("this is not a run of the harness; `run --format json --output FILE` writes one")
}

/// The webhook type for which a scenario was played, or a dash.
fn webhook_type(outcome: &Outcome) -> &'static str {
    outcome.webhook_type.map_or("-", WebhookType::name)
}

/// The verdict in at most three words.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken(_) => "BROKEN",
        Verdict::Skipped(_) => "skipped",
        Verdict::CouldNotRun(_) => "COULD NOT RUN",
    }
}
