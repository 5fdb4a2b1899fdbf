//! The context of a resolver: the services of the server, and the session of the caller.

use std::sync::Arc;

use async_graphql::Context;
use jiff::Timestamp;

use super::error::{ApiError, Result};
use super::persisted::Documents;
use super::sockets::Sockets;
use super::token::{TokenName, Verifier};
use tenterhook_clock::Clock;
use tenterhook_engine::{Gauges, Live, Prober, Propagation, Publisher, Replayer};
use tenterhook_model::access::{Caller, WebhookScope};
use tenterhook_outbound_http::target::TargetPolicy;
use tenterhook_policy::access;
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::{PolicySettings, Settings};
use tenterhook_store::Store;
use tenterhook_store::webhooks::visibility::Cutoffs;

/// The services that the API uses; `app` puts them together.
pub struct Services {
    /// The database. Use a separate pool for reads: see [`Sessions`](tenterhook_store::Sessions).
    pub store: Store,
    /// The source of time.
    pub clock: Clock,
    /// The operator's settings.
    pub settings: Arc<Settings>,
    /// Allowed targets of webhooks (W10).
    pub targets: TargetPolicy,
    /// Encrypts credentials and signing secrets (W11).
    pub sealing: Arc<Keyring>,
    /// Verifies tokens.
    pub tokens: Verifier,
    /// Persisted documents, executed by their hash.
    pub documents: Documents,
    /// Stores publications.
    pub publisher: Publisher,
    /// Waits until every process knows of a change, before the response (W8).
    pub propagation: Propagation,
    /// Resolves names of subscription URLs (W10), and sends test deliveries (D12).
    pub prober: Prober,
    /// Makes new deliveries of old events (D12).
    pub replayer: Replayer,
    /// Sends live events to subscribers.
    pub live: Live,
    /// The connections that carry subscriptions.
    pub sockets: Arc<Sockets>,
    /// The engine's metrics, for `/readyz` and `/metrics`.
    pub gauges: Gauges,
}

impl Services {
    /// The policy part of the settings.
    pub fn policy(&self) -> &PolicySettings {
        &self.settings.policy
    }

    /// The retention limits that apply to reads at `now`.
    pub fn cutoffs(&self, now: Timestamp) -> Cutoffs {
        let before = |span| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        Cutoffs {
            now,
            window_opened: before(self.policy().removal_window),
            removed: before(self.policy().removed_retention),
            accepted: before(self.policy().history_retention),
        }
    }
}

/// Identity and rights of the caller: one session per request.
#[derive(Debug, Clone)]
pub struct Session {
    /// The holder of the token.
    pub caller: Caller,
    /// The name of the token among those of its holder, if it has one.
    pub token: TokenName,
    /// Whether the token's user has the token's app installed.
    pub app_installed: bool,
    /// When the token expires (T2).
    pub expires_at: Timestamp,
}

impl Session {
    /// The most that the caller may ever see with its token: [`scope`](Self::scope) as if the app were installed.
    pub fn reach(&self) -> WebhookScope {
        access::scope(&self.caller, true)
    }

    /// The webhooks that the caller may see.
    pub fn scope(&self) -> WebhookScope {
        access::scope(&self.caller, self.app_installed)
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

/// Access to services and session from a resolver's context.
pub trait Ask {
    /// The services.
    fn services(&self) -> &Services;
    /// The session.
    fn session(&self) -> &Session;
    /// The current time.
    fn now(&self) -> Timestamp;
    /// The retention limits that apply to reads now.
    fn cutoffs(&self) -> Cutoffs;
}

impl Ask for Context<'_> {
    fn services(&self) -> &Services {
        self.data_unchecked::<Arc<Services>>()
    }

    fn session(&self) -> &Session {
        self.data_unchecked::<Session>()
    }

    fn now(&self) -> Timestamp {
        self.services().clock.now()
    }

    fn cutoffs(&self) -> Cutoffs {
        self.services().cutoffs(self.now())
    }
}
