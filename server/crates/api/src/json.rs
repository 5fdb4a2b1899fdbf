//! JSON that others wrote: bounded, read into values of the graph, and written again.
//!
//! Promises that a number keeps the digits it was written with, that what cannot be read is named by line, column and
//! path, and that no key has a special meaning. Our own files and tokens are not read here: they have types of their own.

mod bounds;
mod number;
mod read;
mod text;

pub use self::bounds::{MAX_JSON_NESTING, MAX_JSON_VALUES, MAX_PUBLISHED_VALUES, check_json};
pub use self::number::is_exact;
pub use self::read::{Unread, read};
pub use self::text::Text;
