//! Reads the text files of the repository, without build output, downloads and fuzz corpora.

use std::fs;
use std::path::{Path, PathBuf};

/// Kinds of file that cite rules.
const KINDS: [&str; 11] = [
    "rs", "md", "sql", "graphql", "toml", "ts", "js", "py", "sh", "yml", "yaml",
];
/// Folders that are not searched. This test's own folder cites rules that do not exist.
const LEFT_OUT: [&str; 7] = [
    "target",
    "node_modules",
    "corpus",
    "assets",
    "snapshots",
    "artifacts",
    "server/tests/rules",
];

/// A file of the repository.
pub struct Source {
    /// Path from the root.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page or other file by its path from the root.
pub fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that may cite a rule.
pub fn sources() -> Vec<Source> {
    let mut folders = vec![root()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry of it too").path();
            let within = path
                .strip_prefix(root())
                .expect("found below the root")
                .to_owned();
            if path.is_dir() {
                if is_searched(&within) {
                    folders.push(path);
                }
            } else if is_text(&within) {
                let text = fs::read_to_string(&path).expect("source is text");
                sources.push(Source { path: within, text });
            }
        }
    }
    assert!(sources.len() > 400, "only {} files", sources.len());
    sources
}

fn is_searched(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let hidden = name.starts_with('.') && name != ".ci";
    !hidden
        && !LEFT_OUT
            .iter()
            .any(|out| folder == Path::new(out) || *out == name)
}

fn is_text(path: &Path) -> bool {
    let kind = path.extension().map(|kind| kind.to_string_lossy().into_owned());
    let is_script = path.starts_with(".ci") && kind.is_none();
    is_script || kind.is_some_and(|kind| KINDS.contains(&kind.as_str()))
}

/// Whether the file is a test or a scenario, so that what it cites is proved there.
pub fn proves(path: &Path) -> bool {
    let mut parts = path.iter().map(|part| part.to_string_lossy().replace(".rs", ""));
    path.extension().is_some_and(|kind| kind == "rs")
        && parts.any(|part| part == "tests" || part == "scenarios" || part.ends_with("_tests"))
}

/// The code of a source file, without comments and without the tests at its end.
pub fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().map(|line| {
        let comment = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'));
        comment.map_or(line, |(at, _)| &line[..at])
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn code_excludes_comments_and_tests() {
    let text =
        "/// B1.\nlet url = \"http://x\"; // B2\nlog(\"B3\");\n#[cfg(test)]\nmod tests {\n    // B4\n}\n";
    assert_eq!(code(text), "\nlet url = \"http://x\"; \nlog(\"B3\");");
}

#[test]
fn only_tests_and_scenarios_count_as_proof() {
    for path in [
        "tests/bans.rs",
        "server/crates/policy/src/health/tests/bans.rs",
        "server/crates/policy/src/access/tests.rs",
        "server/crates/store/src/tests/queue/maintenance.rs",
        "harness/src/scenarios/bans.rs",
        "harness/tests/mutants/main.rs",
    ] {
        assert!(proves(Path::new(path)), "{path}");
    }
    for path in [
        "server/crates/policy/src/health.rs",
        "harness/src/rules.rs",
        "docs/tests.md",
    ] {
        assert!(!proves(Path::new(path)), "{path}");
    }
}
