//! The two types of webhook (W1), as a parameter of scenarios.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The type of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum WebhookType {
    /// Created with a user's own token.
    General,
    /// Created through an app.
    Application,
}

impl WebhookType {
    /// Both types.
    pub const ALL: [Self; 2] = [Self::General, Self::Application];

    /// The enum value of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::General => "GENERAL",
            Self::Application => "APPLICATION",
        }
    }

    /// The word in payloads, and in names of scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Application => "application",
        }
    }
}
