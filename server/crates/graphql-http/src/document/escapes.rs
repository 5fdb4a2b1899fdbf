//! Escapes in string literals that GraphQL added in its edition of September 2025 and that the stock parser does not
//! read: a character past U+FFFF as two escapes, `\ud83d\ude00`, and any character in braces, `\u{1F600}`.
//!
//! [`readable`] returns a document with the same meaning, and every token keeps its line and column. The character
//! replaces its escape, and blanks after the string fill the gap. [`fault`] finds the first escape that no edition
//! allows. Block strings have no escapes, and comments have no strings: both stay unchanged.

use std::borrow::Cow;

use async_graphql::{Pos, ServerError};

use super::lexer::Lexer;

/// Number of digits of an escape without braces.
const DIGITS: usize = 4;
/// Maximum number of characters of an escape that an error shows.
const MOST_SHOWN: usize = 12;

/// What is wrong with an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("is half of a surrogate pair, which is not a character")]
    Half,
    #[error("is past the last character, \\u{{10FFFF}}")]
    TooLarge,
    #[error("needs four hexadecimal digits, or some in braces")]
    Digits,
    #[error("is not an escape")]
    Unknown,
}

/// One escape: its length in bytes, and its character.
struct Escape {
    length: usize,
    character: char,
    /// Whether the stock parser reads it.
    is_old: bool,
}

/// The document in a form that the stock parser reads. A document with a faulty escape is returned unchanged: the
/// parser refuses it.
pub fn readable(document: &str) -> Cow<'_, str> {
    if !document.contains("\\u") {
        return Cow::Borrowed(document);
    }
    let mut written = String::new();
    let mut copied = 0;
    for (start, string) in strings(document) {
        if let Some(rewritten) = rewritten(string) {
            written.push_str(document.get(copied..start).unwrap_or_default());
            written.push_str(&rewritten);
            copied = start + string.len();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(document);
    }
    written.push_str(document.get(copied..).unwrap_or_default());
    Cow::Owned(written)
}

/// The first escape of a document that is not allowed, as a syntax error.
pub fn fault(document: &str) -> Option<ServerError> {
    strings(document).find_map(|(start, string)| {
        let (at, fault) = faulty(string)?;
        let pos = position(document, start + at);
        let shown = shown(string.get(at..).unwrap_or_default());
        let message = format!(
            "Syntax error at line {}, column {}: {shown} {fault}.",
            pos.line, pos.column
        );
        Some(ServerError::new(message, Some(pos)))
    })
}

/// The strings that may have escapes, each with its quotes and its position in the document.
fn strings(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lexer = Lexer::new(document);
    std::iter::from_fn(move || {
        loop {
            lexer.next()?;
            let span = lexer.span();
            let token = document.get(span.clone()).unwrap_or_default();
            if token.starts_with('"') && !token.starts_with("\"\"\"") {
                return Some((span.start, token));
            }
        }
    })
}

/// The string with its new escapes replaced; `None` if there is nothing to replace or an escape is faulty.
fn rewritten(string: &str) -> Option<String> {
    let mut written = String::with_capacity(string.len());
    let (mut at, mut saved) = (0, 0);
    let mut is_closed = false;
    while let Some(next) = string.get(at..)?.chars().next() {
        if next != '\\' {
            is_closed = next == '"' && at > 0;
            written.push(next);
            at += next.len_utf8();
            continue;
        }
        let escape = escape(string.get(at..)?).ok()?;
        let end = at + escape.length;
        if escape.is_old {
            written.push_str(string.get(at..end)?);
        } else {
            saved += escape.length - push(&mut written, escape.character);
        }
        at = end;
    }
    if saved == 0 || !is_closed {
        return None;
    }
    written.extend(std::iter::repeat_n(' ', saved));
    Some(written)
}

