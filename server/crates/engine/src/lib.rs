//! The engine: takes what is due, makes the request, settles the result.
//!
//! Promises at-least-once delivery of everything accepted (D6): a delivery is a row from the commit that accepts it to
//! the commit that ends it. A process works on a row only under a lease, and settles only what its lease's token still
//! covers; so a process that dies, hangs or comes back late repeats an attempt at worst, and moves nothing twice.
//!
//! Promises that no connection and no transaction is held while a receiver thinks, and that what the policy forbids
//! does not start in any process once the change that forbids it has been answered (W8).
//!
//! Does not promise any order (D11), and does not decide anything about webhooks: that is [`tenterhook_policy`].
//!
//! ```text
//!  publish ─▶ committer ──leased rows──▶ queue ─▶ attempt ─▶ settler ─▶ (rows, health, notices)
//!                  └──overflow──▶ calendar ─▶ claimer ─┘            └──retries──▶ calendar
//!  feed: what other processes did     sweeper: what time did     node: who is alive     leases: what stays ours
//!  live: what the API's subscribers are told    notifier: what the platform's own endpoint is told
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
mod parts;
mod pause;
mod postponed;
pub mod publisher;
// For its benchmark alone; nothing outside the engine uses it.
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
pub mod transport;
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
use self::transport::Transport;
use tenterhook_clock::{self as clock, Clock};
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::policy::PolicySettings;
use tenterhook_store::settle::Then;
use tenterhook_store::{Store, StoreError, changes, nodes, partitions};

/// Tasks that store publications. Three: one company keeps two busy at most, one committing while the other collects,
/// and the third is there for all others.
const COMMITTERS: usize = 3;
/// Tasks that settle, each for its own webhooks.
const SETTLERS: usize = 2;
/// How much longer than one statement the last steps of a stop may take: settling what is left, and signing off.
const BEYOND_STATEMENT: Duration = Duration::from_secs(3);

/// What an engine is made of.
pub struct Parts {
    /// The database, migrated.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// The numbers.
    pub policy: Arc<PolicySettings>,
    /// Opens the webhooks' secrets.
    pub sealing: Arc<Keyring>,
    /// Makes the requests.
    pub transport: Transport,
    /// How much may be on the wire at once.
    pub places: Places,
    /// How much of one company may wait to be stored.
    pub share: Share,
    /// Where notices are delivered to, if the platform has an endpoint for them (R4).
    pub notices: Option<NoticeEndpoint>,
    /// How long a delivery is one process's, the same in all of them.
    pub lease: Duration,
    /// Whether no other process can be using the database: then what a predecessor held is taken at once.
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
    /// Registers this process and starts its tasks. Whatever was left undone before is found and done.
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

    /// Tells when every process knows of a change.
    pub fn propagation(&self) -> Propagation {
        Propagation(self.shared.clone())
    }

    /// Vets subscription URLs, and sends test deliveries.
    pub fn prober(&self) -> Prober {
        Prober(self.shared.clone())
    }

    /// Makes new deliveries of old events.
    pub fn replayer(&self) -> Replayer {
        Replayer(self.shared.clone())
    }

    /// Tells subscribers what happens.
    pub fn live(&self) -> Live {
        Live(self.shared.clone())
    }

    /// Figures.
    pub fn gauges(&self) -> Gauges {
        Gauges(self.shared.clone())
    }

    /// Stops: takes nothing new, lets what is on the wire end within `grace`, gives back the rest.
    ///
    /// What is still on the wire after the grace time is repeated by whoever claims it next (D6), and so is what the
    /// database does not take within the time of a statement after that.
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

/// Frees what is still ours, and waits until the others have looked for it.
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
