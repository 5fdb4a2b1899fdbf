//! Plays one random history: takes the steps of its plan in a world, and checks after every step.
//!
//! A step that is not possible does nothing. The first disagreement between world and policy ends the history, with the
//! expected and the observed state. Only the world's time is waited for.

mod checks;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::answered::Answered;
use super::coverage::Coverage;
use super::plan::{APPS, Behaviour, Plan, Step, USERS};
use super::shadow::Shadow;
use crate::model::Numbers;
use crate::receiver::Receiver;
use crate::reply::{Answer, Reply, Script};
use crate::scenario::{Failure, Play};
use crate::world::{AppSees, World};

/// Most webhooks at a time: enough for every kind, few enough to check all after every step.
const WEBHOOKS: usize = 6;
/// Lists and limits are checked after every `LISTS_EVERY` steps.
const LISTS_EVERY: usize = 40;

/// A history that is being played.
pub struct Run<'w> {
    world: &'w mut World,
    numbers: Numbers,
    receiver: Receiver,
    receiver_state: Arc<Mutex<ReceiverState>>,
    heard: usize,
    shadows: Vec<Shadow>,
    installed: BTreeSet<(u64, usize)>,
    app_sees: AppSees,
    published: u64,
    /// The transitions and rules that were exercised.
    pub coverage: Coverage,
}

/// How the receiver behaves, and the requests that it got.
#[derive(Default)]
struct ReceiverState {
    behaviours: HashMap<String, Behaviour>,
    answered: Vec<Answered>,
}

impl<'w> Run<'w> {
    /// Starts a history in an empty company, on servers where apps see this much (W4).
    pub async fn open(world: &'w mut World, app_sees: AppSees) -> Result<Self, Failure> {
        let receiver_state: Arc<Mutex<ReceiverState>> = Arc::default();
        let acting = Arc::clone(&receiver_state);
        let receiver = world
            .receiver(Script::new(move |arrival, _| {
                let mut receiver_state = acting.lock().unwrap_or_else(PoisonError::into_inner);
                let behaviour = receiver_state.behaviours.get(arrival.webhook()).copied();
                let status = match behaviour.unwrap_or(Behaviour::Succeed) {
                    Behaviour::Succeed => Some(200),
                    Behaviour::Fail(status) => Some(status),
                    Behaviour::Hang => None,
                    Behaviour::FailFirstTries => Some(if arrival.attempt() == 1 { 500 } else { 200 }),
                    Behaviour::FailRetries => Some(if arrival.attempt() == 1 { 200 } else { 500 }),
                };
                receiver_state.answered.push(Answered {
                    at: arrival.at,
                    webhook: arrival.webhook().to_owned(),
                    event: arrival.event().to_owned(),
                    number: arrival.attempt(),
                    status,
                });
                status.map_or(Answer::Hang, |status| Answer::Reply(Reply::status(status)))
            }))
            .await;
        for app in APPS {
            world.company(1).app(app).install(USERS[0]).await?;
        }
        Ok(Self {
            world,
            numbers: Numbers::default(),
            receiver,
            receiver_state,
            heard: 0,
            shadows: Vec::new(),
            installed: (0..APPS.len()).map(|app| (USERS[0], app)).collect(),
            app_sees,
            published: 0,
            coverage: Coverage::default(),
        })
    }

    /// Takes every step of the plan. Checks after each step and at the end.
    pub async fn play(&mut self, plan: &Plan) -> Result<(), (usize, Failure)> {
        for (nth, (place, step)) in plan.steps.iter().enumerate() {
            self.take(*step).await.map_err(|failure| (*place, failure))?;
            if matches!(step, Step::Behave(..)) {
                // The new behaviour of a receiver has no effect before the next request.
                continue;
            }
            self.look(nth % LISTS_EVERY == 0)
                .await
                .map_err(|failure| (*place, failure))?;
        }
        let last = plan.steps.last().map_or(0, |(place, _)| *place);
        self.account().await.map_err(|failure| (last, failure))
    }

    /// The requests of the history, without ids and sorted within an instant. Equal for equal histories.
    pub fn digest(&self) -> Vec<String> {
        let name = |number: &str| {
            self.shadows
                .iter()
                .position(|shadow| shadow.made.number == number)
        };
        let mut events: BTreeMap<&str, usize> = BTreeMap::new();
        let receiver_state = self.receiver_state.lock().unwrap_or_else(PoisonError::into_inner);
        let began = self.world.now() - self.world.age();
        let mut lines: Vec<(Timestamp, String)> = Vec::new();
        for answered in &receiver_state.answered {
            let next = events.len();
            let event = *events.entry(&answered.event).or_insert(next);
            let line = format!(
                "{:#} webhook {:?} event {event} attempt {} {:?}",
                answered.at.duration_since(began),
                name(&answered.webhook),
                answered.number,
                answered.status
            );
            lines.push((answered.at, line));
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    async fn take(&mut self, step: Step) -> Play {
        match step {
            Step::Create(who) => self.create(who).await,
            Step::Delete(webhook) => self.delete(webhook).await,
            Step::Pause(webhook) => self.pause(webhook).await,
            Step::Resume(webhook) => self.resume(webhook).await,
            Step::Restore(webhook) => self.restore(webhook).await,
            Step::Publish(count, audience) => self.publish(count, audience).await,
            Step::Behave(webhook, behaviour) => self.behave(webhook, behaviour).await,
            Step::Advance(by) => {
                self.world.advance(by).await;
                Ok(())
            }
            Step::Next => {
                // If nothing is due, nothing happens: a history need not cover long idle times.
                self.world.advance_to_next().await;
                Ok(())
            }
            Step::Uninstall(user, app) => self.uninstall(user, app).await,
            Step::Install(user, app) => {
                self.world.company(1).app(APPS[app]).install(user).await?;
                self.installed.insert((user, app));
                Ok(())
            }
            Step::Crash(down) => self.crash(down).await,
            Step::PublishAndCrash(count) => {
                let now = self.world.now();
                self.send_off(count, None, now).await?;
                self.crash(SignedDuration::ZERO).await
            }
        }
    }
}
