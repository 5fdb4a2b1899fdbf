//! Checks the properties of the fuzz targets on stable Rust, with all corpora and variations of them from a fixed
//! seed.
//!
//! Searches for nothing new, as `cargo fuzz` does (`fuzz/README.md`): it makes sure that earlier findings stay fixed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[path = "../../fuzz/src/lib.rs"]
mod properties;

/// Number of variations of each input.
const VARIATIONS: usize = 60;
const SEED: u64 = 20_261_126;

/// All files in the corpus of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .map(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, fs::read(&path).expect("the file can be read"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_property_holds_of_its_corpus() {
    for (target, property) in properties::TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() >= 5, "{target} has hardly a corpus");
        for (name, input) in corpus {
            let held = std::panic::catch_unwind(|| property(&input));
            assert!(held.is_ok(), "{target} does not hold of {name}");
        }
    }
}

#[test]
fn every_property_holds_of_variations_of_its_corpus() {
    let mut random = StdRng::seed_from_u64(SEED);
    for (target, property) in properties::TARGETS {
        let corpus = corpus(target);
        for (name, input) in &corpus {
            for _ in 0..VARIATIONS {
                let other = &corpus[random.random_range(0..corpus.len())].1;
                let varied = varied(input, other, &mut random);
                let held = std::panic::catch_unwind(|| property(&varied));
                assert!(
                    held.is_ok(),
                    "{target} does not hold of this variation of {name}: {varied:?}"
                );
            }
        }
    }
}

/// Makes one to four changes: a byte flipped, or a piece removed, doubled, or inserted from another input.
fn varied(input: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut varied = input.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=varied.len());
        let end = random.random_range(at..=varied.len());
        match random.random_range(0..4) {
            0 if at < varied.len() => varied[at] ^= 1 << random.random_range(0..8),
            1 => drop(varied.drain(at..end)),
            2 => {
                let piece = varied[at..end].to_vec();
                varied.splice(at..at, piece);
            }
            _ => {
                let from = random.random_range(0..=other.len());
                let to = random.random_range(from..=other.len());
                varied.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    varied
}

#[test]
fn every_target_has_a_property_a_binary_and_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        let stem =
            |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path().file_stem().unwrap().to_owned();
        entries
            .map(stem)
            .map(|stem| stem.to_string_lossy().into_owned())
            .collect()
    };
    let targets: BTreeSet<String> = properties::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
}
