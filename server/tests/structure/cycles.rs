//! Finds cycles among the modules of one crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::Source;

/// Modules that use each other, directly or through one another.
pub struct Cycle {
    /// Sorted by name.
    pub modules: Vec<String>,
    /// The uses: from, to, and a path in the first that names the second.
    arrows: Vec<(String, String, String)>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.modules.join(", "))?;
        for (from, to, path) in &self.arrows {
            writeln!(f, "  {from} -> {to}: {path}")?;
        }
        Ok(())
    }
}

/// The cycles of a crate's modules: its strongly connected components of more than one module.
///
/// The root of the crate is left out: it declares and exports the others. A module may use the modules that
/// contain it: a reader reads them together.
pub fn cycles(sources: &[Source]) -> Vec<Cycle> {
    let modules: BTreeSet<&str> = sources
        .iter()
        .map(|source| source.module.as_str())
        .filter(|module| !module.is_empty())
        .collect();
    let mut uses: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.module.is_empty()) {
        let used = uses.entry(&source.module).or_default();
        for path in &source.within {
            let module = owner(&modules, path);
            if let Some(module) = module.filter(|module| !is_around(module, &source.module)) {
                used.insert(module, path);
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = modules
        .iter()
        .map(|module| (*module, reached(&uses, module)))
        .collect();
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for module in &modules {
        let cycle: Vec<&str> = modules
            .iter()
            .copied()
            .filter(|other| reached[module].contains(other) && reached[other].contains(module))
            .collect();
        if cycle.len() > 1 && !told.contains(module) {
            told.extend(cycle.iter().copied());
            found.push(described(&cycle, &uses));
        }
    }
    found
}

/// Whether `outer` is `inner` or a module around it.
fn is_around(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that has what a path names: the longest part of it that is a file.
fn owner<'a>(modules: &BTreeSet<&'a str>, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some(module) = modules.get(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn reached<'a>(uses: &BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for module in uses.get(next).into_iter().flat_map(BTreeMap::keys).copied() {
            if reached.insert(module) {
                open.push(module);
            }
        }
    }
    reached
}

fn described(cycle: &[&str], uses: &BTreeMap<&str, BTreeMap<&str, &str>>) -> Cycle {
    let mut arrows = Vec::new();
    for from in cycle {
        for (to, path) in uses.get(from).into_iter().flatten() {
            if cycle.contains(to) {
                arrows.push(((*from).to_owned(), (*to).to_owned(), (*path).to_owned()));
            }
        }
    }
    Cycle {
        modules: cycle.iter().map(|module| (*module).to_owned()).collect(),
        arrows,
    }
}
