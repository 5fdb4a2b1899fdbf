//! The command line of the harness: `tenterhook-harness`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::moved::Moved;

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
    use clap::{CommandFactory, Parser};

    /// The help fits on one screen, so that nobody has to scroll to find a command.
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
        assert!(helps.len() > 5, "{helps:?}");
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
