//! An app of the marketplace.

use jiff::Timestamp;

use super::ids::AppId;

/// An app as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The platform's id.
    pub id: AppId,
    /// Its name, for people.
    pub name: String,
    /// When it was registered, or registered again.
    pub created_at: Timestamp,
    /// When it left the marketplace (W8).
    pub removed_at: Option<Timestamp>,
}
