//! A JSON object written field by field, so that JSON of the platform's stands in it as it came.
//!
//! A type that serde writes unchanged would do, but the JSON library has one only behind a feature that makes every value
//! it parses look for a key of the library's own in what others wrote.

use serde::Serialize;

/// An object that is being written.
pub(crate) struct Object {
    text: Vec<u8>,
}

impl Object {
    /// An object without fields.
    pub fn new() -> Self {
        Self { text: vec![b'{'] }
    }

    /// Adds a field that is serialised.
    pub fn value(mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.key(key);
        write(&mut self.text, value);
        self
    }

    /// Adds a field whose value is the text of JSON.
    pub fn json(mut self, key: &str, json: &[u8]) -> Self {
        self.key(key);
        self.text.extend_from_slice(json);
        self
    }

    /// The object's text.
    pub fn end(mut self) -> Vec<u8> {
        self.text.push(b'}');
        self.text
    }

    fn key(&mut self, key: &str) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        write(&mut self.text, key);
        self.text.push(b':');
    }
}

fn write(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(text, value)
        .expect("every key is a string, and nothing in a payload can refuse to serialise");
}
