//! The steps of a history, each with its effect on the expected state.

use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Run, WEBHOOKS};
use crate::client::{Client, NewEvent, NewWebhook};
use crate::explore::plan::{APPS, Behaviour, Who};
use crate::explore::shadow::Shadow;
use crate::model::{RemoveReason, Standing};
use crate::scenario::{Play, refused, same};
use crate::token::Claims;

impl Run<'_> {
    pub(super) fn caller(&self, who: Who) -> Client {
        let company = self.world.company(1);
        match who {
            Who::User(user) => company.user(user),
            Who::App(user, app) => company.app(APPS[app]).acting_for(user),
        }
    }

    /// The nth webhook among those that satisfy a condition, wrapping around.
    pub(super) fn pick(&self, number: usize, fits: impl Fn(&Shadow) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.shadows.len())
            .filter(|place| fits(&self.shadows[*place]))
            .collect();
        fitting.get(number.checked_rem(fitting.len())?).copied()
    }

    pub(super) async fn create(&mut self, who: Who) -> Play {
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

    pub(super) async fn delete(&mut self, webhook: usize) -> Play {
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

    pub(super) fn remove(&mut self, place: usize, reason: RemoveReason) -> Play {
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

    pub(super) async fn pause(&mut self, webhook: usize) -> Play {
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

    pub(super) async fn resume(&mut self, webhook: usize) -> Play {
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

    pub(super) async fn restore(&mut self, webhook: usize) -> Play {
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

    pub(super) async fn change(&mut self, place: usize, mutation: &str) -> Play {
        let shadow = &self.shadows[place];
        let input = json!({"id": shadow.made.id});
        self.caller(shadow.who)
            .mutate(mutation, input, "webhook { id }")
            .await?;
        self.listen()
    }

    pub(super) async fn behave(&mut self, webhook: usize, behaviour: Behaviour) -> Play {
        let Some(place) = self.pick(webhook, |_| true) else {
            return Ok(());
        };
        let number = self.shadows[place].made.number.clone();
        let mut receiver_state = self.receiver_state.lock().unwrap_or_else(PoisonError::into_inner);
        receiver_state.behaviours.insert(number, behaviour);
        Ok(())
    }

    pub(super) async fn publish(&mut self, count: usize, audience: Option<u64>) -> Play {
        let now = self.world.now();
        self.send_off(count, audience, now).await?;
        self.world.settle().await;
        Ok(())
    }

    /// Publishes events, and records which webhooks must get them (E2, E3).
    pub(super) async fn send_off(&mut self, count: usize, audience: Option<u64>, now: Timestamp) -> Play {
        let company = self.world.company(1);
        let mut events = vec![company.deal_changed(); count];
        if let Some(user) = audience {
            let permit = |event: NewEvent| event.with("permittedUserIds", json!([user.to_string()]));
            events = events.into_iter().map(permit).collect();
        }
        let server = usize::try_from(self.published).unwrap_or(0) % self.world.servers().max(1);
        let platform = self.world.caller(server, &Claims::of_scope("platform"));
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

    pub(super) async fn uninstall(&mut self, user: u64, app: usize) -> Play {
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
    pub(super) async fn crash(&mut self, down: SignedDuration) -> Play {
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
