//! Checks of the sources, the documents, the schema and the fuzz corpora. They are one program, because each program links
//! the whole server.

mod corpora;
#[path = "rules/main.rs"]
mod rules;
#[path = "schema/main.rs"]
mod schema;
#[path = "structure/main.rs"]
mod structure;
