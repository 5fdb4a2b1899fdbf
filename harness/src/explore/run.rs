//! Plays one random history: takes the steps of its plan in a world, and checks after every step.
//!
//! A step that is not possible does nothing. The first disagreement between world and policy ends the history, with the
//! expected and the observed state. Only the world's time is waited for.

mod checks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::answered::Answered;
use super::coverage::Coverage;
use super::plan::{APPS, Behaviour, Plan, Step, USERS, Who};
use super::shadow::Shadow;
use crate::client::{Client, NewEvent, NewWebhook};
use crate::model::{Numbers, RemoveReason, Standing};
use crate::receiver::Receiver;
use crate::reply::{Answer, Reply, Script};
use crate::scenario::{Failure, Play, refused, same};
use crate::world::World;

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
    /// Starts a history in an empty company.
    pub async fn open(world: &'w mut World) -> Result<Self, Failure> {
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

    // Steps

    fn caller(&self, who: Who) -> Client {
        let company = self.world.company(1);
        match who {
            Who::User(user) => company.user(user),
            Who::App(user, app) => company.app(APPS[app]).acting_for(user),
        }
    }

    /// The nth webhook among those that satisfy a condition, wrapping around.
    fn pick(&self, number: usize, fits: impl Fn(&Shadow) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.shadows.len())
            .filter(|place| fits(&self.shadows[*place]))
            .collect();
        fitting.get(number.checked_rem(fitting.len())?).copied()
    }

    async fn create(&mut self, who: Who) -> Play {
        if self.shadows.iter().filter(|shadow| shadow.is_live()).count() >= WEBHOOKS {
            return Ok(());
        }
        let created = self
            .caller(who)
            .create_webhook(NewWebhook::to(&self.receiver.url()))
            .await;
        if let Who::App(user, app) = who
            && !self.installed.contains(&(user, app))
        {
            self.coverage.rule("W8");
            return refused(
                "creation through an app that is not installed",
                created,
                "APP_NOT_INSTALLED",
            );
        }
        let made = created?.webhook;
        let kind = if matches!(who, Who::App(..)) {
            "APPLICATION"
        } else {
            "GENERAL"
        };
        self.coverage.rule("W1");
        same("the type of a new webhook", made.kind.as_str(), kind)?;
        self.shadows.push(Shadow::new(made, who));
        Ok(())
    }

    async fn delete(&mut self, webhook: usize) -> Play {
        let Some(place) = self.pick(webhook, Shadow::is_live) else {
            return Ok(());
        };
        let (who, id) = (self.shadows[place].who, self.shadows[place].made.id.clone());
        self.caller(who).delete_webhook(&id).await?;
        let reason = match who {
            Who::User(_) => RemoveReason::DeletedByUser,
            Who::App(..) => RemoveReason::DeletedByApp,
        };
        self.remove(place, reason)?;
        self.coverage.transition("deleted");
        Ok(())
    }

    fn remove(&mut self, place: usize, reason: RemoveReason) -> Play {
        self.listen()?;
        let (now, numbers) = (self.world.now(), self.numbers.clone());
        let shadow = &mut self.shadows[place];
        shadow.advance(now, &numbers, &mut self.coverage);
        shadow.act(|state| {
            state.remove(now, reason, &numbers);
        });
        shadow.silent = true;
        Ok(())
    }

    async fn pause(&mut self, webhook: usize) -> Play {
        let live = |shadow: &Shadow| shadow.is_live() && !shadow.silent;
        let Some(place) = self.pick(webhook, live) else {
            return Ok(());
        };
        self.change(place, "pauseWebhook").await?;
        let (now, numbers) = (self.world.now(), self.numbers.clone());
        let shadow = &mut self.shadows[place];
        shadow.advance(now, &numbers, &mut self.coverage);
        shadow.act(|state| {
            state.pause(now, &numbers);
        });
        shadow.silent = true;
        self.coverage.transition("paused");
        self.coverage.rule("W13");
        Ok(())
    }

    async fn resume(&mut self, webhook: usize) -> Play {
        let paused = |shadow: &Shadow| {
            shadow
                .states
                .iter()
                .all(|state| state.standing == Standing::Paused)
        };
        let Some(place) = self.pick(webhook, paused) else {
            return Ok(());
        };
        self.change(place, "resumeWebhook").await?;
        let (now, numbers) = (self.world.now(), self.numbers.clone());
        let shadow = &mut self.shadows[place];
        shadow.advance(now, &numbers, &mut self.coverage);
        shadow.act(|state| {
            state.resume(now, &numbers);
        });
        shadow.silent = false;
        shadow.calm_since = now;
        self.coverage.transition("resumed");
        Ok(())
    }

    async fn restore(&mut self, webhook: usize) -> Play {
        let (now, numbers) = (self.world.now(), self.numbers.clone());
        let restorable = |shadow: &Shadow| {
            shadow.on_the_wire.is_empty()
                && shadow
                    .states
                    .iter()
                    .all(|state| state.clone().restore(now, &numbers))
                && match shadow.who {
                    Who::User(_) => true,
                    Who::App(user, app) => self.installed.contains(&(user, app)),
                }
        };
        let Some(place) = self.pick(webhook, restorable) else {
            return Ok(());
        };
        self.change(place, "restoreWebhook").await?;
        let shadow = &mut self.shadows[place];
        shadow.act(|state| {
            state.restore(now, &numbers);
        });
        shadow.silent = false;
        shadow.calm_since = now;
        shadow.restored_at = Some(now);
        self.coverage.transition("restored");
        self.coverage.rule("W12");
        Ok(())
    }

    async fn change(&mut self, place: usize, mutation: &str) -> Play {
        let shadow = &self.shadows[place];
        let input = json!({"id": shadow.made.id});
        self.caller(shadow.who)
            .mutate(mutation, input, "webhook { id }")
            .await?;
        self.listen()
    }

    async fn behave(&mut self, webhook: usize, behaviour: Behaviour) -> Play {
        let Some(place) = self.pick(webhook, |_| true) else {
            return Ok(());
        };
        let number = self.shadows[place].made.number.clone();
        let mut receiver_state = self.receiver_state.lock().unwrap_or_else(PoisonError::into_inner);
        receiver_state.behaviours.insert(number, behaviour);
        Ok(())
    }

    async fn publish(&mut self, count: usize, audience: Option<u64>) -> Play {
        let now = self.world.now();
        self.send_off(count, audience, now).await?;
        self.world.settle().await;
        Ok(())
    }

    /// Publishes events, and records which webhooks must get them (E2, E3).
    async fn send_off(&mut self, count: usize, audience: Option<u64>, now: Timestamp) -> Play {
        let company = self.world.company(1);
        let mut events = vec![company.deal_changed(); count];
        if let Some(user) = audience {
            let permit = |event: NewEvent| event.with("permittedUserIds", json!([user.to_string()]));
            events = events.into_iter().map(permit).collect();
        }
        let server = usize::try_from(self.published).unwrap_or(0) % self.world.servers().max(1);
        let platform = self
            .world
            .caller(server, &crate::token::Claims::of_scope("platform"));
        let publication = platform.publish(&events).await?;
        self.published += count as u64;
        let owed =
            |shadow: &&mut Shadow| shadow.is_live() && audience.is_none_or(|user| shadow.user() == user);
        let mut owing = 0;
        for shadow in self.shadows.iter_mut().filter(owed) {
            owing += 1;
            for published in &publication.events {
                shadow.owed.insert(published.event.event_id.clone(), now);
            }
        }
        self.coverage.rule("E2");
        let counts: Vec<u32> = publication
            .events
            .iter()
            .map(|published| published.delivery_count)
            .collect();
        same("deliveries of each event", counts, vec![owing; count])
    }

    async fn uninstall(&mut self, user: u64, app: usize) -> Play {
        if !self.installed.remove(&(user, app)) {
            return Ok(());
        }
        let of_app = |shadow: &Shadow| shadow.is_live() && shadow.who == Who::App(user, app);
        let gone: Vec<usize> = (0..self.shadows.len())
            .filter(|place| of_app(&self.shadows[*place]))
            .collect();
        let removed = self.world.company(1).app(APPS[app]).uninstall(user).await?;
        same("webhooks removed with the app", removed, gone.len() as u64)?;
        for place in gone {
            self.remove(place, RemoveReason::AppUninstalled)?;
        }
        self.coverage.transition("uninstalled");
        self.coverage.rule("W8");
        Ok(())
    }

    /// Crashes all servers. Servers that start later repeat the attempts that hung (D6).
    async fn crash(&mut self, down: SignedDuration) -> Play {
        if !self.world.owns_servers() {
            return Ok(());
        }
        let servers = self.world.servers();
        self.world.crash().await;
        // Records what the crashed servers sent before new servers start, because requests do not show which server
        // sent them.
        self.receiver.until_hung_up().await;
        self.listen()?;
        for shadow in &mut self.shadows {
            // Attempts with a response at this moment stay: either their result was stored, or they are repeated. Both
            // ways they end now.
            shadow.on_the_wire.retain(|_, attempt| attempt.status.is_some());
            shadow.cut_off.extend(shadow.on_the_wire.keys().cloned());
        }
        self.world.advance(down).await;
        for _ in 0..servers {
            self.world.launch().await;
        }
        self.coverage.rule("D6");
        self.coverage.rule("B6");
        self.coverage.rule("E3");
        Ok(())
    }
}
