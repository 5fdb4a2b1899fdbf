//! What a resolver has at hand: the services of the server, and who is calling.

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
use tenterhook_policy::access;
use tenterhook_policy::sealing::Keyring;
use tenterhook_policy::target::TargetPolicy;
use tenterhook_settings::{PolicySettings, Settings};
use tenterhook_store::Store;
use tenterhook_store::reach::Cutoffs;

/// What the API is made of; `app` puts it together.
pub struct Services {
    /// The database. Best a pool of its own, for reads: see [`Sessions`](tenterhook_store::Sessions).
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What the operator has chosen.
    pub settings: Arc<Settings>,
    /// Where webhooks may point (W10).
    pub targets: TargetPolicy,
    /// Seals credentials and signing secrets (W11).
    pub sealing: Arc<Keyring>,
    /// Judges tokens.
    pub tokens: Verifier,
    /// Documents that are executed by their hash.
    pub documents: Documents,
    /// Stores what is published.
    pub publisher: Publisher,
    /// Makes changes known to every process before they are answered (W8).
    pub propagation: Propagation,
    /// Resolves names of subscription URLs (W10), and sends test deliveries (D12).
    pub prober: Prober,
    /// Makes new deliveries of old events (D12).
    pub replayer: Replayer,
    /// Tells subscribers what happens.
    pub live: Live,
    /// The connections that subscriptions go over.
    pub sockets: Arc<Sockets>,
    /// The engine's figures, for `/readyz` and `/metrics`.
    pub gauges: Gauges,
}

impl Services {
    /// The numbers of the policy.
    pub fn policy(&self) -> &PolicySettings {
        &self.settings.policy
    }

    /// The moments that reads at `now` go by.
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

/// Who is calling: one per request.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whoever holds the token.
    pub caller: Caller,
    /// Which of the holder's tokens, as far as it says.
    pub token: TokenName,
    /// Whether the token's user has the token's app installed.
    pub app_installed: bool,
    /// When the token's end is reached (T2).
    pub expires_at: Timestamp,
}

impl Session {
    /// What the caller might ever see with its token: all of [`scope`](Self::scope), whatever gets installed.
    pub fn reach(&self) -> WebhookScope {
        access::scope(&self.caller, true)
    }

    /// What the caller sees.
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

/// What a resolver asks of its context.
pub trait Ask {
    /// The services.
    fn services(&self) -> &Services;
    /// The session.
    fn session(&self) -> &Session;
    /// The time.
    fn now(&self) -> Timestamp;
    /// The moments that reads now go by.
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
