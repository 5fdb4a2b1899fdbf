//! Where a value comes from: its default, the file, the environment, the command line. A later source overrides an earlier
//! one.
//!
//! Guarantees: all problems are reported at once, each with the name as its source spells it. For an unknown name the most
//! similar setting is suggested.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Settings;
use super::service_links;
use super::table::{Entry, RETIRED, TABLE};

/// The variable with the path of the file. Not a setting itself: it decides where settings come from.
pub const CONFIG_VARIABLE: &str = "TENTERHOOK_CONFIG";
const PREFIX: &str = "TENTERHOOK_";

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The TOML file.
    File,
    /// An environment variable.
    Environment,
    /// A flag.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        })
    }
}

/// The input of each source.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The file's path and text.
    pub file: Option<(&'a Path, &'a str)>,
    /// The whole environment; variables without our prefix are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Keys of [`TABLE`] with the text of their flags.
    pub flags: Vec<(&'static str, String)>,
}

/// Complete settings that don't contradict each other.
#[derive(Debug)]
pub struct Loaded {
    /// The values in force.
    pub settings: Settings,
    /// The keys that were set; the others have their defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Variables with our prefix that Kubernetes set for a Service, sorted. They set nothing.
    pub service_links: Vec<String>,
    /// A sentence for each [retired](RETIRED) setting that was chosen.
    pub retired: Vec<String>,
}

impl Loaded {
    /// The secrets that are in the file itself: other users should not be able to read it.
    pub fn secrets_of_file(&self) -> impl Iterator<Item = &'static str> {
        let of_file = |entry: &&Entry| self.origins.get(entry.key) == Some(&Origin::File);
        let secrets = TABLE.iter().filter(|entry| entry.is_secret());
        secrets.filter(of_file).map(|entry| entry.key)
    }
}

/// All problems, one on each line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings can't be used:{}", .0.iter().map(|line| format!("\n  {line}")).collect::<String>())]
pub struct SettingsError(pub Vec<String>);

/// Applies the sources to `base`, which has the defaults.
pub fn load(base: Settings, sources: &Sources) -> Result<Loaded, SettingsError> {
    let mut layers = Layers {
        loaded: Loaded {
            settings: base,
            origins: BTreeMap::new(),
            service_links: Vec::new(),
            retired: Vec::new(),
        },
        problems: Vec::new(),
    };
    if let Some((path, text)) = sources.file {
        layers.file(path, text);
    }
    layers.environment(&sources.environment);
    layers.loaded.service_links.sort();
    for (key, text) in &sources.flags {
        let flag = |entry: &Entry| format!("--{}", entry.flag());
        match TABLE.iter().find(|entry| entry.key == *key) {
            Some(entry) => layers.set(entry, &flag(entry), text, Origin::CommandLine),
            None => layers.unknown(&format!("--{}", key.replace(['.', '_'], "-")), "", flag),
        }
    }
    if layers.problems.is_empty() {
        layers.problems = layers.loaded.settings.contradictions();
    }
    if layers.problems.is_empty() {
        Ok(layers.loaded)
    } else {
        Err(SettingsError(layers.problems))
    }
}

struct Layers {
    loaded: Loaded,
    problems: Vec<String>,
}

impl Layers {
    fn file(&mut self, path: &Path, text: &str) {
        // Not the library's own `Table`: that reads a key with a special name as a date.
        match DeTable::parse(text) {
            Ok(table) => self.table(path, "", table.get_ref()),
            Err(error) => {
                // The parser's own display quotes the line, which may hold a password.
                let before = error
                    .span()
                    .and_then(|span| text.get(..span.start))
                    .unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                self.problems
                    .push(format!("{} line {line}: {}", path.display(), error.message()));
            }
        }
    }

    fn table(&mut self, path: &Path, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let (name, value) = (name.get_ref(), value.get_ref());
            let key = format!("{prefix}{name}");
            if let DeValue::Table(inner) = value {
                self.table(path, &format!("{key}."), inner);
                continue;
            }
            let place = format!(" in {}", path.display());
            match (TABLE.iter().find(|entry| entry.key == key), plain_text(value)) {
                (Some(entry), Some(text)) => self.set(entry, &format!("{key}{place}"), &text, Origin::File),
                (Some(_), None) => {
                    self.problems.push(format!(
                        "{key}{place} must be a text, a whole number, true, false or a list of those"
                    ));
                }
                (None, _) => self.unknown(&key, &place, |entry| entry.key.to_owned()),
            }
        }
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        for (name, value) in variables {
            // A name that is not text is not one of our settings.
            let Some(name) = name.to_str().filter(|name| *name != CONFIG_VARIABLE) else {
                continue;
            };
            if name.starts_with(PREFIX) && service_links::is_one(name, &value.to_string_lossy()) {
                self.loaded.service_links.push(name.to_owned());
                continue;
            }
            let entry = TABLE.iter().find(|entry| entry.variable() == name);
            match (entry, value.to_str()) {
                (Some(entry), Some(text)) => self.set(entry, name, text, Origin::Environment),
                (Some(_), None) => self.problems.push(format!("{name} must be UTF-8 text")),
                (None, _) if name.starts_with(PREFIX) => self.unknown(name, "", Entry::variable),
                (None, _) => {}
            }
        }
    }

    fn set(&mut self, entry: &'static Entry, name: &str, text: &str, origin: Origin) {
        match (entry.set)(&mut self.loaded.settings, text) {
            Ok(()) => {
                self.loaded.origins.insert(entry.key, origin);
            }
            Err(error) if entry.is_secret() => self.problems.push(format!("{name} {error}")),
            Err(error) => {
                let text = without_credentials(text);
                self.problems.push(format!("{name} is {text:?}, but {error}"));
            }
        }
    }

    /// `spell` writes the name of an entry as this source does.
    fn unknown(&mut self, name: &str, place: &str, spell: fn(&Entry) -> String) {
        if let Some(retired) = RETIRED.iter().find(|entry| spell(entry) == name) {
            let sentence = format!(
                "{name}{place} is retired, has no effect and will be refused by the next release: {}",
                retired.meaning
            );
            self.loaded.retired.push(sentence);
            return;
        }
        // Compare without the prefix: shared by all names, it would make any two similar.
        let core = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let distance = |entry: &&Entry| strsim::damerau_levenshtein(&core(&spell(entry)), &core(name));
        let nearest = TABLE
            .iter()
            .min_by_key(distance)
            .filter(|entry| distance(entry) <= core(name).len() / 3);
        let hint = match nearest {
            Some(entry) => format!("did you mean {}?", spell(entry)),
            None => "`tenterhook settings` lists all settings".to_owned(),
        };
        self.problems
            .push(format!("{name}{place} is not a setting: {hint}"));
    }
}

/// The text before the last `@` of a URL may contain a password, even if the URL is invalid.
fn without_credentials(text: &str) -> String {
    match text.split_once("://").zip(text.rsplit_once('@')) {
        Some(((scheme, _), (_, rest))) => format!("{scheme}://…@{rest}"),
        None => text.to_owned(),
    }
}

/// The entries of a list are joined as in the environment.
fn plain_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            // The setting refuses a number that is too large.
            Some(read.map_or_else(|_| number.to_string(), |read| read.to_string()))
        }
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(entries) => {
            let texts: Option<Vec<String>> = entries
                .iter()
                .map(|entry| match entry.get_ref() {
                    DeValue::Array(_) => None,
                    entry => plain_text(entry),
                })
                .collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
