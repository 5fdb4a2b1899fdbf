//! The command line of the harness: `tenterhook-harness`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// See a webhook policy at work, and prove it: scenarios, random histories, receivers that misbehave.
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
    Explore(commands::explore::Explore),
    Faults(commands::faults::Faults),
    Fill(commands::fill::Fill),
    Load(commands::load::Load),
    Overload(commands::overload::Overload),
    Reads(commands::reads::Reads),
    Receive(commands::receive::Receive),
    Explain(commands::explain::Explain),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List(list) => list.run(),
        Command::Run(run) => run.run().await,
        Command::Explore(explore) => explore.run().await,
        Command::Faults(faults) => faults.run().await,
        Command::Explain(explain) => explain.run().map(|()| 0),
        Command::Fill(fill) => fill.run().await,
        Command::Load(load) => load.run().await,
        Command::Overload(overload) => overload.run().await,
        Command::Reads(reads) => reads.run().await,
        Command::Receive(receive) => receive.run().await.map(|()| 0),
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

    /// By O4 the help fits on one screen.
    #[test]
    fn the_help_fits_on_a_screen() {
        let text = super::Arguments::command().render_long_help().to_string();
        assert!(text.lines().count() <= 30, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?} columns:\n{text}");
    }

    /// Only `--rule` takes a rule code, so only its examples may have one.
    #[test]
    fn no_help_cites_a_rule_but_as_a_value_of_rule() {
        use tenterhook_harness::rules::RULES;
        let mut command = super::Arguments::command();
        command.build();
        let mut helps = vec![command.render_long_help().to_string()];
        helps.extend(
            command
                .get_subcommands_mut()
                .map(|command| command.render_long_help().to_string()),
        );
        assert!(helps.len() > 8, "{helps:?}");
        for text in helps {
            let words: Vec<&str> = text
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .collect();
            let cited = words
                .windows(2)
                .filter(|pair| pair[0] != "--rule" && RULES.iter().any(|(rule, _)| *rule == pair[1]));
            assert_eq!(cited.count(), 0, "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
