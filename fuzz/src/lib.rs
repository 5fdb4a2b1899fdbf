//! Properties of all code that reads data from outside, for arbitrary data.
//!
//! Each module has one function that panics if its property does not hold. libFuzzer calls it (`fuzz_targets`), and so
//! does a test on stable Rust that replays the corpora and variations of them (`server/tests/corpora.rs`).

pub mod document;
mod fields;
pub mod identity;
pub mod payload;
pub mod request_json;
pub mod settings;
pub mod subscription_url;
pub mod token;

/// A property of arbitrary bytes.
pub type Property = fn(&[u8]);

/// Every target: the name of its corpus and binary, and its property.
pub const TARGETS: &[(&str, Property)] = &[
    ("document", document::check),
    ("identity", identity::check),
    ("payload", payload::check),
    ("request_json", request_json::check),
    ("settings", settings::check),
    ("subscription_url", subscription_url::check),
    ("token", token::check),
];
