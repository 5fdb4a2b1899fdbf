//! The engine: leases due deliveries, makes the requests, settles the results.
//!
//! Guarantees:
//!
//! - At-least-once delivery of every accepted event (D6). A delivery is a row from the commit that accepts it to the
//!   commit that ends it. A process works on a row only under a lease, and settles a result only if its lease's token
//!   is still valid. So a process that crashes, hangs or is late at worst repeats an attempt; no change of state is
//!   made twice.
//! - No connection and no transaction is held while a receiver works.
//! - Once the API has confirmed a change, no process starts an attempt that the change forbids (W8).
//!
//! Not guaranteed: any order of deliveries (D11). The engine decides nothing about webhooks: that is
//! [`tenterhook_policy`].
//!
//! ```text
//!  intake ─▶ committer ──leased rows──▶ scheduler ─▶ dispatcher ─▶ attempt ─▶ settler ─▶ (rows, health, notices)
//!                └──overflow──▶ wake schedule ─▶ claimer ─┘                      └──retries──▶ wake schedule
//!  change feed: other processes' changes    sweeper: changes by time alone    membership: live processes
//!  lease renewal: waiting deliveries    live: messages to the API's subscribers
//!  notifier: notices to the platform's own endpoint
//! ```
//!
//! `state.rs` is the data that tasks share, and `wiring.rs` says which task gets which part of it.

mod api_handles;
mod backoff;
mod bisection;
mod cluster;
mod deliver;
mod dispatcher;
pub mod live;
mod maintenance;
mod metrics;
mod notifier;
pub mod outbound;
mod publish;
mod replay;
pub mod reseal;
mod settle;
mod state;
mod test_delivery;
mod wiring;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

pub use api_handles::{Gauges, Prober};
pub use cluster::propagation::Propagation;
pub use cluster::timings::LeaseTimings;
// Public only for its benchmark; nothing outside the engine uses it.
#[doc(hidden)]
pub use deliver::scheduler;
pub use deliver::scheduler::RequestLimits;
pub use live::Live;
pub use notifier::NoticeEndpoint;
pub use publish::call::{PublishError, Published};
pub use publish::intake::Share;
pub use publish::publisher::Publisher;
pub use replay::{REPLAYS_SHOWN, Replayed, Replayer};
pub use test_delivery::{NotTested, Tested};

use self::cluster::membership::Membership;
use self::publish::COMMITTERS;
use self::publish::intake::IntakeQueue;
use self::settle::settlement::AttemptResult;
use self::state::{EngineState, Foundations};
use self::test_delivery::TestDeliveries;
use tenterhook_clock::{self as clock, Clock};
use tenterhook_outbound_http::Transport;
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::Action;
use tenterhook_store::{Store, StoreError, changes, leases, nodes, partitions};

/// Tasks that settle, each for its own webhooks.
const SETTLERS: usize = 2;
/// How much longer than one statement the last steps of a stop may take: settling the remaining results and
/// deregistering.
const BEYOND_STATEMENT: Duration = Duration::from_secs(3);
/// How often a stop tries again to release deliveries whose rows another transaction has locked.
const RELEASE_EVERY: Duration = Duration::from_millis(50);

/// What an engine needs.
pub struct Parts {
    /// The database, migrated.
    pub store: Store,
    /// The source of time for all tasks.
    pub clock: Clock,
    /// The policy's numbers.
    pub policy: Arc<PolicySettings>,
    /// Opens the webhooks' secrets.
    pub sealing: Arc<Keyring>,
    /// Makes the requests.
    pub transport: Transport,
    /// Limits on requests in flight.
    pub limits: RequestLimits,
    /// How much of one company may wait to be stored.
    pub share: Share,
    /// The platform's endpoint for notices, if it has one (R4).
    pub notices: Option<NoticeEndpoint>,
    /// Duration of a lease. It must be the same in all processes.
    pub lease: Duration,
    /// Whether no other process can be using the database. If so, leases of an earlier process are released at once.
    pub alone: bool,
}

