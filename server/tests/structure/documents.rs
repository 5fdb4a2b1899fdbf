//! Finds paths of the repository in its documents.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders at the root of the repository.
const TOP: [&str; 7] = ["server", "harness", "tests", "docs", "migrations", "fuzz", ".ci"];

/// Every Markdown file of the repository with its text, except in build output and downloads.
pub fn documents(root: &Path) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry of it too").path();
            if path.is_dir() {
                let left_out =
                    path.ends_with("target") || path.ends_with("node_modules") || path.ends_with(".git");
                folders.extend((!left_out).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("a document is text");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The paths between backticks that begin with a folder at the root. Those with a placeholder in capitals or braces
/// are examples.
pub fn named_paths(text: &str) -> Vec<&str> {
    let is_path = |span: &&str| {
        let top = span.split_once('/').is_some_and(|(top, _)| TOP.contains(&top));
        let is_plain = span.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
        let is_example = span
            .split('/')
            .any(|part| part.contains(char::is_uppercase) && !part.contains('.'));
        top && is_plain && !is_example
    };
    text.split('`').skip(1).step_by(2).filter(is_path).collect()
}
