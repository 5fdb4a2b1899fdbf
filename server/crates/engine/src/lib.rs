//! The engine: leases due deliveries, makes the requests, settles the results.
//!
//! Guarantees:
//!
//! - At-least-once delivery of every accepted event (D6). A delivery is a row from the commit that accepts it to the commit
//!   that ends it. A process works on a row only under a lease, and settles a result only if its lease's token is still
//!   valid. So a process that crashes, hangs or is late at worst repeats an attempt; no change of state is made twice.
//! - No connection and no transaction is held while a receiver works.
//! - Once the API has confirmed a change, no process starts an attempt that the change forbids (W8).
//!
//! Not guaranteed: any order of deliveries (D11). The engine decides nothing about webhooks: that is [`tenterhook_policy`].
//!
//! ```text
//!  publish ─▶ committer ──leased rows──▶ queue ─▶ attempt ─▶ settler ─▶ (rows, health, notices)
//!                  └──overflow──▶ calendar ─▶ claimer ─┘            └──retries──▶ calendar
//!  feed: other processes' changes     sweeper: changes by time alone     node: live processes     leases: extension
//!  live: messages to the API's subscribers    notifier: notices to the platform's own endpoint
//! ```

mod attempt;
mod calendar;
mod claimer;
mod committer;
mod database_clock;
mod door;
mod feed;
pub mod handles;
mod housekeeping;
mod leases;
pub mod live;
mod metrics;
mod node;
mod notifier;
pub mod outbound;
mod parts;
mod pause;
mod postponed;
pub mod publisher;
// Public only for its benchmark; nothing outside the engine uses it.
#[doc(hidden)]
pub mod queue;
mod registry;
mod replays;
pub mod resealing;
mod settler;
mod shared;
mod sweeper;
pub mod tempo;
mod test_delivery;
mod transitions;
mod unsettled;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

pub use door::Share;
pub use handles::{Gauges, Prober, Propagation, Replayer};
pub use live::Live;
pub use notifier::NoticeEndpoint;
pub use publisher::{PublishError, Published, Publisher};
pub use queue::Places;
pub use replays::{REPLAYS_SHOWN, Replayed};
pub use test_delivery::{NotTested, Tested};

use self::door::Door;
use self::feed::Feed;
use self::registry::Registry;
use self::shared::{Foundations, Shared};
use self::tempo::Tempo;
use tenterhook_clock::{self as clock, Clock};
use tenterhook_outbound_http::Transport;
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::Then;
use tenterhook_store::{Store, StoreError, changes, nodes, partitions};

/// Tasks that store publications. Three: one company keeps at most two busy, one committing while the other collects.
/// The third is free for all others.
const COMMITTERS: usize = 3;
/// Tasks that settle, each for its own webhooks.
const SETTLERS: usize = 2;
/// How much longer than one statement the last steps of a stop may take: settling the remaining results and
/// deregistering.
const BEYOND_STATEMENT: Duration = Duration::from_secs(3);

