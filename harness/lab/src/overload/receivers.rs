//! The receivers of many webhooks behind one address. Some respond, the others hang until they are released.
//!
//! Counts for each webhook the concurrent requests and those within a second, and records which deliveries got a
//! response. Keeps no bodies and checks no signatures.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use tenterhook_harness::realtime::{self, Stopwatch};

/// Running receivers. They end when dropped.
pub struct Receivers {
    address: SocketAddr,
    members: Arc<Members>,
    serving: JoinHandle<()>,
}

struct Members {
    watch: Stopwatch,
    released: watch::Sender<bool>,
    seen: Mutex<Seen>,
    answered: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    webhooks: HashMap<u32, Load>,
    answered: HashSet<(Uuid, u32)>,
    most: Most,
}

/// The current load of one webhook.
#[derive(Default)]
struct Load {
    at_once: u32,
    second: u64,
    in_second: u32,
}

/// The highest load of any webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Most {
    /// Concurrent requests.
    pub at_once: u32,
    /// Requests within one second of the clock.
    pub in_second: u32,
}

/// A request in progress. Dropping it ends it.
struct Visit {
    members: Arc<Members>,
    webhook: u32,
}

impl Receivers {
    /// Listens on a free port of loopback. Webhooks with an odd number hang.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let members = Arc::new(Members {
            watch: Stopwatch::start(),
            released: watch::Sender::new(false),
            seen: Mutex::default(),
            answered: watch::Sender::new(0),
        });
        let app = Router::new()
            .route("/{webhook}", post(visit))
            .with_state(Arc::clone(&members));
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serving = realtime::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self {
            address,
            members,
            serving,
        })
    }

    /// The URL of the webhook with this number.
    pub fn url(&self, webhook: u32) -> String {
        format!("http://{}/{webhook}", self.address)
    }

    /// Lets all receivers respond from now on.
    pub fn release(&self) {
        self.members.released.send_replace(true);
    }

    /// The number of different deliveries that got a response. The caller can wait for changes.
    pub fn answered(&self) -> watch::Receiver<u64> {
        self.members.answered.subscribe()
    }

    /// The highest load since the last call.
    pub fn lap(&self) -> Most {
        std::mem::take(&mut self.members.seen().most)
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Members {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn come(self: &Arc<Self>, webhook: u32) -> Visit {
        let second = self.watch.seconds() as u64;
        let mut seen = self.seen();
        let load = seen.webhooks.entry(webhook).or_default();
        load.at_once += 1;
        if load.second != second {
            (load.second, load.in_second) = (second, 0);
        }
        load.in_second += 1;
        let now = (load.at_once, load.in_second);
        seen.most.at_once = seen.most.at_once.max(now.0);
        seen.most.in_second = seen.most.in_second.max(now.1);
        Visit {
            members: Arc::clone(self),
            webhook,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(load) = self.members.seen().webhooks.get_mut(&self.webhook) {
            load.at_once -= 1;
        }
    }
}

/// Takes the body although it is not used, because a connection stays open only if the request was read completely.
async fn visit(
    State(members): State<Arc<Members>>,
    Path(webhook): Path<u32>,
    headers: HeaderMap,
    _body: Bytes,
) -> StatusCode {
    let _visit = members.come(webhook);
    if webhook % 2 == 1 {
        let mut released = members.released.subscribe();
        // An error means that the receivers have ended.
        drop(released.wait_for(|released| *released).await);
    }
    let event = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let Some(event) = event.and_then(|id| id.parse().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    if members.seen().answered.insert((event, webhook)) {
        members.answered.send_modify(|answered| *answered += 1);
    }
    StatusCode::OK
}
