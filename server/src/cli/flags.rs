//! A flag for each setting, made from the one table. `--help` shows the few that most people need, so that it fits on
//! a screen; `tenterhook settings` shows all.
//!
//! A flag is the setting's name in the file with dashes. Its value is checked together with those of all other
//! sources.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use tenterhook_settings::Settings;
use tenterhook_settings::table::{Entry, RETIRED, TABLE};

/// The settings that people set by hand, with shorter descriptions than in the table.
const USUAL: [(&str, &str); 4] = [
    ("listen", "Where the API listens"),
    ("data_dir", "Where `dev` keeps its database and keys"),
    ("database_url", "The Postgres to use; without it `dev` starts one"),
    ("clock", "system or simulated"),
];

/// The settings on the command line: keys of the table, with their text.
#[derive(Debug)]
pub(super) struct Flags(pub(super) Vec<(&'static str, String)>);

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let chosen = |entry: &Entry| Some((entry.key, matches.get_one::<String>(entry.key)?.clone()));
        Ok(Self(TABLE.iter().chain(RETIRED).filter_map(chosen).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let defaults = Settings::default();
        command.args(TABLE.iter().chain(RETIRED).map(|entry| flag(entry, &defaults)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(entry: &Entry, defaults: &Settings) -> Arg {
    let arg = Arg::new(entry.key)
        .long(entry.flag())
        .value_name("VALUE")
        .global(true);
    let default = match entry.value(defaults) {
        value if value.is_empty() => String::new(),
        value => format!(" [default: {value}]"),
    };
    match USUAL.iter().find(|(key, _)| *key == entry.key) {
        Some((_, meaning)) => arg.help(format!("{meaning}{default}")),
        None => arg.hide(true),
    }
}
