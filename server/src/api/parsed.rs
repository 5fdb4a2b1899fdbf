//! Documents that were parsed before: clients send the same few over and over.
//!
//! Promises that what is found is what the text parses to, checked as any other, and that as much is kept as
//! [`MOST_DOCUMENTS`] and [`MOST_BYTES`] say: past it everything is forgotten, which costs a parsing each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::parser::types::ExecutableDocument;

/// Documents kept.
pub const MOST_DOCUMENTS: usize = 1_000;
/// Bytes of their texts. Parsed, a text takes some thirty times as much.
pub const MOST_BYTES: usize = 512 * 1024;

/// Documents by their text.
#[derive(Default)]
pub struct ParsedDocuments(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    documents: HashMap<Arc<str>, Arc<ExecutableDocument>>,
    bytes: usize,
}

impl ParsedDocuments {
    /// What this text was parsed to.
    pub fn get(&self, text: &str) -> Option<Arc<ExecutableDocument>> {
        self.kept().documents.get(text).cloned()
    }

    /// Keeps what a text was parsed to, unless it is larger than all together may be.
    pub fn keep(&self, text: &Arc<str>, document: &ExecutableDocument) {
        if text.len() > MOST_BYTES {
            return;
        }
        let mut kept = self.kept();
        if kept.documents.len() >= MOST_DOCUMENTS || kept.bytes + text.len() > MOST_BYTES {
            *kept = Kept::default();
        }
        if kept
            .documents
            .insert(text.clone(), Arc::new(document.clone()))
            .is_none()
        {
            kept.bytes += text.len();
        }
    }

    /// Whoever panicked held it for a look-up: nothing is half done.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn keep(parsed: &ParsedDocuments, text: &str) {
        parsed.keep(&text.into(), &parse_query(text).unwrap());
    }

    #[test]
    fn a_document_is_found_by_its_text() {
        let parsed = ParsedDocuments::default();
        keep(&parsed, "{ a }");
        keep(&parsed, "{ a }");
        let found = parsed.get("{ a }").unwrap();
        assert_eq!(
            format!("{found:?}"),
            format!("{:?}", parse_query("{ a }").unwrap())
        );
        assert!(parsed.get("{ b }").is_none());
        assert_eq!(parsed.kept().bytes, 5);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number() {
        let parsed = ParsedDocuments::default();
        for number in 0..MOST_DOCUMENTS {
            keep(&parsed, &format!("{{ a{number} }}"));
        }
        assert!(parsed.get("{ a0 }").is_some());
        keep(&parsed, "{ more }");
        assert!(parsed.get("{ a0 }").is_none());
        assert!(parsed.get("{ more }").is_some());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let parsed = ParsedDocuments::default();
        let of = |bytes: usize| format!("{{ a }}{}", " ".repeat(bytes - 5));
        keep(&parsed, &of(MOST_BYTES + 1));
        assert_eq!(parsed.kept().documents.len(), 0);
        keep(&parsed, "{ a }");
        keep(&parsed, &of(MOST_BYTES - 5));
        assert_eq!(parsed.kept().documents.len(), 2);
        keep(&parsed, "{ b }");
        assert_eq!(parsed.kept().documents.len(), 1);
    }
}
