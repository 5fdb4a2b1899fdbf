//! Checks the structure of the source that Cargo does not enforce.
//!
//! Cargo refuses cycles of crates, but it allows any new dependency that makes no cycle. These tests check that each crate
//! uses only those that it may, that its modules form no cycle, and that only one file of the harness uses the server.

mod cycles;
mod documents;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::cycles::cycles;
use self::documents::{documents, named_paths};
use self::source::{Source, crates, read, sources};

/// Cycles that stay: the folder of the crate, the modules in order of their names, and the reason.
const BY_DESIGN: &[(&str, &[&str], &str)] = &[(
    "server/crates/api",
    &[
        "types::attempt",
        "types::delivery",
        "types::event",
        "types::webhook",
    ],
    "the GraphQL types refer to each other as the graph does: a webhook has deliveries, which have a webhook, an event and \
     attempts, each with its delivery",
)];

/// The crates of this workspace that each crate of the server may use, apart from its tests. Those that it may not know,
/// such as the product in `graphql-http`, are missing on purpose.
const USES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("settings", &[]),
    ("embedded-postgres", &[]),
    ("policy", &["model", "settings"]),
    ("store", &["clock", "embedded-postgres", "model"]),
    ("outbound-http", &["clock"]),
    ("graphql-http", &["clock"]),
    (
        "engine",
        &["clock", "model", "outbound-http", "policy", "settings", "store"],
    ),
    (
        "api",
        &[
            "clock",
            "engine",
            "graphql-http",
            "model",
            "outbound-http",
            "policy",
            "settings",
            "store",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates of this workspace among the dependencies of a manifest, without those of its tests. Sorted.
fn used(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("a manifest is TOML");
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    let names = dependencies.keys();
    let mut used: Vec<String> = names
        .filter_map(|name| name.strip_prefix("tenterhook-"))
        .map(str::to_owned)
        .collect();
    used.sort();
    used
}

#[test]
fn each_crate_uses_only_those_that_it_may() {
    let folders = crates(&root());
    let of_the_server = folders
        .iter()
        .filter(|folder| folder.starts_with(root().join("server/crates")));
    let mut seen = 0;
    for folder in of_the_server {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        let (_, may) = USES
            .iter()
            .find(|(listed, _)| *listed == name)
            .unwrap_or_else(|| panic!("list the crate {name} in USES"));
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a crate has a manifest");
        assert_eq!(used(&manifest), *may, "{name}");
        seen += 1;
    }
    assert_eq!(seen, USES.len(), "a crate of USES no longer exists");
}

#[test]
fn a_use_is_found() {
    let manifest = "[dependencies]\ntenterhook-store = {}\nserde = {}\ntenterhook-clock.workspace = true\n\
                    [dev-dependencies]\ntenterhook-api = {}";
    assert_eq!(used(manifest), ["clock", "store"]);
}

#[test]
fn no_crate_has_a_cycle_of_modules() {
    let mut found = Vec::new();
    let mut by_design = 0;
    for folder in crates(&root()) {
        let name = folder
            .strip_prefix(root())
            .expect("found below it")
            .display()
            .to_string();
        for cycle in cycles(&sources(&folder.join("src"))) {
            let stays =
                |(folder, modules, _): &(&str, &[&str], &str)| *folder == name && *modules == cycle.modules;
            if BY_DESIGN.iter().any(stays) {
                by_design += 1;
            } else {
                found.push(format!("{name}: {cycle}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "modules that use each other: move what both need into a module of its own\n{}",
        found.join("\n")
    );
    assert_eq!(
        by_design,
        BY_DESIGN.len(),
        "a cycle of BY_DESIGN no longer exists: remove it from the list"
    );
}

#[test]
fn a_cycle_is_found() {
    let planted = [
        read("a", "use crate::b::c::{self, X}; pub fn f() {}"),
        read("b", "pub mod c;"),
        read("b::c", "pub struct X; fn g() { super::super::d::h() }"),
        read("d", "pub fn h() { crate::a::f() }"),
    ];
    let found = cycles(&planted);
    let modules: Vec<_> = found.iter().map(|cycle| cycle.modules.clone()).collect();
    assert_eq!(modules, [["a", "b::c", "d"]]);
}

#[test]
fn a_module_may_use_its_parent() {
    let planted = [
        read("a", "pub struct X; use self::b::f;"),
        read("a::b", "use super::X; pub fn f() {}"),
        read("ab", "use crate::a::X;"),
    ];
    assert!(cycles(&planted).is_empty());
}

#[test]
fn tests_are_not_part_of_a_cycle() {
    let planted = [
        read("a", "pub fn f() {} #[cfg(test)] mod tests { use crate::b::g; }"),
        read("b", "use crate::a::f; pub fn g() {}"),
    ];
    assert!(cycles(&planted).is_empty());
}

#[test]
fn only_launch_uses_crates_of_the_server() {
    let mut knowing: Vec<PathBuf> = Vec::new();
    for folder in ["harness", "tests"] {
        let known = |source: &Source| source.crates.iter().any(|name| is_the_servers(name));
        let files = sources(&root().join(folder));
        knowing.extend(files.into_iter().filter(known).map(|source| source.path));
    }
    assert_eq!(
        knowing,
        [root().join("harness/src/launch.rs")],
        "the harness must not share the code that it judges"
    );
}

fn is_the_servers(name: &str) -> bool {
    let judges = ["tenterhook_harness", "tenterhook_lab"];
    name == "tenterhook" || name.starts_with("tenterhook_") && !judges.contains(&name)
}

#[test]
fn paths_that_documents_name_exist() {
    let mut missing = Vec::new();
    for (document, text) in documents(&root()) {
        let paths = named_paths(&text).into_iter();
        missing.extend(
            paths
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{}: {path}", document.display())),
        );
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_named_path_is_found() {
    let text =
        "See `server/src/main.rs`, `a/b.rs`, `docs/{a,b}.md`, `migrations/DATE_NAME/up.sql` and\n`harness`.";
    assert_eq!(named_paths(text), ["server/src/main.rs"]);
}
