//! Behaviours as text: `fail:3,hang,ok` means 500 three times, one request without a response, then always 200.
//!
//! A script with an unknown entry or a count of zero is refused, with the position and a correction. Statuses are not
//! checked against HTTP: any from 200 to 999 is accepted.

use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::SignedDuration;

use super::behaviour::{Behaviour, Behaviours};
use super::fault::Fault;

/// Most entries in a script.
pub const MAX_ENTRIES: usize = 100;

/// Most repetitions of an entry. An entry to be repeated forever comes last.
pub const MAX_TIMES: u32 = 1_000_000;

/// A sequence of behaviours. The last one is repeated forever.
#[derive(Debug, Clone)]
pub struct Script {
    entries: Vec<(Behaviour, u32)>,
    last: Behaviour,
}

/// Why a text is not a valid script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// The wrong entry, counted from 1; 0 if the whole script is wrong.
    pub entry: usize,
    /// The problem, and what to write instead.
    pub complaint: String,
}

impl Script {
    /// Repeats each entry as often as given, and then the last behaviour forever.
    pub fn new(entries: Vec<(Behaviour, u32)>, last: impl Into<Behaviour>) -> Self {
        Self {
            entries,
            last: last.into(),
        }
    }

    /// The behaviour of the request, attempt or connection at this position, counted from 0.
    pub fn behaviour(&self, mut place: usize) -> &Behaviour {
        for (behaviour, times) in &self.entries {
            let times = usize::try_from(*times).unwrap_or(usize::MAX);
            if place < times {
                return behaviour;
            }
            place -= times;
        }
        &self.last
    }

    /// Counts connections, so that faults before a request can be scripted too.
    pub fn by_connection(self) -> Behaviours {
        Arc::new(move |number| self.behaviour(number).clone())
    }

    /// Counts the attempts of each delivery on its own. A fault that belongs before a request follows right after it,
    /// because only the request shows the attempt's number.
    pub fn by_attempt(self) -> Behaviour {
        Behaviour::chosen(move |arrival| {
            self.behaviour(usize::from(arrival.attempt()).saturating_sub(1))
                .clone()
        })
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let count = text.split(',').count();
        if count > MAX_ENTRIES {
            return Err(ScriptError {
                entry: 0,
                complaint: format!(
                    "a script has at most {MAX_ENTRIES} entries, this one has {count}; use `:N` to repeat an entry"
                ),
            });
        }
        let mut entries = Vec::with_capacity(count);
        for (place, entry) in text.split(',').enumerate() {
            let parsed = parse(entry.trim()).map_err(|complaint| ScriptError {
                entry: place + 1,
                complaint,
            })?;
            entries.push(parsed);
        }
        // Ignores the count of the last entry, which is repeated forever.
        let last = match entries.pop() {
            Some((behaviour, _)) => behaviour,
            None => Behaviour::ok(),
        };
        Ok(Self { entries, last })
    }
}

/// Parses one entry: a behaviour, and its number of repetitions.
fn parse(entry: &str) -> Result<(Behaviour, u32), String> {
    let mut parts = entry.split(':');
    let name = parts.next().unwrap_or_default();
    let behaviour = match name {
        "" => return Err("an entry is empty; remove the comma, or write `ok`".to_owned()),
        "ok" => Behaviour::ok(),
        "fail" => 500.into(),
        "delay" => {
            let wait = parts
                .next()
                .ok_or("`delay` needs a time, as in `delay:2s`")
                .map_err(str::to_owned)?;
            Behaviour::after(duration(wait)?, 200)
        }
        _ if name.starts_with(|first: char| first.is_ascii_digit()) => status(name)?.into(),
        _ => Behaviour::Fault(fault(name)?),
    };
    let times = match parts.next() {
        None => 1,
        Some(times) => count(times)?,
    };
    match parts.next() {
        None => Ok((behaviour, times)),
        Some(more) => Err(format!("nothing can follow the count, but `:{more}` does")),
    }
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(wait) if !wait.is_negative() => Ok(wait),
        Ok(_) => Err(format!("`{text}` is negative; a delay must not be negative")),
        Err(_) => Err(format!("`{text}` is not a time; write `2s`, `500ms` or `1m`")),
    }
}

fn status(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|status| (200..=999).contains(status))
        .ok_or_else(|| format!("`{text}` is not a final status, which is 200 to 999"))
}

fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|times| (1..=MAX_TIMES).contains(times))
        .ok_or_else(|| format!("`{text}` is not a count, which is 1 to {MAX_TIMES}"))
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::from_str(name, false).map_err(|_| {
        let known = Fault::all().iter().map(|fault| fault.name());
        format!(
            "`{name}` must be `ok`, `fail`, a status, `delay:TIME`, `hang` or one of the faults {}",
            known.collect::<Vec<_>>().join(", ")
        )
    })
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.entry > 0 {
            write!(f, "entry {}: ", self.entry)?;
        }
        f.write_str(&self.complaint)
    }
}

impl std::error::Error for ScriptError {}
