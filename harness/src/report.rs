//! stub
use crate::run::{Run, Verdict};
use clap::ValueEnum;
/// f
#[derive(Debug, Clone, Copy, ValueEnum, PartialEq)]
pub enum Format {
    /// t
    Text,
    /// j
    Json,
}
/// r
pub fn render(run: &Run, format: Format) -> anyhow::Result<String> {
    if format == Format::Json {
        return Ok(serde_json::to_string_pretty(run)?);
    }
    let mut t = String::new();
    for o in &run.outcomes {
        if o.verdict != Verdict::Held {
            t.push_str(&format!("{}: {:#?}\n", o.name, o.verdict));
        }
    }
    t.push_str(&format!(
        "{} held of {}, {:.1} s, {:.1} sim days\n",
        run.count(|v| *v == Verdict::Held),
        run.outcomes.len(),
        run.real_seconds,
        run.outcomes.iter().map(|o| o.simulated_seconds).sum::<f64>() / 86400.0
    ));
    Ok(t)
}
