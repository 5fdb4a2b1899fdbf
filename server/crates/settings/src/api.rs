//! Settings of the API: what it reveals about itself, who may call it from a browser, and how often.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of the API. They apply to one process: none is shared through the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Whether GraphQL introspection of the schema is allowed.
    pub introspection: bool,
    /// Whether validation errors suggest names that exist.
    pub suggestions: bool,
    /// Whether clients may register documents and then send only their SHA-256.
    pub automatic_persisted_documents: bool,
    /// A JSON file that maps SHA-256 to document. If it is set, no other documents are executed.
    pub document_allow_list: Option<PathBuf>,
    /// Origins whose pages may call the API from a browser; `*` means all.
    pub cors_origins: Vec<String>,
    /// Request headers that these pages may send in addition to the well-known ones; `*` means all.
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
    /// Concurrent calls of `publishEvents`.
    pub publishing_calls: u32,
    /// Memory for publications in progress, in bytes.
    pub publishing_memory: usize,
    /// Events of one company that wait to be stored.
    pub publishing_of_company: u32,
    /// The size of a burst, as the time in which the rate allows that number of requests.
    pub rate_burst: Duration,
    /// The time limit for sending a request's head, which is also how long a connection may be idle.
    pub head_within: Duration,
    /// The time limit for receiving a request's body.
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
            // Longer than the minute for which common proxies keep a connection open. A connection that is closed while a
            // proxy sends a request would be an error without a fault on either side.
            head_within: Duration::from_secs(75),
            body_within: Duration::from_secs(30),
        }
    }
}
