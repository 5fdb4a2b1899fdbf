//! JSON from clients: bounded, read into GraphQL values, and written again.
//!
//! A number keeps its digits as written. Errors name line, column and path. No key has a special meaning. Our own
//! files and tokens are not read here: they have types of their own.

mod bounds;
mod number;
mod read;
mod text;

pub use self::bounds::check_json;
pub use self::number::is_exact;
pub use self::read::{Unread, fields, read};
pub use self::text::Text;
