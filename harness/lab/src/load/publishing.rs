//! Publishes events at given times, or as fast as responses arrive.
//!
//! No call of the open loop waits for the response to another. Calls to several servers take turns.

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

use tenterhook_harness::realtime::{self, Stopwatch};

use super::caller::{Connection, Requests};
use super::threads::OwnThread;

/// The thread of all callers.
pub const THREAD: &str = "load callers";
/// The thread that starts the calls of the open loop. It sleeps with a precision of 0.1 ms, a runtime only with 1 ms.
pub const PACER: &str = "load pacer";
/// Most concurrent calls of an open loop, because more would run out of sockets. A call that has to wait starts late,
/// and is counted as late.
const CALLS_AT_ONCE: usize = 256;
/// How long a caller waits after a failure. Without a pause the load would measure how fast a server refuses.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// A published event.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Its id.
    pub event: Uuid,
    /// The position in the whole load, from which its company follows.
    pub number: u64,
    /// When its call was planned to start, in seconds on the run's stopwatch.
    pub intended: f64,
    /// When its call got a response.
    pub answered: f64,
}

/// A call that published all its events, in seconds on the run's stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When it was planned to start.
    pub intended: f64,
    /// When it started.
    pub started: f64,
    /// When its response had arrived.
    pub answered: f64,
}

/// The results of all calls.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The published events, with the times of their calls.
    pub events: Vec<Published>,
    /// The successful calls.
    pub calls: Vec<Call>,
    /// The number of failed calls.
    pub failed: u64,
    /// Number of their events.
    pub events_failed: u64,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
}

/// Publishes requests to servers.
pub struct Publisher {
    requests: Requests,
    hosts: Vec<String>,
    batch: u64,
    watch: Stopwatch,
    ledger: Mutex<Ledger>,
    /// Open connections without a current call, by server.
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

    /// Runs this number of callers. Each starts its next call when it has its response, until `until` on the stopwatch
    /// or until `most_events` events.
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

    /// Publishes this number of events at a rate, from `began` on the stopwatch, each call at its planned time.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
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
                    // An error means that the semaphore is closed, which never happens.
                    let _place = places.acquire().await;
                    this.call(number, first..last, intended, &mut Vec::new()).await;
                }));
                first = last;
            }
            // An error means that the receiver no longer waits.
            let _ = done.send(calls);
        };
        thread::Builder::new().name(PACER.to_owned()).spawn(pace)?;
        for call in calls.await.context("the pacer has died")? {
            call.await.expect("a call does not panic and is not aborted");
        }
        Ok(())
    }

    /// Takes the results of all calls so far.
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
        let ids = ids.await.context("the server did not respond")??;
        idle().push(connection);
        Ok(ids)
    }
}
