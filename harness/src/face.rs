//! The two APIs through which clients create, list and delete webhooks, as a parameter of plays.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The API through which clients create, list and delete webhooks. Everything else goes through GraphQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Face {
    /// The mutations and the query of GraphQL.
    #[default]
    GraphQl,
    /// The routes `/v1/webhooks` and `/api/v1/webhooks`.
    Rest,
}

impl Face {
    /// Whether it is GraphQL, which reports do not mention.
    pub fn is_graphql(&self) -> bool {
        *self == Self::GraphQl
    }
}