/// What an engine needs.
pub struct Parts {
    /// The database, migrated.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// The policy's numbers.
    pub policy: Arc<PolicySettings>,
    /// Opens the webhooks' secrets.
    pub sealing: Arc<Keyring>,
    /// Makes the requests.
    pub transport: Transport,
    /// Limits on requests in flight.
    pub places: Places,
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
    shared: Arc<Shared>,
    publisher: Publisher,
    door: Arc<Door>,
    committers: Vec<JoinHandle<()>>,
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
            places,
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
        let (settlers, results): (Vec<_>, Vec<_>) = (0..SETTLERS).map(|_| mpsc::unbounded_channel()).unzip();
        let tempo = Tempo::of(lease);
        let shared = Shared::new(Foundations {
            feed: Feed::new(&clock, from, tempo),
            tempo,
            registry: Registry::new(sealing),
            store,
            clock: clock.clone(),
            policy,
            transport,
            node,
            places,
            sends_notices: notices.is_some(),
            settlers,
        });
        shared.database_clock.note(ahead, clock.monotonic());
        housekeeping::ensure_partitions(&shared, partitions::day(clock.now())).await?;
        node::beat(&shared).await?;
        if alone {
            node::bury(&shared, Duration::ZERO).await?;
        }
        let door = Arc::new(Door::new(share, clock.clone()));
        let publisher = Publisher::new(door.clone(), shared.metrics.clone());
        let ids = Arc::default();
        let committers = (0..COMMITTERS)
            .map(|_| {
                let run = committer::run(shared.clone(), door.clone(), Arc::clone(&ids));
                clock.spawn("committer", run)
            })
            .collect();
        let settlers = results
            .into_iter()
            .map(|results| clock.spawn("settler", settler::run(shared.clone(), results)))
            .collect();
        let notifier = notices.map(|endpoint| {
            let run = notifier::run(shared.clone(), Arc::new(endpoint));
            clock.spawn("notifier", run)
        });
        let others = vec![
            clock.spawn("feed", feed::run(shared.clone())),
            clock.spawn("node", node::run(shared.clone())),
            clock.spawn("claimer", claimer::run(shared.clone())),
            clock.spawn("leases", leases::run(shared.clone())),
            clock.spawn("sweeper", sweeper::run(shared.clone())),
            clock.spawn("daily", housekeeping::run_daily(shared.clone())),
            clock.spawn("attempt watch", live::watch(shared.clone())),
            clock.spawn("tidy", housekeeping::run_tidy(shared.clone())),
        ];
        Ok(Self {
            shared,
            publisher,
            door,
            committers,
            settlers,
            notifier,
            others,
        })
    }

    /// Publishes events.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Waits until every process knows of a change.
    pub fn propagation(&self) -> Propagation {
        Propagation(self.shared.clone())
    }

    /// Checks subscription URLs and makes test deliveries.
    pub fn prober(&self) -> Prober {
        Prober(self.shared.clone())
    }

    /// Makes new deliveries of old events.
    pub fn replayer(&self) -> Replayer {
        Replayer(self.shared.clone())
    }

    /// Informs subscribers about changes.
    pub fn live(&self) -> Live {
        Live(self.shared.clone())
    }

    /// Figures for metrics and readiness.
    pub fn gauges(&self) -> Gauges {
        Gauges(self.shared.clone())
    }

    /// Stops: takes no new work, waits up to `grace` for requests in flight, and releases the other leases.
    ///
    /// Attempts still in flight after `grace` are repeated by the process that claims them next (D6). So are attempts
    /// whose results the database does not take within the time of one statement after that.
    pub async fn stop(self, grace: Duration) {
        let Self {
            shared,
            publisher: _,
            door,
            committers,
            settlers,
            mut notifier,
            others,
        } = self;
        shared.stopping.store(true, Ordering::Release);
        door.close();
        let now = shared.clock.now();
        for held in shared.take_all() {
            shared.let_go(&held, Then::Release(now));
        }
        shared.owed.notify_one();
        let quiet = async {
            until_quiet(&shared).await;
            if let Some(notifier) = &mut notifier {
                let _ = shared.clock.park(notifier).await;
            }
        };
        tokio::select! {
            () = shared.clock.real_sleep(grace) => tracing::warn!("requests are still on the wire after the grace time"),
            () = quiet => {}
        }
        let tasks: Vec<AbortHandle> = committers
            .iter()
            .chain(&settlers)
            .chain(&notifier)
            .chain(&others)
            .map(JoinHandle::abort_handle)
            .collect();
        let settled = async {
            for committer in committers {
                let _ = shared.clock.park(committer).await;
            }
            for held in shared.take_all() {
                shared.let_go(&held, Then::Release(now));
            }
            shared.close_settlers();
            for settler in settlers {
                let _ = shared.clock.park(settler).await;
            }
            give_back(&shared).await?;
            others.iter().chain(&notifier).for_each(JoinHandle::abort);
            sign_off(&shared).await
        };
        match clock::within(shared.store.patience() + BEYOND_STATEMENT, settled).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not sign off; others will notice by the missing heartbeat");
            }
            Err(_) => tracing::warn!(
                "the database has not taken the last results in time: their attempts will be repeated, and others will \
                 notice by the missing heartbeat"
            ),
        }
        tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Releases this process's remaining leases, and waits until the other processes have looked for them.
async fn give_back(shared: &Shared) -> Result<(), StoreError> {
    let now = shared.clock.now();
    let mut conn = shared.store.conn().await?;
    tenterhook_store::leases::release_of(&mut conn, &[shared.node()], now).await?;
    let mark = changes::ask(&mut conn, now).await?;
    drop(conn);
    shared.feed.everywhere(shared, &mark).await;
    Ok(())
}

async fn sign_off(shared: &Shared) -> Result<(), StoreError> {
    let mut conn = shared.store.conn().await?;
    nodes::leave(&mut conn, shared.node()).await
}

async fn until_quiet(shared: &Shared) {
    loop {
        let finished = shared.finished.notified();
        if shared.queue().is_quiet() {
            return;
        }
        finished.await;
    }
}
