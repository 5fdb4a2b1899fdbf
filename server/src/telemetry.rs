//! Logging: readable text in a terminal, JSON otherwise. On standard error, so that the output of a command can be
//! piped.

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Starts logging at the levels in `filter`, such as `info` or `tenterhook=debug,warn`.
pub fn init(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("TENTERHOOK_LOG is {filter:?}, but must be a filter such as info or tenterhook=debug,warn")
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let installed = if io::stderr().is_terminal() {
        lines.compact().try_init()
    } else {
        lines.with_ansi(false).json().flatten_event(true).try_init()
    };
    installed.map_err(|error| anyhow::anyhow!("logging is set up already: {error}"))
}
