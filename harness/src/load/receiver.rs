//! A receiver that only dates what arrives, so that it is never what limits a load.
//!
//! Promises an answer 200 on a connection that stays open, and the moment of each delivery's first arrival. Keeps no
//! bodies and checks no signatures: `crate::receiver` does.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::realtime::{self, Stopwatch};

/// A delivery as its headers name it: the event's id and the webhook's number.
pub type DeliveryName = (String, String);

/// When a delivery arrived, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Seconds on the run's stopwatch, of the first time.
    pub first: f64,
    /// How many times.
    pub count: u64,
}

/// A running receiver; it ends when dropped.
pub struct DatingReceiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

struct Seen {
    watch: Stopwatch,
    arrivals: Mutex<HashMap<DeliveryName, Arrival>>,
    different: watch::Sender<u64>,
}

impl DatingReceiver {
    /// Listens on a free port of loopback and dates by `watch`.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(watch: Stopwatch) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            watch,
            arrivals: Mutex::default(),
            different: watch::Sender::new(0),
        });
        let app = Router::new().fallback(date).with_state(Arc::clone(&seen));
        // Without this the kernel may hold an answer back for 40 ms, which would be measured as the server's.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serving = realtime::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self {
            address,
            seen,
            serving,
        })
    }

    /// The URL of a webhook; each number has another path.
    pub fn url(&self, number: u32) -> String {
        format!("http://{}/{number}", self.address)
    }

    /// How many different deliveries have arrived, and a way to wait for more.
    pub fn different(&self) -> watch::Receiver<u64> {
        self.seen.different.subscribe()
    }

    /// A delivery's arrival, if it came.
    pub fn arrival(&self, delivery: &DeliveryName) -> Option<Arrival> {
        self.seen.arrivals().get(delivery).copied()
    }
}

impl Drop for DatingReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Seen {
    fn arrivals(&self) -> MutexGuard<'_, HashMap<DeliveryName, Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the body although nobody reads it: a connection is kept only when the request was taken in full.
async fn date(State(seen): State<Arc<Seen>>, headers: HeaderMap, _body: Bytes) -> StatusCode {
    let at = seen.watch.seconds();
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let delivery = (header("webhook-id"), header("tenterhook-webhook"));
    let mut arrivals = seen.arrivals();
    let arrival = arrivals
        .entry(delivery)
        .or_insert(Arrival { first: at, count: 0 });
    arrival.count += 1;
    if arrival.count == 1 {
        seen.different.send_modify(|different| *different += 1);
    }
    StatusCode::OK
}
