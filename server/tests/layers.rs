//! The direction of dependencies, which Rust itself does not hold.
//!
//! Promises that a layer of the server uses only what stands before it, and that of the harness exactly one file knows
//! the server. Reads the source for paths that begin with a crate's name; comments do not count.

use std::fs;
use std::path::{Path, PathBuf};

/// Each may use those before it. `telemetry` and `embedded` know nothing of the product and stand early for that.
const LAYERS: [&str; 12] = [
    "model",
    "clock",
    "config",
    "telemetry",
    "embedded",
    "policy",
    "store",
    "engine",
    "api",
    "app",
    "cli",
    "main",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder of the workspace, with its code.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry of it too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is text");
                let code = text
                    .lines()
                    .map(|line| line.split("//").next().unwrap_or_default());
                sources.push((path.clone(), code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(!sources.is_empty(), "no source in {folder}");
    sources
}

/// What stands behind each `krate::` of the code: one name, or the first names of a group.
fn used<'a>(code: &'a str, krate: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut used = Vec::new();
    for (at, prefix) in code.match_indices(&format!("{krate}::")) {
        if code[..at].ends_with(|c| is_name(c) || c == ':') {
            continue;
        }
        let path = &code[at + prefix.len()..];
        let Some(group) = path.strip_prefix('{') else {
            used.extend(path.split(|c| !is_name(c)).next());
            continue;
        };
        let mut depth = 0;
        for part in group.split_inclusive(['{', '}', ',']) {
            if depth == 0 {
                used.extend(part.trim_start().split(|c| !is_name(c)).next());
            }
            match part.chars().last() {
                Some('{') => depth += 1,
                Some('}') if depth == 0 => break,
                Some('}') => depth -= 1,
                _ => {}
            }
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn a_layer_of_the_server_uses_only_what_stands_before_it() {
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let source = root().join("server/src");
    let mut upward = Vec::new();
    for (path, code) in sources("server/src") {
        let within = path
            .strip_prefix(&source)
            .expect("found below it")
            .with_extension("");
        let layer = within
            .iter()
            .next()
            .and_then(|name| name.to_str())
            .expect("names are UTF-8");
        if layer == "lib" {
            continue;
        }
        let own =
            place(layer).unwrap_or_else(|| panic!("{layer} has no place in LAYERS: {}", path.display()));
        let krate = if layer == "main" { "tenterhook" } else { "crate" };
        let mut names = used(&code, krate);
        names.retain(|name| place(name).is_some_and(|place| place > own));
        upward.extend(
            names
                .iter()
                .map(|name| format!("{} uses {name}", within.display())),
        );
    }
    assert!(
        upward.is_empty(),
        "against the direction of the layers {LAYERS:?}:\n{}",
        upward.join("\n")
    );
}

#[test]
fn of_the_harness_and_its_tests_only_launch_knows_the_server() {
    let knows = |code: &str| !used(code, "tenterhook").is_empty() || code.contains("use tenterhook ");
    let mut knowing: Vec<PathBuf> = Vec::new();
    for folder in ["harness", "tests"] {
        knowing.extend(
            sources(folder)
                .into_iter()
                .filter(|(_, code)| knows(code))
                .map(|(path, _)| path),
        );
    }
    assert_eq!(
        knowing,
        [root().join("harness/src/launch.rs")],
        "an oracle must not share the code it judges"
    );
}

#[test]
fn paths_are_read_wherever_they_stand() {
    let code = "use crate::store::{self, claim};\nuse crate::{api::{a, b}, app, self};\nlet x = crate::engine::y(mycrate::cli);";
    assert_eq!(used(code, "crate"), ["store", "api", "app", "self", "engine"]);
}
