//! The steps of a random history, chosen in advance by its seed.
//!
//! A seed gives the same steps on every machine and in every release. Every step is valid in any history: it names a
//! webhook by a number that wraps around, and does nothing if there is no suitable webhook. So any part of a plan is a
//! plan, and a failing plan can be shrunk.

use std::fmt;

use jiff::SignedDuration;

use crate::rng::Rng;
use crate::world::AppSees;

/// The steps of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed that chose the steps.
    pub seed: u64,
    /// Number of servers on one database.
    pub servers: usize,
    /// What apps see besides their own webhooks, on servers of this process (W4).
    pub app_sees: AppSees,
    /// The steps to take, each with its position in the whole plan.
    pub steps: Vec<(usize, Step)>,
}

/// The creator of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A user with a user token.
    User(u64),
    /// An app, for a user.
    App(u64, usize),
}

/// How the receiver responds to requests for one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Responds with 200.
    Succeed,
    /// Responds with this status, which is not a success.
    Fail(u16),
    /// Never responds.
    Hang,
    /// Responds to first tries with 500 and to retries with 200.
    FailFirstTries,
    /// Responds to first tries with 200 and to retries with 500.
    FailRetries,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A caller creates a webhook.
    Create(Who),
    /// The creator of a webhook deletes it.
    Delete(usize),
    /// A webhook is paused.
    Pause(usize),
    /// A webhook is resumed.
    Resume(usize),
    /// A webhook is restored.
    Restore(usize),
    /// Events are published, visible to everyone or to one user.
    Publish(usize, Option<u64>),
    /// The receiver of a webhook changes its behaviour.
    Behave(usize, Behaviour),
    /// Time passes.
    Advance(SignedDuration),
    /// Time passes until the next task of a server is due.
    Next,
    /// A user uninstalls an app.
    Uninstall(u64, usize),
    /// A user installs an app.
    Install(u64, usize),
    /// All servers crash, and start again after this time.
    Crash(SignedDuration),
    /// Events are published, and all servers crash as soon as the call is accepted. One starts again at once.
    PublishAndCrash(usize),
}

/// The users of a history.
pub const USERS: [u64; 3] = [1, 2, 3];
/// The apps of a history.
pub const APPS: [&str; 2] = ["crm", "mail"];

impl Plan {
    /// Chooses `length` steps from a seed.
    pub fn new(seed: u64, length: usize) -> Self {
        let mut rng = Rng::new(seed);
        let servers = if rng.below(4) == 0 { 2 } else { 1 };
        let opening = [
            Step::Create(Who::User(USERS[0])),
            Step::Create(Who::App(USERS[0], 0)),
            Step::Behave(0, Behaviour::Fail(500)),
        ];
        let steps = opening
            .into_iter()
            .chain(std::iter::from_fn(|| Some(step(&mut rng))));
        Self {
            seed,
            servers,
            // By the seed itself, so that the steps of a seed stay the same.
            app_sees: if seed.is_multiple_of(2) {
                AppSees::Application
            } else {
                AppSees::OwnGeneral
            },
            steps: steps.take(length).enumerate().collect(),
        }
    }

    /// The same plan, reduced to the steps at these positions.
    pub fn only(&self, places: &[usize]) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .filter(|(place, _)| places.contains(place))
                .copied()
                .collect(),
            ..self.clone()
        }
    }

    /// The same plan without `count` of its remaining steps, beginning with the nth.
    pub fn without(&self, nth: usize, count: usize) -> Self {
        let mut steps = self.steps.clone();
        let end = (nth + count).min(steps.len());
        steps.drain(nth.min(end)..end);
        Self {
            steps,
            ..self.clone()
        }
    }

    /// The positions of the remaining steps.
    pub fn places(&self) -> Vec<usize> {
        self.steps.iter().map(|(place, _)| *place).collect()
    }
}

