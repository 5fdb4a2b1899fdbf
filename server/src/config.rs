//! Settings: what an operator may choose, where a value comes from, and what is refused at start.

pub mod policy;
