//! The session of a caller.

use jiff::Timestamp;

use crate::error::{ApiError, Result};
use crate::token::TokenName;
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_policy::access::{self, AppAccess};

/// Identity and rights of the caller: one session per request.
#[derive(Debug, Clone)]
pub struct Session {
    /// The holder of the token.
    pub caller: Caller,
    /// The name of the token among those of its holder, if it has one.
    pub token: TokenName,
    /// Whether the token's user has the token's app installed, and what apps see.
    pub app: AppAccess,
    /// When the token expires (T2).
    pub expires_at: Timestamp,
}

impl Session {
    /// The most that the caller may ever see with its token: [`scope`](Self::scope) as if the app were installed.
    pub fn reach(&self) -> WebhookScope {
        let installed = AppAccess {
            installed: true,
            ..self.app
        };
        access::scope(&self.caller, installed)
    }

    /// The webhooks that the caller may see.
    pub fn scope(&self) -> WebhookScope {
        access::scope(&self.caller, self.app)
    }

    /// Refuses a token that may not read webhooks.
    pub fn reader(&self) -> Result<()> {
        access::read(&self.caller).map_err(|_| ApiError::forbidden())
    }

    /// Refuses every token but the platform's.
    pub fn platform(&self) -> Result<()> {
        if self.caller == Caller::Platform {
            Ok(())
        } else {
            Err(ApiError::forbidden())
        }
    }
}
