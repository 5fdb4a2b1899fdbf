//! How things are asked for: GraphQL, and the plain HTTP beside it.

pub mod document;
