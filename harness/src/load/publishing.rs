//! Publishes: at given times, or as fast as answers come.
//!
//! Promises that no call of the open loop waits for another's answer. Calls to several servers take turns.

use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::caller::{Connection, Requests};
use super::threads::OwnThread;
use crate::realtime::{self, Stopwatch};

/// The thread of all callers.
pub const THREAD: &str = "load callers";
/// The thread that begins the open loop's calls: it sleeps to the tenth of a millisecond, a runtime to a whole one.
pub const PACER: &str = "load pacer";
/// Calls of an open loop on the wire at once; more would run out of sockets. One that waits for its turn starts late and
/// is counted.
const CALLS_AT_ONCE: usize = 256;
/// How long a caller waits after a failure: at once would measure how fast a server refuses.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// A published event.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Its id.
    pub event: Uuid,
    /// Its place in the whole load, which tells its company.
    pub number: u64,
    /// When its call was to begin, in seconds on the run's stopwatch.
    pub intended: f64,
    /// When its call was answered.
    pub answered: f64,
}

/// A call that published all its events, in seconds on the run's stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When it was to begin.
    pub intended: f64,
    /// When it did.
    pub started: f64,
    /// When its answer was there.
    pub answered: f64,
}

/// What became of all calls.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The events.
    pub events: Vec<Published>,
    /// The calls that succeeded.
    pub calls: Vec<Call>,
    /// Calls that did not.
    pub failed: u64,
    /// Events of these.
    pub events_failed: u64,
    /// Why the first of these did not.
    pub first_failure: Option<String>,
}

/// Who publishes what, to which servers.
pub struct Publisher {
    requests: Requests,
    hosts: Vec<String>,
    batch: u64,
    watch: Stopwatch,
    ledger: Mutex<Ledger>,
    /// Open connections that no call is on, by server.
    idle: Vec<Mutex<Vec<Connection>>>,
}

impl Publisher {
    /// Publishes in calls of `batch` events to servers at these addresses, such as `127.0.0.1:8080`.
    pub fn new(requests: Requests, hosts: Vec<String>, batch: u32, watch: Stopwatch) -> Self {
        Self {
            requests,
            batch: batch.into(),
            watch,
            ledger: Mutex::default(),
            idle: hosts.iter().map(|_| Mutex::default()).collect(),
            hosts,
        }
    }

    /// So many callers, each of which begins its next call once it has its answer, until the time on the stopwatch or so
    /// many events.
    pub async fn closed_loop(
        self: &Arc<Self>,
        thread: &OwnThread,
        callers: u32,
        until: f64,
        most_events: u64,
    ) {
        let next = Arc::new(AtomicU64::new(0));
        let callers: Vec<JoinHandle<()>> = (0..callers as usize)
            .map(|caller| {
                let (this, next) = (Arc::clone(self), Arc::clone(&next));
                thread.spawn(async move {
                    let mut request = Vec::new();
                    while this.watch.seconds() < until {
                        let first = next.fetch_add(this.batch, Ordering::Relaxed);
                        if first + this.batch > most_events {
                            return;
                        }
                        let intended = this.watch.seconds();
                        this.call(caller, first..first + this.batch, intended, &mut request)
                            .await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("a caller does not panic and is not aborted");
        }
    }

    /// So many events at a rate from `began` on the stopwatch, each call at its time.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub async fn open_loop(
        self: &Arc<Self>,
        thread: &OwnThread,
        rate: f64,
        began: f64,
        events: u64,
    ) -> anyhow::Result<()> {
        let places = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        let (this, handle) = (Arc::clone(self), thread.handle().clone());
        let (done, calls) = tokio::sync::oneshot::channel();
        let pace = move || {
            let mut calls: Vec<JoinHandle<()>> = Vec::new();
            let mut first = 0;
            while first < events {
                let last = (first + this.batch).min(events);
                let intended = began + first as f64 / rate;
                realtime::block_until(this.watch, intended);
                let (this, places) = (Arc::clone(&this), Arc::clone(&places));
                let number = calls.len();
                calls.push(handle.spawn(async move {
                    // An error means that the semaphore is closed, which nobody does.
                    let _place = places.acquire().await;
                    this.call(number, first..last, intended, &mut Vec::new()).await;
                }));
                first = last;
            }
            // An error means that nobody waits any more.
            let _ = done.send(calls);
        };
        thread::Builder::new().name(PACER.to_owned()).spawn(pace)?;
        for call in calls.await.context("the pacer has died")? {
            call.await.expect("a call does not panic and is not aborted");
        }
        Ok(())
    }

    /// What became of all calls so far; they are forgotten here.
    pub fn take(&self) -> Ledger {
        mem::take(&mut *self.ledger())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, number: usize, events: Range<u64>, intended: f64, request: &mut Vec<u8>) {
        let server = number % self.hosts.len();
        let started = self.watch.seconds();
        let ids = self.publish(server, events.clone(), request).await;
        let answered = self.watch.seconds();
        let failed = {
            let mut ledger = self.ledger();
            match ids {
                Ok(ids) => {
                    ledger.calls.push(Call {
                        intended,
                        started,
                        answered,
                    });
                    ledger
                        .events
                        .extend(ids.into_iter().zip(events).map(|(event, number)| Published {
                            event,
                            number,
                            intended,
                            answered,
                        }));
                    false
                }
                Err(error) => {
                    ledger.failed += 1;
                    ledger.events_failed += events.end - events.start;
                    ledger.first_failure.get_or_insert_with(|| format!("{error:#}"));
                    true
                }
            }
        };
        if failed {
            realtime::pause(AFTER_FAILURE).await;
        }
    }

    async fn publish(
        &self,
        server: usize,
        events: Range<u64>,
        request: &mut Vec<u8>,
    ) -> anyhow::Result<Vec<Uuid>> {
        let idle = || self.idle[server].lock().unwrap_or_else(PoisonError::into_inner);
        let open = idle().pop();
        let host = &self.hosts[server];
        let mut connection = match open {
            Some(connection) => connection,
            None => Connection::open(host).await?,
        };
        let count = (events.end - events.start) as usize;
        self.requests.write(host, events, request);
        let ids = realtime::within(realtime::PATIENCE, connection.publish(request, count));
        let ids = ids.await.context("the server did not answer")??;
        idle().push(connection);
        Ok(ids)
    }
}
