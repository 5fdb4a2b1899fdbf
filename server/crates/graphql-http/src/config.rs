//! The settings of a server. An app takes them from wherever it has its own.

use std::time::Duration;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The time limit for receiving a request's body.
    pub body_within: Duration,
    /// The size of a burst of a rate limit, as the time in which the rate allows that number of requests.
    pub rate_burst: Duration,
    /// Who may call from a browser.
    pub cors: CorsConfig,
    /// The limits on bulk operations in progress.
    pub shedding: SheddingConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_within: Duration::from_secs(30),
            rate_burst: Duration::from_secs(10),
            cors: CorsConfig::default(),
            shedding: SheddingConfig::default(),
        }
    }
}

/// In a list of [`CorsConfig`]: all of them.
pub const ALL: &str = "*";

/// Which pages of other origins may call from a browser. None by default.
#[derive(Debug, Clone, Default)]
pub struct CorsConfig {
    /// The origins; [`ALL`] means any.
    pub origins: Vec<String>,
    /// Request headers that these pages may send in addition to the well-known ones; [`ALL`] means any.
    pub headers: Vec<String>,
}

/// How much of bulk operations may be in progress at once.
#[derive(Debug, Clone)]
pub struct SheddingConfig {
    /// The number of operations.
    pub calls: usize,
    /// Their memory, in bytes.
    pub memory: usize,
    /// The message of the error for one that is refused.
    pub refusal: &'static str,
}

impl Default for SheddingConfig {
    fn default() -> Self {
        Self {
            calls: 512,
            memory: 128 * 1024 * 1024,
            refusal: "Too many bulk operations are in progress. Try again.",
        }
    }
}
