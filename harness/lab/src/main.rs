//! The command line of the laboratory: `tenterhook-lab`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use tenterhook_harness::rules::RULES;

    /// The help fits on one screen, so that nobody has to scroll to find a command.
    #[test]
    fn the_help_fits_on_a_screen() {
        let text = super::Arguments::command().render_long_help().to_string();
        assert!(text.lines().count() <= 30, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?} columns:\n{text}");
    }

    /// Rule codes are for code, tests and documents.
    #[test]
    fn no_help_cites_a_rule() {
        let mut command = super::Arguments::command();
        command.build();
        let mut helps = vec![command.render_long_help().to_string()];
        helps.extend(
            command
                .get_subcommands_mut()
                .map(|command| command.render_long_help().to_string()),
        );
        assert!(helps.len() > 5, "{helps:?}");
        for text in helps {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
            let cited = words.find(|word| RULES.iter().any(|(rule, _)| rule == word));
            assert_eq!(cited, None, "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