/// A running engine.
pub struct Engine {
    state: EngineState,
    publisher: Publisher,
    test_deliveries: Arc<TestDeliveries>,
    intake: Arc<IntakeQueue>,
    /// The tasks that lease deliveries: the committers and the claimer.
    leasing: Vec<JoinHandle<()>>,
    settlers: Vec<JoinHandle<()>>,
    notifier: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Registers this process and starts its tasks. Work that was left undone before is found and done.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let Parts {
            store,
            clock,
            policy,
            sealing,
            transport,
            limits,
            share,
            notices,
            lease,
            alone,
        } = parts;
        let (ahead, from, node) = {
            let mut conn = store.conn().await?;
            let asked = clock.monotonic();
            let database_now = nodes::database_time(&mut conn).await?;
            let ahead = clock.follow(database_now, asked, clock.monotonic());
            (
                ahead,
                changes::present(&mut conn).await?,
                nodes::register(&mut conn, clock.now()).await?,
            )
        };
        let (settlers, inboxes): (Vec<_>, Vec<_>) = (0..SETTLERS).map(|_| mpsc::unbounded_channel()).unzip();
        let state = EngineState::new(Foundations {
            store,
            clock: clock.clone(),
            policy,
            transport,
            sealing,
            timings: LeaseTimings::of(lease),
            from,
            node,
            limits,
            sends_notices: notices.is_some(),
            settlers,
        });
        state.database_clock.note(ahead, clock.monotonic());
        maintenance::ensure_partitions(&mut state.store.for_upkeep(), partitions::day(clock.now())).await?;
        let membership = Arc::new(state.membership());
        membership.beat().await?;
        if alone {
            membership.evict_dead(Duration::ZERO).await?;
        }
        let intake = Arc::new(IntakeQueue::new(share, clock));
        Ok(Self::spawn(state, &membership, intake, notices, inboxes))
    }

    /// Starts the tasks. Each gets the parts of the state that it uses.
    fn spawn(
        state: EngineState,
        membership: &Arc<Membership>,
        intake: Arc<IntakeQueue>,
        notices: Option<NoticeEndpoint>,
        inboxes: Vec<mpsc::UnboundedReceiver<AttemptResult>>,
    ) -> Self {
        let clock = &state.clock;
        let changes = Arc::new(state.change_applier());
        let dispatcher = Arc::new(state.dispatcher());
        let committer = Arc::new(state.committer(&intake, &dispatcher));
        let settler = Arc::new(state.settler(&changes));
        let tidy = maintenance::run_tidy(state.store.clone(), clock.clone(), state.counters.clone());
        Self {
            leasing: (0..COMMITTERS)
                .map(|_| clock.spawn("committer", committer.clone().run()))
                .chain([clock.spawn("claimer", state.claimer().run())])
                .collect(),
            settlers: inboxes
                .into_iter()
                .map(|results| clock.spawn("settler", settler.clone().run(results)))
                .collect(),
            notifier: notices.map(|endpoint| {
                let notifier = Arc::new(state.notifier(endpoint));
                clock.spawn("notifier", notifier.run())
            }),
            others: vec![
                clock.spawn("feed", state.change_feed(membership, &changes).run()),
                clock.spawn("node", membership.clone().run()),
                clock.spawn("dispatcher", dispatcher.run()),
                clock.spawn("leases", state.lease_renewal().run()),
                clock.spawn("sweeper", state.sweeper(&changes).run()),
                clock.spawn("daily", state.daily_maintenance().run()),
                clock.spawn("attempt watch", state.attempt_watch().run()),
                clock.spawn("tidy", tidy),
            ],
            publisher: Publisher::new(intake.clone(), state.metrics.clone()),
            test_deliveries: Arc::new(state.test_deliveries()),
            intake,
            state,
        }
    }

    /// Publishes events.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Waits until every process knows of a change.
    pub fn propagation(&self) -> Propagation {
        self.state.propagation.clone()
    }

    /// Checks subscription URLs and makes test deliveries.
    pub fn prober(&self) -> Prober {
        Prober(self.test_deliveries.clone())
    }

    /// Makes new deliveries of old events.
    pub fn replayer(&self) -> Replayer {
        self.state.replayer()
    }

    /// Informs subscribers about changes.
    pub fn live(&self) -> Live {
        self.state.live()
    }

    /// Figures for metrics and readiness.
    pub fn gauges(&self) -> Gauges {
        self.state.gauges()
    }

    /// Stops: takes no new work, waits up to `grace` for requests in flight, and releases the other leases.
    ///
    /// Attempts still in flight after `grace` are repeated by the process that claims them next (D6). So are attempts
    /// whose results the database does not take within the time of one statement after that. In the same time it tries
    /// again to release deliveries whose rows another transaction has locked.
    pub async fn stop(self, grace: Duration) {
        let Self {
            state,
            publisher: _,
            test_deliveries: _,
            intake,
            leasing,
            settlers,
            mut notifier,
            others,
        } = self;
        state.process.stop();
        intake.close();
        state.wakes.wake_claimer();
        let now = state.clock.now();
        state.release_all(now);
        state.notices.wake_notifier();
        let quiet = async {
            state.held.until_idle().await;
            if let Some(notifier) = &mut notifier {
                let _ = state.clock.park(notifier).await;
            }
        };
        tokio::select! {
            () = state.clock.real_sleep(grace) => tracing::warn!("requests are still in flight after the grace time"),
            () = quiet => {}
        }
        let tasks: Vec<AbortHandle> = leasing
            .iter()
            .chain(&settlers)
            .chain(&notifier)
            .chain(&others)
            .map(JoinHandle::abort_handle)
            .collect();
        let release_until = state.clock.monotonic() + state.store.patience();
        let settled = async {
            for task in leasing {
                let _ = state.clock.park(task).await;
            }
            state.release_all(now);
            state.results.close();
            for settler in settlers {
                let _ = state.clock.park(settler).await;
            }
            state.release_leases(release_until).await?;
            others.iter().chain(&notifier).for_each(JoinHandle::abort);
            state.deregister().await
        };
        match clock::within(state.store.patience() + BEYOND_STATEMENT, settled).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    %error,
                    "deregistration failed; other servers will declare this process dead when its heartbeats are missing"
                );
            }
            Err(_) => tracing::warn!(
                "the last results could not be written in time: their attempts will be repeated, and other servers will \
                 declare this process dead when its heartbeats are missing"
            ),
        }
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl EngineState {
    /// Releases the deliveries that wait in this process.
    fn release_all(&self, now: Timestamp) {
        for held in self.held.take_all() {
            self.results.release(&held, Action::Release(now));
        }
    }

    /// Releases this process's remaining leases. Tries until `until` to release those whose rows another transaction has
    /// locked; after that they are free when they end.
    async fn release_leases(&self, until: Instant) -> Result<(), StoreError> {
        let node = self.process.node();
        let mut conn = self.store.conn().await?;
        let mut left = leases::release_of(&mut conn, &[node], self.clock.now())
            .await?
            .locked;
        drop(conn);
        self.announce_released().await?;
        while !left.is_empty() && self.clock.monotonic() < until {
            self.clock.linger(RELEASE_EVERY).await;
            let mut conn = self.store.conn().await?;
            let released = leases::release(&mut conn, &left, self.clock.now()).await?;
            drop(conn);
            left = released.locked;
            if released.freed > 0 {
                self.announce_released().await?;
            }
        }
        if let Some((first, _)) = left.first() {
            tracing::warn!(
                deliveries = left.len(),
                webhook = %first.webhook,
                event = %first.event,
                "deliveries could not be released before this process stops, because another transaction has locked \
                 their rows; other servers claim them when their leases end"
            );
        }
        Ok(())
    }

    /// Asks the other processes to look for deliveries without an owner, and waits until they have.
    async fn announce_released(&self) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        let mark = changes::ask(&mut conn, self.clock.now()).await?;
        drop(conn);
        self.propagation.propagate_to_all(&mark).await;
        Ok(())
    }

    async fn deregister(&self) -> Result<(), StoreError> {
        let mut conn = self.store.conn().await?;
        nodes::leave(&mut conn, self.process.node()).await
    }
}
