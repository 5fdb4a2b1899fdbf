//! The data that tasks share. It starts nothing and does nothing: [`wiring`](super::wiring) gives each task the parts
//! that it uses.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::cluster::database_clock::DatabaseClock;
use crate::cluster::freshness::Freshness;
use crate::cluster::process::ProcessState;
use crate::cluster::propagation::Propagation;
use crate::cluster::timings::LeaseTimings;
use crate::cluster::webhook_cache::WebhookCache;
use crate::deliver::held_deliveries::HeldDeliveries;
use crate::deliver::request::Requests;
use crate::deliver::scheduler::RequestLimits;
use crate::deliver::wake_schedule::WakeSchedule;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::settle::counter_activity::CounterActivity;
use crate::settle::in_flight_attempts::InFlightAttempts;
use crate::settle::notice_writer::NoticeWriter;
use crate::settle::settlement::{AttemptResult, ResultQueue};
use tenterhook_clock::Clock;
use tenterhook_model::ids::NodeId;
use tenterhook_outbound_http::Transport;
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::Store;
use tenterhook_store::changes::Snapshot;

/// The data that tasks share.
pub(crate) struct EngineState {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub timings: LeaseTimings,
    pub requests: Requests,
    pub process: Arc<ProcessState>,
    pub freshness: Arc<Freshness>,
    pub propagation: Propagation,
    pub database_clock: Arc<DatabaseClock>,
    pub webhooks: Arc<WebhookCache>,
    pub wakes: Arc<WakeSchedule>,
    pub held: Arc<HeldDeliveries>,
    pub results: Arc<ResultQueue>,
    pub in_flight: Arc<InFlightAttempts>,
    pub counters: Arc<CounterActivity>,
    /// Wakes the sweeper: a webhook's health has changed, or a delivery waits for a decision about its webhook.
    pub sweep: Arc<Notify>,
    pub notices: Arc<NoticeWriter>,
    /// Whether the platform has an endpoint for notices.
    pub sends_notices: bool,
    pub live: Arc<Hub>,
    pub metrics: Metrics,
}

/// The values that [`EngineState`] is built from.
pub(crate) struct Foundations {
    pub store: Store,
    pub clock: Clock,
    pub policy: Arc<PolicySettings>,
    pub transport: Transport,
    pub sealing: Arc<Keyring>,
    pub timings: LeaseTimings,
    /// The snapshot from which the changes feed is read.
    pub from: Snapshot,
    pub node: NodeId,
    pub limits: RequestLimits,
    pub sends_notices: bool,
    pub settlers: Vec<mpsc::UnboundedSender<AttemptResult>>,
}

impl EngineState {
    /// The state of an engine that holds nothing yet.
    pub fn new(foundations: Foundations) -> Self {
        let Foundations {
            store,
            clock,
            policy,
            transport,
            sealing,
            timings,
            from,
            node,
            limits,
            sends_notices,
            settlers,
        } = foundations;
        let process = Arc::new(ProcessState::new(node));
        let freshness = Arc::new(Freshness::new(clock.clone(), from, timings));
        let webhooks = Arc::new(WebhookCache::new(sealing));
        let wakes = Arc::new(WakeSchedule::default());
        Self {
            requests: Requests {
                transport,
                policy: policy.clone(),
            },
            propagation: Propagation {
                store: store.clone(),
                clock: clock.clone(),
                timings,
                process: process.clone(),
                freshness: freshness.clone(),
            },
            database_clock: Arc::default(),
            held: Arc::new(HeldDeliveries::new(limits, webhooks.clone(), wakes.clone())),
            results: Arc::new(ResultQueue::new(settlers)),
            in_flight: Arc::new(InFlightAttempts::new(limits.total)),
            counters: Arc::default(),
            sweep: Arc::default(),
            notices: Arc::new(NoticeWriter::new(clock.clone(), policy.clone(), sends_notices)),
            sends_notices,
            live: Arc::default(),
            metrics: Metrics::default(),
            store,
            clock,
            policy,
            timings,
            process,
            freshness,
            webhooks,
            wakes,
        }
    }
}
