//! The simulated clock of a remote server, moved over `/sim/…`.
//!
//! Guarantees: receivers see the same time as the server while it calls them, because time moves from one due moment to
//! the next and never past one; everything that a receiver reports about an attempt reaches the server before time
//! moves. Only one program may move the clock: a second one breaks both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::realtime;
use crate::timekeeper::{AttemptName, Timekeeper};

/// The precision with which a server shows its clock.
const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// The clock of a remote server. Clones are the same clock.
#[derive(Clone)]
pub struct RemoteTime(Arc<Inner>);

struct Inner {
    operator: Client,
    now: Mutex<Timestamp>,
    /// The moments at which receivers want to respond, with a number for those that are equal.
    alarms: Mutex<BTreeMap<(Timestamp, u64), Alarm>>,
    words: mpsc::UnboundedSender<Word>,
    moving: tokio::sync::Mutex<()>,
}

/// What to do at the moment, and the waiter to wake afterwards.
struct Alarm {
    act: Box<dyn FnOnce() + Send>,
    ring: oneshot::Sender<()>,
}

/// Reports to the server about attempts and targets, in order.
enum Word {
    Say(Method, Value),
    Flush(oneshot::Sender<anyhow::Result<()>>),
}

impl RemoteTime {
    /// The clock of the server that `operator` calls.
    pub async fn of(operator: Client) -> anyhow::Result<Self> {
        let shown = sim(&operator, Method::GET, "/sim/clock", None).await?;
        let (words, heard) = mpsc::unbounded_channel();
        realtime::spawn(pass_on(operator.clone(), heard));
        Ok(Self(Arc::new(Inner {
            operator,
            now: Mutex::new(moment(&shown, "now")?.context("the response has no time of the clock")?),
            alarms: Mutex::default(),
            words,
            moving: tokio::sync::Mutex::new(()),
        })))
    }

    /// See [`World::advance`](super::World::advance).
    pub async fn advance(&self, by: SignedDuration) -> anyhow::Result<()> {
        ensure!(!by.is_negative(), "time cannot move backwards");
        let _turn = self.0.moving.lock().await;
        let target = self.now().checked_add(by)?;
        let mut due = self.move_to(self.now()).await?;
        loop {
            let rang = self.ring().await?;
            let now = self.now();
            if now >= target {
                if rang {
                    // Moves once more, so that the responses of the woken receivers are settled.
                    due = self.move_to(now).await?;
                    continue;
                }
                return Ok(());
            }
            let next = [due, self.first_alarm()].into_iter().flatten().min();
            // The clock is shown in milliseconds: what seems due already is due within the next millisecond.
            let next = next.map_or(target, |at| at.max(now + MILLISECOND));
            due = self.move_to(next.min(target)).await?;
        }
    }

    /// See [`World::advance_to_next`](super::World::advance_to_next).
    pub async fn advance_to_next(&self) -> anyhow::Result<Timestamp> {
        let due = {
            let _turn = self.0.moving.lock().await;
            self.move_to(self.now()).await?
        };
        if let Some(next) = [due, self.first_alarm()].into_iter().flatten().min() {
            self.advance(next.duration_since(self.now())).await?;
        }
        Ok(self.now())
    }

    /// Moves the server's clock. Returns when something is due there next.
    async fn move_to(&self, at: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        self.flush().await?;
        let by = at.duration_since(self.now());
        // Sets the local time first: a request that arrives while the server works at that moment gets this time.
        *self.lock_now() = at;
        let body = json!({"by": format!("PT{}.{:09}S", by.as_secs(), by.subsec_nanos())});
        let shown = sim(&self.0.operator, Method::POST, "/sim/clock/advance", Some(body)).await?;
        moment(&shown, "nextDueAt")
    }

    /// Wakes the receivers that want to respond now. Returns whether there were any.
    async fn ring(&self) -> anyhow::Result<bool> {
        let now = self.now();
        let due: Vec<Alarm> = {
            let mut alarms = self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner);
            let later = alarms.split_off(&(now, u64::MAX));
            std::mem::replace(&mut *alarms, later).into_values().collect()
        };
        let rang = !due.is_empty();
        let mut rings = Vec::new();
        for Alarm { act, ring } in due {
            act();
            rings.push(ring);
        }
        self.flush().await?;
        for ring in rings {
            // An error means that the receiver has ended.
            let _ = ring.send(());
        }
        Ok(rang)
    }

    fn first_alarm(&self) -> Option<Timestamp> {
        let alarms = self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.first_key_value().map(|((at, _), _)| *at)
    }

    fn say(&self, method: Method, body: Value) {
        // An error means that the runtime is ending, and with it the world.
        let _ = self.0.words.send(Word::Say(method, body));
    }

    /// Waits until all reports have reached the server.
    async fn flush(&self) -> anyhow::Result<()> {
        let (done, all) = oneshot::channel();
        let _ = self.0.words.send(Word::Flush(done));
        all.await.context("the channel to the server's clock has ended")?
    }

    fn lock_now(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timekeeper for RemoteTime {
    fn now(&self) -> Timestamp {
        *self.lock_now()
    }

    fn stall(&self, attempt: &AttemptName) {
        self.say(Method::POST, named(attempt));
    }

    fn resume(&self, attempt: &AttemptName) {
        self.say(Method::DELETE, named(attempt));
    }

    fn stall_target(&self, target: &str) {
        self.say(Method::POST, json!({"target": target}));
    }

    fn resume_target(&self, target: &str) {
        self.say(Method::DELETE, json!({"target": target}));
    }

    fn after(&self, wait: SignedDuration, act: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (ring, rung) = oneshot::channel();
        let until = self.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let mut alarms = self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let place = alarms.range((until, 0)..=(until, u64::MAX)).count() as u64;
        alarms.insert((until, place), Alarm { act, ring });
        Box::pin(async move { drop(rung.await) })
    }

    fn delay(&self, attempt: &AttemptName, wait: SignedDuration) -> BoxFuture<'static, ()> {
        let (time, resumed) = (self.clone(), attempt.clone());
        let woken = self.after(wait, Box::new(move || time.resume(&resumed)));
        self.stall(attempt);
        woken
    }
}

fn named(attempt: &AttemptName) -> Value {
    json!({"messageId": attempt.event, "webhook": attempt.webhook, "attempt": attempt.attempt})
}

/// Sends reports to the server one by one. The next flush returns the first failure.
async fn pass_on(operator: Client, mut heard: mpsc::UnboundedReceiver<Word>) {
    let mut failed = None;
    while let Some(word) = heard.recv().await {
        match word {
            Word::Say(method, body) => {
                if let Err(error) = sim(&operator, method, "/sim/stalled", Some(body)).await {
                    failed.get_or_insert(error);
                }
            }
            Word::Flush(done) => {
                // An error means that the caller no longer waits.
                let _ = done.send(failed.take().map_or(Ok(()), Err));
            }
        }
    }
}

async fn sim(operator: &Client, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let (status, answer) = operator.call(method, path, body).await?;
    match status {
        200 => Ok(answer),
        404 => bail!("{path} does not exist: the server must run with `--clock simulated`"),
        401 | 403 => {
            bail!("{path} refused the operator's token ({status}): is it signed with the server's key?")
        }
        _ => bail!("{path} answered {status}: {answer}"),
    }
}

fn moment(shown: &Value, field: &str) -> anyhow::Result<Option<Timestamp>> {
    match &shown[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(
            text.parse().with_context(|| format!("{field} is {text:?}"))?,
        )),
        other => bail!("{field} is {other}, which is not a time"),
    }
}
