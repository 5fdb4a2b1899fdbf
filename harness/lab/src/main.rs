//! The command line of the laboratory: `tenterhook-lab`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tenterhook_harness::command_line::exit_code;

/// Measure a real server, and disturb it: load, overload, long histories, faults.
#[derive(Parser)]
#[command(
    name = "tenterhook-lab",
    version,
    after_help = "Each command has a --help with examples. Measure builds with `--profile dist` only.\n\
                  Exit code: 0 everything held, 1 a promise or a bound was broken, 2 something could not run."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(commands::load::Load),
    Overload(commands::overload::Overload),
    Reads(commands::reads::Reads),
    Fill(commands::fill::Fill),
    Faults(commands::faults::Faults),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Load(load) => load.run().await,
        Command::Overload(overload) => overload.run().await,
        Command::Reads(reads) => reads.run().await,
        Command::Fill(fill) => fill.run().await,
        Command::Faults(faults) => faults.run().await,
    };
    exit_code(done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use tenterhook_harness::command_line::help_faults;

    #[test]
    fn the_help_fits_on_a_screen_and_cites_no_rule() {
        assert_eq!(help_faults(super::Arguments::command()), [""; 0]);
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
