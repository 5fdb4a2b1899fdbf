//! Which part of the engine gets which data.

use std::sync::{Arc, Mutex};

use crate::api_handles::Gauges;
use crate::cluster::apply_changes::ChangeApplier;
use crate::cluster::change_feed::ChangeFeed;
use crate::cluster::membership::Membership;
use crate::deliver::attempt::Attempts;
use crate::deliver::claimer::Claimer;
use crate::deliver::lease_renewal::LeaseRenewal;
use crate::deliver::postponed::Postponed;
use crate::dispatcher::Dispatcher;
use crate::live::{Announcer, AttemptWatch, Live};
use crate::maintenance::DailyMaintenance;
use crate::notifier::{NoticeEndpoint, Notifier};
use crate::publish::group_commit::Committer;
use crate::publish::intake::IntakeQueue;
use crate::replay::Replayer;
use crate::settle::settler::{Judge, Recorder, Settler};
use crate::settle::sweeper::Sweeper;
use crate::state::EngineState;
use crate::test_delivery::TestDeliveries;
use tenterhook_model::ids::EventIds;

impl EngineState {
    /// Makes attempts.
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            timings: self.timings,
            process: self.process.clone(),
            freshness: self.freshness.clone(),
            webhooks: self.webhooks.clone(),
            requests: self.requests.clone(),
            held: self.held.clone(),
            results: self.results.clone(),
            in_flight: self.in_flight.clone(),
            metrics: self.metrics.clone(),
            sweep: self.sweep.clone(),
            postponed: Postponed::default(),
        }
    }

    /// Applies changes of webhooks.
    pub(crate) fn change_applier(&self) -> ChangeApplier {
        ChangeApplier {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            webhooks: self.webhooks.clone(),
            held: self.held.clone(),
            results: self.results.clone(),
            wakes: self.wakes.clone(),
            sweep: self.sweep.clone(),
        }
    }

    /// Keeps this process registered.
    pub(crate) fn membership(&self) -> Membership {
        Membership {
            store: self.store.clone(),
            clock: self.clock.clone(),
            timings: self.timings,
            process: self.process.clone(),
            freshness: self.freshness.clone(),
            in_flight: self.in_flight.clone(),
            database_clock: self.database_clock.clone(),
            webhooks: self.webhooks.clone(),
            live: self.live.clone(),
            held: self.held.clone(),
            results: self.results.clone(),
            wakes: self.wakes.clone(),
            locked: Mutex::default(),
        }
    }

    /// Claims due deliveries.
    pub(crate) fn claimer(&self) -> Claimer {
        Claimer {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            timings: self.timings,
            process: self.process.clone(),
            webhooks: self.webhooks.clone(),
            held: self.held.clone(),
            wakes: self.wakes.clone(),
            counters: self.counters.clone(),
            sweep: self.sweep.clone(),
        }
    }

    /// Extends leases.
    pub(crate) fn lease_renewal(&self) -> LeaseRenewal {
        LeaseRenewal {
            store: self.store.clone(),
            clock: self.clock.clone(),
            timings: self.timings,
            held: self.held.clone(),
        }
    }

    /// Maintains the database once a day.
    pub(crate) fn daily_maintenance(&self) -> DailyMaintenance {
        DailyMaintenance {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            sends_notices: self.sends_notices,
        }
    }

    /// Polls for attempts while someone listens.
    pub(crate) fn attempt_watch(&self) -> AttemptWatch {
        AttemptWatch {
            store: self.store.clone(),
            clock: self.clock.clone(),
            hub: self.live.clone(),
        }
    }

    /// Makes new deliveries of old events.
    pub(crate) fn replayer(&self) -> Replayer {
        Replayer {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            process: self.process.clone(),
            counters: self.counters.clone(),
            wakes: self.wakes.clone(),
        }
    }

    /// Reads figures.
    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            store: self.store.clone(),
            clock: self.clock.clone(),
            process: self.process.clone(),
            held: self.held.clone(),
            metrics: self.metrics.clone(),
            database_clock: self.database_clock.clone(),
            freshness: self.freshness.clone(),
        }
    }

    /// Creates listeners.
    pub(crate) fn live(&self) -> Live {
        Live {
            clock: self.clock.clone(),
            hub: self.live.clone(),
        }
    }

    /// Starts attempts.
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            clock: self.clock.clone(),
            process: self.process.clone(),
            held: self.held.clone(),
            in_flight: self.in_flight.clone(),
            attempts: Arc::new(self.attempts()),
        }
    }

    /// Reads the changes feed.
    pub(crate) fn change_feed(
        &self,
        membership: &Arc<Membership>,
        changes: &Arc<ChangeApplier>,
    ) -> ChangeFeed {
        ChangeFeed {
            store: self.store.clone(),
            clock: self.clock.clone(),
            freshness: self.freshness.clone(),
            notices: self.notices.clone(),
            wakes: self.wakes.clone(),
            announcer: Announcer {
                hub: self.live.clone(),
                store: self.store.clone(),
                clock: self.clock.clone(),
                webhooks: self.webhooks.clone(),
            },
            membership: membership.clone(),
            changes: changes.clone(),
        }
    }

    /// Stores groups of calls from the intake.
    pub(crate) fn committer(&self, intake: &Arc<IntakeQueue>, dispatcher: &Arc<Dispatcher>) -> Committer {
        Committer {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            timings: self.timings,
            process: self.process.clone(),
            webhooks: self.webhooks.clone(),
            held: self.held.clone(),
            dispatcher: dispatcher.clone(),
            wakes: self.wakes.clone(),
            counters: self.counters.clone(),
            metrics: self.metrics.clone(),
            intake: intake.clone(),
            ids: Mutex::new(EventIds::default()),
        }
    }

    /// Settles results.
    pub(crate) fn settler(&self, changes: &Arc<ChangeApplier>) -> Settler {
        Settler {
            store: self.store.clone(),
            clock: self.clock.clone(),
            timings: self.timings,
            process: self.process.clone(),
            held: self.held.clone(),
            in_flight: self.in_flight.clone(),
            counters: self.counters.clone(),
            propagation: self.propagation.clone(),
            notices: self.notices.clone(),
            wakes: self.wakes.clone(),
            metrics: self.metrics.clone(),
            changes: changes.clone(),
            recorder: Recorder {
                judge: Judge {
                    store: self.store.clone(),
                    clock: self.clock.clone(),
                    policy: self.policy.clone(),
                    notices: self.notices.clone(),
                },
                process: self.process.clone(),
                webhooks: self.webhooks.clone(),
            },
        }
    }

    /// Writes transitions that are due.
    pub(crate) fn sweeper(&self, changes: &Arc<ChangeApplier>) -> Sweeper {
        Sweeper {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            timings: self.timings,
            process: self.process.clone(),
            in_flight: self.in_flight.clone(),
            propagation: self.propagation.clone(),
            notices: self.notices.clone(),
            sweep: self.sweep.clone(),
            changes: changes.clone(),
        }
    }

    /// Delivers notices to the platform's endpoint.
    pub(crate) fn notifier(&self, endpoint: NoticeEndpoint) -> Notifier {
        Notifier {
            store: self.store.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            process: self.process.clone(),
            notices: self.notices.clone(),
            metrics: self.metrics.clone(),
            endpoint,
        }
    }

    /// Makes test deliveries.
    pub(crate) fn test_deliveries(&self) -> TestDeliveries {
        TestDeliveries::new(
            self.store.clone(),
            self.clock.clone(),
            self.process.clone(),
            self.webhooks.clone(),
            self.requests.clone(),
        )
    }
}
