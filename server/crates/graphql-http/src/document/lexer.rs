//! The tokens of a GraphQL document, in the detail that limits and escapes need.

use std::ops::Range;

/// One token. Strings and invalid tokens are [`Token::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open(u8),
    Close(u8),
    Name(&'a str),
    Number(&'a str),
    Spread,
    Colon,
    At,
    Other,
}

/// Walks a document token by token; skips white space, commas and comments.
pub(super) struct Lexer<'a> {
    text: &'a str,
    start: usize,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            start: 0,
            at: 0,
        }
    }

    /// Position of the last token, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.start..self.at
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|byte| keep(**byte)).count();
    }

    fn string(&mut self) {
        if self.rest().starts_with(b"\"\"\"") {
            self.at += 3;
            loop {
                match self.rest() {
                    [b'\\', b'"', b'"', b'"', ..] => self.at += 4,
                    [b'"', b'"', b'"', ..] => {
                        self.at += 3;
                        return;
                    }
                    [] => return,
                    _ => self.at += 1,
                }
            }
        }
        self.at += 1;
        loop {
            match self.rest() {
                [b'\\', _, ..] => self.at += 2,
                [b'"', ..] => {
                    self.at += 1;
                    return;
                }
                // A string ends with its line: the parser refuses it, and the text after it still counts.
                [] | [b'\n' | b'\r', ..] => return,
                _ => self.at += 1,
            }
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace() || byte == b',');
            if self.rest().first() != Some(&b'#') {
                break;
            }
            self.skip_while(|byte| byte != b'\n' && byte != b'\r');
        }
        self.start = self.at;
        let first = *self.rest().first()?;
        match first {
            b'{' | b'[' | b'(' => {
                self.at += 1;
                Some(Token::Open(first))
            }
            b'}' | b']' | b')' => {
                self.at += 1;
                Some(Token::Close(first))
            }
            b':' => {
                self.at += 1;
                Some(Token::Colon)
            }
            b'@' => {
                self.at += 1;
                Some(Token::At)
            }
            b'"' => {
                self.string();
                Some(Token::Other)
            }
            b'.' if self.rest().starts_with(b"...") => {
                self.at += 3;
                Some(Token::Spread)
            }
            b if b.is_ascii_digit() || b == b'-' => {
                self.at += 1;
                self.skip_while(|byte| is_name(byte) || matches!(byte, b'.' | b'+' | b'-'));
                // Only ASCII was skipped, so both ends are character boundaries.
                Some(Token::Number(self.text.get(self.span()).unwrap_or_default()))
            }
            b if is_name(b) => {
                self.skip_while(is_name);
                // As with numbers.
                Some(Token::Name(self.text.get(self.span()).unwrap_or_default()))
            }
            _ => {
                self.at += 1;
                Some(Token::Other)
            }
        }
    }
}
