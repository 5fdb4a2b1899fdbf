//! Text for people is plain English: it has none of the phrases in [`REFUSED`].
//!
//! The test reads Markdown (but not quoted output of programs), comments and strings of Rust, comments of SQL, and all
//! of other files. It finds a phrase across a line break. It cannot judge whether a sentence is good: the rules for
//! that are in CONTRIBUTING.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Each phrase, and what to write instead. The only list; add to it here.
const REFUSED: &[(&str, &str)] = &[
    ("anew", "again, or the verb with re-"),
    ("for want of", "because there is no"),
    ("for lack of", "because there is no"),
    ("empty hands", "holding nothing"),
    ("at the most", "at most"),
    ("at the least", "at least"),
    ("so many", "the number, or: as many as"),
    ("that much", "the amount"),
    ("what became of", "the result of"),
    ("what becomes of", "the result of"),
    ("what comes due", "deliveries that are due"),
    ("who rests", "a company that is paused"),
    ("let slip", "started before it knew"),
    ("lets slip", "starts before it knows"),
    ("breath", "pause"),
    ("breaths", "pauses"),
    ("bury", "remove"),
    ("buried", "removed"),
    ("may come to be", "may exist later"),
    ("not to be had", "not available"),
    ("cannot be had", "is not available"),
    ("of which", "whose, or a second sentence"),
    ("beside", "next to, in addition to, while"),
    ("nobody waits for", "say who is not delayed"),
    ("takes along", "includes"),
    ("goes its way", "continues"),
    ("comes by", "gets"),
    ("come by", "get"),
    ("told of", "informed about"),
    ("says back", "repeats"),
    ("has yet to", "has not yet"),
    ("have yet to", "have not yet"),
    ("goes home", "stops"),
    ("for good", "permanently"),
    ("an own", "a separate, or: of its own"),
    ("shall", "must"),
    ("gets to it", "reaches it"),
    ("gets to them", "reaches them"),
    ("what stands", "the text, or: the parts"),
    ("stands in", "is in"),
    ("stands there", "is there"),
    ("even so", "anyway"),
    ("all the same", "anyway"),
    ("half-way", "before the end"),
    ("gives out", "leases, returns"),
    ("give out", "lease, return"),
    ("gets over", "recovers from"),
    ("worth nothing", "without effect"),
    ("no way around", "cannot be avoided"),
    ("way out", "say what it must not end"),
    ("way back", "cannot be undone"),
    ("came of", "the result of"),
    ("in a tie", "if both have the same time"),
    ("hears of", "is informed about"),
    ("hear of", "be informed about"),
    ("comes back", "continues, is returned"),
    ("come back", "continue, be returned"),
    ("on its way", "waits, is in flight"),
    ("on their way", "wait, are in flight"),
    ("is gone", "has ended, was removed"),
    ("are gone", "have ended, were removed"),
    ("be gone", "have ended, have been removed"),
    ("is away", "is unavailable"),
    ("again and again", "repeatedly"),
    ("over and over", "repeatedly"),
    ("excuse", "reason"),
    ("seam", "interface"),
];

/// Files, and folders with all that is below them.
const HELD: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Cargo.toml",
    "deny.toml",
    "docs",
    "fuzz",
    "harness",
    "migrations",
    "schema.graphql",
    "server",
    "tests",
];

/// Files in these folders that are left out: the schema as it was published, code of others, and this file, which lists
/// the phrases.
const EXCEPT: &[&str] = &[
    "docs/schema-baseline.graphql",
    "server/crates/api/assets/graphiql/graphiql.min.js",
    "tests/plain_english.rs",
];

/// Folders that tools fill, and the extensions of the files to read.
const FOREIGN: [&str; 5] = ["node_modules", "target", ".venv", "generated", "dist"];
const READ: [&str; 9] = ["md", "rs", "sql", "graphql", "toml", "sh", "py", "js", "ts"];

/// A word in lower case with its line, or `None` at the end of a sentence or clause, which no phrase crosses.
type Words = Vec<Option<(String, usize)>>;

fn words(text: &str) -> Words {
    let mut words = Words::new();
    for (index, line) in text.lines().enumerate() {
        for part in line.split_whitespace() {
            let mut rest = part;
            while !rest.is_empty() {
                let length = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
                if length > 0 {
                    words.push(Some((rest[..length].to_lowercase(), index + 1)));
                }
                let mark = rest[length..].chars().next();
                if mark.is_some_and(|c| ".;:!?()|,".contains(c)) {
                    words.push(None);
                }
                rest = &rest[length + mark.map_or(0, char::len_utf8)..];
            }
        }
    }
    words
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '\'' || c == '-' || c == '_'
}

/// The lines where `text` has a refused phrase, with the phrase and what to write instead.
fn refused(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let mut found = Vec::new();
    for (phrase, instead) in REFUSED {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        for window in words.windows(wanted.len()) {
            let matches = |(word, wanted): (&Option<(String, usize)>, &&str)| {
                word.as_ref().is_some_and(|(word, _)| word == *wanted)
            };
            if window.iter().zip(&wanted).all(matches)
                && let Some(Some((_, line))) = window.first()
            {
                found.push((*line, *phrase, *instead));
            }
        }
    }
    found.sort_unstable();
    found
}

