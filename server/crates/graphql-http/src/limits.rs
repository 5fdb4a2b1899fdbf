//! The limits of a request: its body, its JSON and its document.

use crate::error::{ErrorCode, RequestError};

/// Maximum size of a body, in bytes. An app may set another one for a session.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Maximum nesting of brackets in a request's JSON. Some parsers recurse, and would overflow their stack.
pub const MAX_JSON_NESTING: usize = 64;
/// Maximum number of values in a request's JSON: a parsed value takes many times the memory of its text. An app may
/// set another one for a session.
pub const MAX_JSON_VALUES: usize = 20_000;

/// Maximum nesting of brackets in a document: selections, lists and objects alike.
pub const MAX_NESTING: usize = 50;
/// Maximum number of tokens in a document. The standard introspection query has about 300.
pub const MAX_TOKENS: usize = 2_000;
/// Maximum number of fragment spreads, each counted as often as an operation reaches it.
pub const MAX_SPREADS: u64 = 1_000;
/// Maximum number of aliases.
pub const MAX_ALIASES: usize = 100;
/// Maximum number of directives.
pub const MAX_DIRECTIVES: usize = 50;
/// Maximum number of variables in a request, whether used or not.
pub const MAX_VARIABLES: usize = 100;

/// The limit that a document, or the request around it, exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Brackets.
    #[error(
        "the document is nested too deeply: at most {MAX_NESTING} levels of braces, brackets and parentheses"
    )]
    Nesting,
    /// Tokens.
    #[error("the document is too long: at most {MAX_TOKENS} tokens")]
    Tokens,
    /// Fragment spreads.
    #[error("the document's fragments expand to too much: at most {MAX_SPREADS} spreads in all")]
    Spreads,
    /// Aliases.
    #[error("the document has too many aliases: at most {MAX_ALIASES}")]
    Aliases,
    /// Directives.
    #[error("the document has too many directives: at most {MAX_DIRECTIVES}")]
    Directives,
    /// Variables in the request.
    #[error("the request has too many variables: at most {MAX_VARIABLES}")]
    Variables,
    /// Brackets of the request's JSON.
    #[error("the request's JSON is nested too deeply: at most {MAX_JSON_NESTING} levels")]
    JsonNesting,
    /// Values of the request's JSON.
    #[error("the request's JSON has too many values: at most {0}")]
    JsonValues(usize),
}

impl TooMuch {
    /// Whether it is about depth (`QUERY_TOO_DEEP`) rather than size (`QUERY_TOO_COMPLEX`).
    pub fn is_depth(self) -> bool {
        matches!(self, Self::Nesting | Self::JsonNesting)
    }
}

impl From<TooMuch> for RequestError {
    fn from(too_much: TooMuch) -> Self {
        let code = if too_much.is_depth() {
            ErrorCode::TooDeep
        } else {
            ErrorCode::TooComplex
        };
        Self::new(code, format!("Refused: {too_much}."))
    }
}
