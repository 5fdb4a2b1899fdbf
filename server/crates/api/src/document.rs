//! Limits for a GraphQL document, checked before anything parses it.
//!
//! A document that passes [`check`] cannot overflow the parser's stack, nor make validation expand fragments without
//! end. A scan without recursion bounds nesting, tokens, aliases, directives and expanded fragment spreads. It does
//! not check that the document is valid; it accepts what it cannot read, and the parser refuses that.
//!
//! Why we have our own lexer: the stock parser recurses on list and object literals and aborts the process at a few
//! thousand levels, and its validation walks a chain of fragments in exponential time. Neither limit can be set from
//! outside.

mod coercion;
mod escapes;
mod fragments;
mod lexer;
mod numbers;
mod typename;

pub use self::coercion::{misfit_literals, misfit_variables};
pub use self::escapes::{fault as faulty_escape, readable};
use self::lexer::Lexer;
pub use self::numbers::{TooLarge, check_numbers};
pub use self::typename::expose_directives;
use super::error::{ApiError, ErrorCode};
use super::json::MAX_JSON_NESTING;

/// Maximum nesting of brackets: selections, lists and objects alike.
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

impl From<TooMuch> for ApiError {
    fn from(too_much: TooMuch) -> Self {
        let code = if too_much.is_depth() {
            ErrorCode::TooDeep
        } else {
            ErrorCode::TooComplex
        };
        Self::new(code, format!("Refused: {too_much}."))
    }
}

/// Checks the number of variables in a request.
pub fn check_variables(given: usize) -> Result<(), TooMuch> {
    if given > MAX_VARIABLES {
        Err(TooMuch::Variables)
    } else {
        Ok(())
    }
}

/// Checks a document in one scan, in time linear in its length.
pub fn check(document: &str) -> Result<(), TooMuch> {
    let mut tokens = 0;
    let mut depth = 0_usize;
    let mut parentheses = 0_usize;
    let mut aliases = 0;
    let mut directives = 0;
    let mut fragments = fragments::Counter::default();
    let mut before_colon = false;
    for token in Lexer::new(document) {
        tokens += 1;
        if tokens > MAX_TOKENS {
            return Err(TooMuch::Tokens);
        }
        match token {
            lexer::Token::Open(bracket) => {
                depth += 1;
                parentheses += usize::from(bracket == b'(');
                if depth > MAX_NESTING {
                    return Err(TooMuch::Nesting);
                }
            }
            lexer::Token::Close(bracket) => {
                depth = depth.saturating_sub(1);
                parentheses = parentheses.saturating_sub(usize::from(bracket == b')'));
            }
            lexer::Token::At => directives += 1,
            // In parentheses a colon belongs to an argument or to a variable's type.
            lexer::Token::Colon if before_colon && parentheses == 0 => aliases += 1,
            _ => {}
        }
        if aliases > MAX_ALIASES {
            return Err(TooMuch::Aliases);
        }
        if directives > MAX_DIRECTIVES {
            return Err(TooMuch::Directives);
        }
        before_colon = matches!(token, lexer::Token::Name(_));
        fragments.see(token, depth);
    }
    if fragments.spreads() > MAX_SPREADS {
        Err(TooMuch::Spreads)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