/// The text for people in a file. Everything else is left out, and lines keep their numbers.
fn prose(path: &Path, text: &str) -> String {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => without_output(text),
        Some("rs") => of_rust(text),
        Some("sql") => lines_of(text, |line| {
            line.split_once("--").map_or("", |(_, comment)| comment)
        }),
        _ => text.to_owned(),
    }
}

fn lines_of<'a>(text: &'a str, part: impl Fn(&'a str) -> &'a str) -> String {
    text.lines().map(part).collect::<Vec<_>>().join("\n")
}

/// Leaves out blocks that quote the output of a program: those without a language, `text` and `json`.
fn without_output(text: &str) -> String {
    let mut fence: Option<bool> = None;
    let mut kept = Vec::new();
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(["", "text", "json"].contains(&language.trim())),
            (Some(_), Some(_)) => fence = None,
            (None, _) => {}
        }
        kept.push(if fence == Some(true) { "" } else { line });
    }
    kept.join("\n")
}

/// Comments and strings, without the marks around them.
fn of_rust(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, content) = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            (length, rest[..length].trim_start_matches(['/', '!']))
        } else if let Some((before, after)) = raw_string(rest) {
            let length = rest[before..].find(&after).map_or(rest.len(), |at| before + at);
            (
                (length + after.len()).min(rest.len()),
                rest.get(before..length).unwrap_or(""),
            )
        } else if first == '"' {
            let length = 1 + end_of_string(&rest[1..]);
            ((length + 1).min(rest.len()), rest.get(1..length).unwrap_or(""))
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            (rest[1..].find('\'').map_or(1, |at| at + 2), "")
        } else {
            kept.push(if first == '\n' { '\n' } else { ' ' });
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // A string that continues on the next line has a backslash at the end of the line.
        kept.push_str(&content.replace("\\\n", "\n").replace("\\n", "."));
        kept.push(' ');
        rest = &rest[length..];
    }
    kept
}

/// For a raw string at the beginning of `text`: the start of its content, and the text that ends it.
fn raw_string(text: &str) -> Option<(usize, String)> {
    let marks = text.strip_prefix('r')?;
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    marks[hashes..]
        .starts_with('"')
        .then(|| (hashes + 2, format!("\"{}", "#".repeat(hashes))))
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files at or below `path`, which is relative to the root.
fn files(path: &str) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    let mut files = Vec::new();
    while let Some(path) = paths.pop() {
        let full = root().join(&path);
        if !full.is_dir() {
            files.push(path);
            continue;
        }
        for entry in fs::read_dir(&full).expect("a folder of the repository can be read") {
            let name = entry.expect("an entry of it can be read").file_name();
            let name = name.to_str().expect("names are UTF-8");
            let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
            let is_read = full.join(name).is_dir() || READ.contains(&extension);
            if !FOREIGN.contains(&name) && is_read {
                paths.push(format!("{path}/{name}"));
            }
        }
    }
    files.retain(|file| !EXCEPT.contains(&file.as_str()));
    files.sort();
    files
}

#[test]
fn no_text_for_people_has_a_refused_phrase() {
    let mut found = Vec::new();
    for path in HELD.iter().flat_map(|path| files(path)) {
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        for (line, phrase, instead) in refused(&prose(Path::new(&path), &text)) {
            found.push(format!("{path}:{line}: \"{phrase}\"; write: {instead}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_phrase_is_found() {
    for (phrase, _) in REFUSED {
        let found = refused(&format!("Some text, {} some more.", phrase.to_uppercase()));
        assert!(found.iter().any(|(_, found, _)| found == phrase), "{phrase}");
    }
}

#[test]
fn a_phrase_is_found_across_lines_and_not_across_sentences() {
    let lines = |path: &str, text: &str| -> Vec<usize> {
        let found = refused(&prose(Path::new(path), text));
        found.into_iter().map(|(line, ..)| line).collect()
    };
    assert_eq!(lines("a.md", "Calls wait for 2 ms at the\nmost."), [1]);
    assert_eq!(lines("a.md", "What it looks at. The most it reads."), [0; 0]);
    assert_eq!(lines("a.md", "```text\nat the most\n```\nat the most\n"), [4]);
    assert_eq!(lines("a.md", "```sh\n# at the most\n```\n"), [2]);
    assert_eq!(
        lines("a.rs", "/// At the\n/// most.\nfn at_the_most(x: u8) {}"),
        [1]
    );
    assert_eq!(lines("a.rs", "let x = \"two \\\n  breaths\";"), [2]);
    assert_eq!(lines("a.rs", "let beside = '\"'; anew(r#\"x\"#)"), [0; 0]);
    assert_eq!(lines("a.sql", "select anew; -- bury it"), [1]);
}
