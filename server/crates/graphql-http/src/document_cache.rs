//! Cache of parsed documents: clients send the same few many times.
//!
//! The cache has at most [`MOST_DOCUMENTS`] documents and [`MOST_BYTES`] of text. When it is full it is cleared,
//! which costs parsing each document again. It also remembers whether a document passed the validation rules of
//! GraphQL that depend on the text alone; those that depend on variables are checked every time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition};

/// Maximum number of documents.
pub const MOST_DOCUMENTS: usize = 1_000;
/// Maximum total size of their texts, in bytes. A parsed text takes about thirty times as much.
pub const MOST_BYTES: usize = 512 * 1024;

/// A parsed document, and whether it is valid.
#[derive(Debug)]
pub struct CachedDocument {
    document: ExecutableDocument,
    is_valid: AtomicBool,
}

impl CachedDocument {
    /// The parsed document.
    pub fn document(&self) -> &ExecutableDocument {
        &self.document
    }

    /// Whether the validation rules need not be checked again.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Acquire)
    }

    /// Remembers that the document passed validation. Not if the result depends on the request: with several
    /// operations, some rules check only the executed one, and whether a null may replace a default depends on where
    /// it is used.
    pub fn found_valid(&self) {
        let mut operations = self.document.operations.iter();
        let has_defaults = |operation: &OperationDefinition| {
            let mut variables = operation.variable_definitions.iter();
            variables.any(|variable| variable.node.default_value.is_some())
        };
        if let (Some((_, operation)), None) = (operations.next(), operations.next())
            && !has_defaults(&operation.node)
        {
            self.is_valid.store(true, Ordering::Release);
        }
    }
}

/// Parsed documents by their text.
#[derive(Default)]
pub struct DocumentCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    documents: HashMap<Arc<str>, Arc<CachedDocument>>,
    bytes: usize,
}

impl DocumentCache {
    /// The parsed document of this text.
    pub fn get(&self, text: &str) -> Option<Arc<CachedDocument>> {
        self.kept().documents.get(text).cloned()
    }

    /// Caches a parsed document, unless its text alone exceeds the limit.
    pub fn keep(&self, text: &Arc<str>, document: &ExecutableDocument) -> Option<Arc<CachedDocument>> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let known = Arc::new(CachedDocument {
            document: document.clone(),
            is_valid: AtomicBool::new(false),
        });
        let mut kept = self.kept();
        if kept.documents.len() >= MOST_DOCUMENTS || kept.bytes + text.len() > MOST_BYTES {
            *kept = Kept::default();
        }
        if kept.documents.insert(text.clone(), known.clone()).is_none() {
            kept.bytes += text.len();
        }
        Some(known)
    }

    /// A thread can only panic here during a look-up, so nothing is half done.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn keep(parsed: &DocumentCache, text: &str) -> Option<Arc<CachedDocument>> {
        parsed.keep(&text.into(), &parse_query(text).unwrap())
    }

    #[test]
    fn a_document_is_found_by_its_text() {
        let parsed = DocumentCache::default();
        keep(&parsed, "{ a }");
        keep(&parsed, "{ a }");
        let found = parsed.get("{ a }").unwrap();
        assert_eq!(
            format!("{:?}", found.document()),
            format!("{:?}", parse_query("{ a }").unwrap())
        );
        assert!(parsed.get("{ b }").is_none());
        assert_eq!(parsed.kept().bytes, 5);
    }

    #[test]
    fn one_operation_without_defaults_is_remembered_as_valid() {
        let parsed = DocumentCache::default();
        for (text, remembered) in [
            ("{ a }", true),
            ("query A { a }", true),
            ("query A($b: Int) { a(b: $b) }", true),
            ("query A($b: Int = 1) { a(b: $b) }", false),
            ("query A { a } query B { b }", false),
        ] {
            let known = keep(&parsed, text).unwrap();
            assert!(!known.is_valid(), "{text}");
            known.found_valid();
            assert_eq!(parsed.get(text).unwrap().is_valid(), remembered, "{text}");
        }
    }

    #[test]
    fn cached_documents_are_bounded_in_number() {
        let parsed = DocumentCache::default();
        for number in 0..MOST_DOCUMENTS {
            keep(&parsed, &format!("{{ a{number} }}"));
        }
        assert!(parsed.get("{ a0 }").is_some());
        keep(&parsed, "{ more }");
        assert!(parsed.get("{ a0 }").is_none());
        assert!(parsed.get("{ more }").is_some());
    }

    #[test]
    fn cached_documents_are_bounded_in_bytes() {
        let parsed = DocumentCache::default();
        let of = |bytes: usize| format!("{{ a }}{}", " ".repeat(bytes - 5));
        assert!(keep(&parsed, &of(MOST_BYTES + 1)).is_none());
        assert_eq!(parsed.kept().documents.len(), 0);
        keep(&parsed, "{ a }");
        keep(&parsed, &of(MOST_BYTES - 5));
        assert_eq!(parsed.kept().documents.len(), 2);
        keep(&parsed, "{ b }");
        assert_eq!(parsed.kept().documents.len(), 1);
    }
}
