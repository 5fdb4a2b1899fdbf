//! The command line of the harness: `tenterhook-harness`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tenterhook_harness::command_line::exit_code;

use crate::commands::moved::Moved;

/// Test a webhook policy from outside: scenarios, random histories, receivers that misbehave.
#[derive(Parser)]
#[command(
    name = "tenterhook-harness",
    version,
    after_help = "Each command has a --help with examples.\n\
                  Exit code: 0 everything held, 1 a promise was broken, 2 something could not run."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(commands::list::List),
    Run(commands::run::Run),
    Coverage(commands::coverage::Coverage),
    Explore(commands::explore::Explore),
    Receive(commands::receive::Receive),
    Explain(commands::explain::Explain),
    #[command(hide = true)]
    Faults(Moved),
    #[command(hide = true)]
    Fill(Moved),
    #[command(hide = true)]
    Load(Moved),
    #[command(hide = true)]
    Overload(Moved),
    #[command(hide = true)]
    Reads(Moved),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List(list) => list.run(),
        Command::Run(run) => run.run().await,
        Command::Coverage(coverage) => coverage.run().await,
        Command::Explore(explore) => explore.run().await,
        Command::Explain(explain) => explain.run().map(|()| 0),
        Command::Receive(receive) => receive.run().await.map(|()| 0),
        Command::Faults(moved) => moved.run("faults"),
        Command::Fill(moved) => moved.run("fill"),
        Command::Load(moved) => moved.run("load"),
        Command::Overload(moved) => moved.run("overload"),
        Command::Reads(moved) => moved.run("reads"),
    };
    exit_code(done)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use tenterhook_harness::command_line::help_faults;

    #[test]
    fn the_help_fits_on_a_screen_and_cites_no_rule() {
        assert_eq!(help_faults(super::Arguments::command()), [""; 0]);
    }

    /// The old name of a moved command prints its new name, whatever the arguments.
    #[test]
    fn a_command_that_has_moved_names_its_new_place() {
        for (name, rest) in [
            ("load", "--rate 5"),
            ("reads", ""),
            ("overload", "--help"),
            ("fill", "--database=postgres://localhost/x --json"),
            ("faults", "-- --rounds 1"),
        ] {
            let words = ["tenterhook-harness", name]
                .into_iter()
                .chain(rest.split_whitespace());
            let parsed = super::Arguments::try_parse_from(words).unwrap();
            let told = match parsed.command {
                super::Command::Faults(moved) => moved.run("faults"),
                super::Command::Fill(moved) => moved.run("fill"),
                super::Command::Load(moved) => moved.run("load"),
                super::Command::Overload(moved) => moved.run("overload"),
                super::Command::Reads(moved) => moved.run("reads"),
                _ => panic!("{name} is another command"),
            };
            let told = told.unwrap_err().to_string();
            assert!(told.contains(&format!("run `tenterhook-lab {name}")), "{told}");
        }
        let help = super::Arguments::command().render_long_help().to_string();
        assert!(!help.contains("overload") && !help.contains("faults"), "{help}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
