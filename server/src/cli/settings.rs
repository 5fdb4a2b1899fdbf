//! `tenterhook settings`: prints all settings with their values and origins.

use clap::Args;

use tenterhook_settings::Loaded;
use tenterhook_settings::table::{TABLE, markdown};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Prints the page docs/settings.md instead: defaults and bounds.
    #[arg(long)]
    pub markdown: bool,
}

pub(super) fn print(loaded: &Loaded, arguments: &Arguments) -> String {
    if arguments.markdown {
        return markdown();
    }
    let entries = TABLE.iter().map(|entry| {
        let origin = loaded
            .origins
            .get(entry.key)
            .map_or("default".to_owned(), ToString::to_string);
        let value = match entry.value(&loaded.settings) {
            value if value.is_empty() => "(nothing)".to_owned(),
            value => value,
        };
        format!(
            "{} = {value}  ({origin})\n    --{}: {}\n",
            entry.variable(),
            entry.flag(),
            entry.summary()
        )
    });
    entries.collect()
}
