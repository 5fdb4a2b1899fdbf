//! The context of a resolver: the services of the server, and access to them and to the session of the caller.

use std::sync::Arc;

use async_graphql::Context;
use jiff::Timestamp;

use tenterhook_graphql_http::connection_limits::ConnectionLimits;
use tenterhook_graphql_http::persisted::Documents;

use crate::session::Session;
use crate::token::Verifier;
use tenterhook_clock::Clock;
use tenterhook_engine::{Gauges, Live, Prober, Propagation, Publisher, Replayer};
use tenterhook_outbound_http::target::TargetPolicy;
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
    /// Since when events are kept for late attempts (D10).
    pub events_kept_since: Timestamp,
    /// Sends live events to subscribers.
    pub live: Live,
    /// The connections that carry subscriptions.
    pub connections: Arc<ConnectionLimits>,
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
        let history = before(self.policy().history_retention);
        Cutoffs {
            now,
            window_opened: before(self.policy().removal_window),
            removed: before(self.policy().removed_retention),
            history,
            event_dropped: history.min(self.events_kept_since),
        }
    }
}

/// Access to services and session: from a resolver's context, or from a request to the REST routes. What both do is written
/// over this trait.
pub trait Ask: Sync {
    /// The parts of the server that a resolver uses.
    fn services(&self) -> &Services;
    /// Who calls, with what rights.
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