/// Writes a character in the form that the stock parser reads in a string. Returns the number of characters written:
/// fewer than an escape in braces has.
fn push(written: &mut String, character: char) -> usize {
    let escaped = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        other => {
            written.push(other);
            return 1;
        }
    };
    written.push_str(escaped);
    escaped.len()
}

/// The first faulty escape, and its position in the string.
fn faulty(string: &str) -> Option<(usize, Fault)> {
    let mut at = 0;
    while let Some(next) = string.get(at..)?.chars().next() {
        at += match next {
            '\\' => match escape(string.get(at..)?) {
                Ok(escape) => escape.length,
                Err(fault) => return Some((at, fault)),
            },
            other => other.len_utf8(),
        };
    }
    None
}

/// Reads the escape at the beginning of a text.
fn escape(text: &str) -> Result<Escape, Fault> {
    let old = |character| {
        Ok(Escape {
            length: 2,
            character,
            is_old: true,
        })
    };
    match text.as_bytes().get(1) {
        Some(b'u') => unicode(text),
        Some(b'"') => old('"'),
        Some(b'\\') => old('\\'),
        Some(b'/') => old('/'),
        Some(b'b') => old('\u{8}'),
        Some(b'f') => old('\u{c}'),
        Some(b'n') => old('\n'),
        Some(b'r') => old('\r'),
        Some(b't') => old('\t'),
        _ => Err(Fault::Unknown),
    }
}

fn unicode(text: &str) -> Result<Escape, Fault> {
    let rest = text.get(2..).unwrap_or_default();
    if let Some(braced) = rest.strip_prefix('{') {
        let (digits, _) = braced.split_once('}').ok_or(Fault::Digits)?;
        return Ok(Escape {
            length: "\\u{}".len() + digits.len(),
            character: scalar(value(digits)?)?,
            is_old: false,
        });
    }
    let first = unit(text).ok_or(Fault::Digits)?;
    let length = "\\u".len() + DIGITS;
    if !(0xd800..0xdc00).contains(&first) {
        let character = scalar(first)?;
        return Ok(Escape {
            length,
            character,
            is_old: true,
        });
    }
    let second = text.get(length..).and_then(unit);
    let second = second
        .filter(|unit| (0xdc00..0xe000).contains(unit))
        .ok_or(Fault::Half)?;
    Ok(Escape {
        length: length * 2,
        character: scalar(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?,
        is_old: false,
    })
}

/// The four digits of the escape at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..DIGITS)?;
    value(digits).ok()
}

fn value(digits: &str) -> Result<u32, Fault> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Fault::Digits);
    }
    // Any number of leading zeros is allowed.
    u32::from_str_radix(digits, 16).map_err(|_| Fault::TooLarge)
}

fn scalar(value: u32) -> Result<char, Fault> {
    char::from_u32(value).ok_or(if value > 0x10_ffff {
        Fault::TooLarge
    } else {
        Fault::Half
    })
}

/// The part of an escape that is enough to recognise it.
fn shown(text: &str) -> String {
    let is_braced = text.starts_with("\\u{");
    let most = if is_braced {
        MOST_SHOWN
    } else {
        "\\u".len() + DIGITS
    };
    let mut shown = String::new();
    for (index, character) in text.chars().take(most).enumerate() {
        let is_part = character.is_ascii_alphanumeric() || is_braced && matches!(character, '{' | '}');
        // The character after the backslash is always shown.
        if index > 1 && !is_part {
            break;
        }
        shown.push(character);
        if character == '}' {
            break;
        }
    }
    shown
}

/// Line and column, counted as the stock parser does.
fn position(document: &str, at: usize) -> Pos {
    let mut pos = Pos { line: 1, column: 1 };
    for character in document.get(..at).unwrap_or_default().chars() {
        match character {
            '\r' => pos.column = 1,
            '\n' => {
                pos.line += 1;
                pos.column = 1;
            }
            _ => pos.column += 1,
        }
    }
    pos
}

#[cfg(test)]
mod tests;
