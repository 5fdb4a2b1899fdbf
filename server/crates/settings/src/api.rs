//! How the API answers: what it tells of itself, whom it lets call from a browser, and how often.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of the API. All of them are of one process: none is shared through the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Whether the schema may be asked for through GraphQL.
    pub introspection: bool,
    /// Whether validation errors suggest names that exist.
    pub suggestions: bool,
    /// Whether clients may register documents and then send their SHA-256 alone.
    pub automatic_persisted_documents: bool,
    /// A JSON file of SHA-256 to document: nothing else is executed then.
    pub document_allow_list: Option<PathBuf>,
    /// Origins whose pages may call the API from a browser; `*` means all.
    pub cors_origins: Vec<String>,
    /// Request headers that these pages may send besides the well-known ones; `*` means all.
    pub cors_headers: Vec<String>,
    /// Requests per second of one user's token.
    pub rate_per_token: u32,
    /// Requests per second of all tokens of a company.
    pub rate_per_company: u32,
    /// Requests per second of one of the platform's tokens, other than publishing.
    pub rate_per_platform_token: u32,
    /// Calls of `publishEvents` per second with one of the platform's tokens.
    pub rate_per_publishing_token: u32,
    /// Requests per second of all of the platform's tokens, other than publishing.
    pub rate_of_platform: u32,
    /// Calls of `publishEvents` per second with all of the platform's tokens.
    pub rate_of_publishing: u32,
    /// Calls of `publishEvents` under way at once.
    pub publishing_calls: u32,
    /// Memory that publications under way may take, in bytes.
    pub publishing_memory: usize,
    /// Events of one company that wait to be stored.
    pub publishing_of_company: u32,
    /// As many requests at once as that rate makes in this time.
    pub rate_burst: Duration,
    /// How long a connection may take to send a request's head, and so may stay without one.
    pub head_within: Duration,
    /// How long a request's body may take to come.
    pub body_within: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            introspection: true,
            suggestions: true,
            automatic_persisted_documents: true,
            document_allow_list: None,
            cors_origins: Vec::new(),
            cors_headers: Vec::new(),
            rate_per_token: 200,
            rate_per_company: 1_000,
            rate_per_platform_token: 2_500,
            rate_per_publishing_token: 2_500,
            rate_of_platform: 5_000,
            rate_of_publishing: 5_000,
            publishing_calls: 512,
            publishing_memory: 128 * 1024 * 1024,
            publishing_of_company: 4_000,
            rate_burst: Duration::from_secs(10),
            // Longer than the minute for which common proxies keep a connection: one that is closed under a request
            // would be an error that nobody made.
            head_within: Duration::from_secs(75),
            body_within: Duration::from_secs(30),
        }
    }
}
