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
use crate::limits::{
    MAX_ALIASES, MAX_DIRECTIVES, MAX_NESTING, MAX_SPREADS, MAX_TOKENS, MAX_VARIABLES, TooMuch,
};

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
