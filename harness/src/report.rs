//! How a run is shown: as text for people, JSON to keep, JUnit for CI, HTML to look at.
//!
//! Promises that every form shows every outcome with its verdict, and that JSON is read back the same. Does not judge,
//! and does not write files.

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::run::{Run, Verdict};

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

/// The run in this form.
///
/// # Errors
/// Where the run cannot be written as JSON.
pub fn render(run: &Run, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => text::draw(run, text::Timelines::OfBroken),
        Format::Json => serde_json::to_string_pretty(run).context("cannot write the run as JSON")? + "\n",
        Format::Junit => junit::draw(run),
        Format::Html => html::draw(run),
    })
}

/// A run that was saved as JSON.
///
/// # Errors
/// Where the text is no run; the error says what is missing and how to make one.
pub fn read(json: &str) -> anyhow::Result<Run> {
    if json.trim().is_empty() {
        bail!("the file is empty; `run --format json --output FILE` writes a run");
    }
    serde_json::from_str(json)
        .context("this is no run of the harness; `run --format json --output FILE` writes one")
}

/// The verdict in a word or three.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken(_) => "BROKEN",
        Verdict::Skipped(_) => "skipped",
        Verdict::CouldNotRun(_) => "COULD NOT RUN",
    }
}