fn step(rng: &mut Rng) -> Step {
    let webhook = rng.below(64);
    let user = USERS[rng.below(USERS.len())];
    let app = rng.below(APPS.len());
    match rng.below(100) {
        0..=3 => Step::Create(if rng.below(3) == 0 {
            Who::App(user, app)
        } else {
            Who::User(user)
        }),
        4 => Step::Delete(webhook),
        5 => Step::Pause(webhook),
        6..=8 => Step::Resume(webhook),
        9..=10 => Step::Restore(webhook),
        11..=44 => {
            let audience = (rng.below(4) == 0).then_some(user);
            Step::Publish(1 + rng.below(4), audience)
        }
        45..=56 => Step::Behave(webhook, behaviour(rng)),
        57..=82 => Step::Advance(span(rng)),
        83..=94 => Step::Next,
        95 => Step::Uninstall(user, app),
        96..=98 => Step::Install(user, app),
        _ if rng.below(2) == 0 => Step::Crash(span(rng)),
        _ => Step::PublishAndCrash(1 + rng.below(3)),
    }
}

fn behaviour(rng: &mut Rng) -> Behaviour {
    match rng.below(12) {
        0..=2 => Behaviour::Succeed,
        3..=7 => Behaviour::Fail([500, 404, 410, 302, 429][rng.below(5)]),
        8 => Behaviour::Hang,
        9..=10 => Behaviour::FailFirstTries,
        _ => Behaviour::FailRetries,
    }
}

/// A span of the policy, exact or a millisecond less or more, or one in between.
fn span(rng: &mut Rng) -> SignedDuration {
    let seconds = [1, 3, 10, 30, 150, 60, 600, 1_800, 3_600, 14_400, 43_200, 86_400];
    let millis = [-1, 0, 0, 0, 1, 137];
    let span = SignedDuration::from_secs(seconds[rng.below(seconds.len())]);
    span + SignedDuration::from_millis(millis[rng.below(millis.len())])
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(Who::User(user)) => write!(f, "user {user} creates a webhook"),
            Self::Create(Who::App(user, app)) => {
                write!(f, "app {} creates a webhook for user {user}", APPS[*app])
            }
            Self::Delete(webhook) => write!(f, "delete webhook #{webhook}"),
            Self::Pause(webhook) => write!(f, "pause webhook #{webhook}"),
            Self::Resume(webhook) => write!(f, "resume webhook #{webhook}"),
            Self::Restore(webhook) => write!(f, "restore webhook #{webhook}"),
            Self::Publish(count, None) => write!(f, "publish {count} for everyone"),
            Self::Publish(count, Some(user)) => write!(f, "publish {count} for user {user} only"),
            Self::Behave(webhook, behaviour) => write!(f, "the receiver of #{webhook}: {behaviour:?}"),
            Self::Advance(by) => write!(f, "advance {by:#}"),
            Self::Next => f.write_str("advance to what is due next"),
            Self::Uninstall(user, app) => write!(f, "user {user} uninstalls {}", APPS[*app]),
            Self::Install(user, app) => write!(f, "user {user} installs {}", APPS[*app]),
            Self::Crash(down) => write!(f, "all servers crash, and start again after {down:#}"),
            Self::PublishAndCrash(count) => write!(f, "publish {count}, and crash as they are accepted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_repeatable_and_depend_on_the_seed() {
        assert_eq!(Plan::new(7, 300), Plan::new(7, 300));
        assert_ne!(Plan::new(7, 300).steps, Plan::new(8, 300).steps);
    }

    #[test]
    fn a_part_of_a_plan_keeps_its_places() {
        let part = Plan::new(1, 50).only(&[3, 17, 23, 31, 99]);
        assert_eq!(part.places(), [3, 17, 23, 31]);
        assert_eq!(part.without(1, 2).places(), [3, 31]);
        assert_eq!(part.without(3, 2).places(), [3, 17, 23]);
    }
}
