//! A JSON object that is written field by field, so that the platform's JSON is embedded unchanged.
//!
//! The JSON library has a type for embedding raw text, but only behind a feature that makes every parsed value look for a
//! special key of the library, also in JSON that others wrote.

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

    /// Adds a field whose value is JSON text.
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
