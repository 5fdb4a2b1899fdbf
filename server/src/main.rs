//! The `tenterhook` command; everything it does is in [`tenterhook::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tenterhook::cli::main()
}
