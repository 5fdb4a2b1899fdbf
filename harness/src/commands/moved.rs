//! Commands that moved to `tenterhook-lab`. Their old names print the new command.

use std::ffi::OsString;

use anyhow::bail;
use clap::Args;

/// Any arguments of a command that has moved.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Moved {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

impl Moved {
    /// Names the command's new place.
    ///
    /// # Errors
    ///
    /// Always, so that the exit code is 2: a script that still uses the old name must not pass.
    pub fn run(self, command: &str) -> anyhow::Result<u8> {
        let rest: String = self
            .rest
            .iter()
            .map(|argument| format!(" {}", argument.display()))
            .collect();
        bail!("`{command}` is a command of tenterhook-lab now: run `tenterhook-lab {command}{rest}`")
    }
}
