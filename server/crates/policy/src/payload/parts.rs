//! Splits a JSON text into its parts, each unchanged.

use jiter::{Jiter, Peek};

/// The fields of an object, in order; `None` if the text is not an object.
pub(crate) fn fields(text: &str) -> Option<Vec<(String, &str)>> {
    let mut json = Jiter::new(text.as_bytes());
    let mut fields = Vec::new();
    let mut key = json.next_object().ok()?.map(str::to_owned);
    while let Some(name) = key {
        let peek = json.peek().ok()?;
        fields.push((name, passed_over(&mut json, text, peek)?));
        key = json.next_key().ok()?.map(str::to_owned);
    }
    json.finish().ok()?;
    Some(fields)
}

/// The elements of a list; `None` if the text is not a list.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut json = Jiter::new(text.as_bytes());
    let mut elements = Vec::new();
    let mut next = json.next_array().ok()?;
    while let Some(peek) = next {
        elements.push(passed_over(&mut json, text, peek)?);
        next = json.array_step().ok()?;
    }
    json.finish().ok()?;
    Some(elements)
}

/// The characters of a string; `None` if the text is not a string.
pub(crate) fn string(text: &str) -> Option<String> {
    Jiter::new(text.as_bytes()).next_str().ok().map(str::to_owned)
}

/// The text of the value at the beginning of `json`; skips the value.
fn passed_over<'a>(json: &mut Jiter<'a>, text: &'a str, peek: Peek) -> Option<&'a str> {
    let start = json.current_index();
    json.known_skip(peek).ok()?;
    text.get(start..json.current_index())
}
