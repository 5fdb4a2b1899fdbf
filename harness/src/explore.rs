//! Random histories, checked step by step against the reference model.
//!
//! Promises that a seed makes the same steps everywhere, that a failure is shrunk to fewer steps that still fail, and
//! that what was exercised is counted. Does not promise the smallest script: a shrunk one cannot lose any single step.
//! What a server does within one instant of simulated time has no order, so two runs of a seed may differ there; the
//! checks allow exactly that.

mod coverage;
mod mirror;
mod plan;
mod story;

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _, stream};

pub use self::coverage::Coverage;
pub use self::plan::{Plan, Step};
use self::story::Story;
use crate::run::Breach;
use crate::scenario::{Failure, message};
use crate::world::{Target, World};

/// Histories at once in process.
const SIDE_BY_SIDE: usize = 6;
/// How often a failure is tried again with fewer steps.
const SHRINKS: usize = 300;
/// How much of what receivers heard a failure shows: several webhooks' retries and a burst.
const HEARD: usize = 60;
/// The fewest steps of a history that says something.
pub const STEPS: usize = 200;

/// A history that broke a promise.
#[derive(Debug, Clone)]
pub struct Found {
    /// The steps that are left after shrinking.
    pub plan: Plan,
    /// The place of the step after which it was seen.
    pub at: usize,
    /// What was broken.
    pub breach: Breach,
    /// The last that receivers heard before it.
    pub heard: Vec<String>,
}

impl Found {
    /// Without the steps after the breach, which have no part in it.
    pub fn until_breach(self) -> Self {
        let places = self.plan.places();
        let until: Vec<usize> = places.into_iter().filter(|place| *place <= self.at).collect();
        Self {
            plan: self.plan.only(&until),
            ..self
        }
    }
}

/// How one history ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything agreed.
    Held(Coverage, Vec<String>),
    /// A promise was broken.
    Broken(Box<Found>),
    /// It could not be played.
    CouldNotRun(String),
}

/// Plays one plan in a world of its own.
pub async fn play(plan: &Plan, target: Option<&Target>) -> Ending {
    let world = match target {
        Some(target) => World::connect(target).await,
        None => World::builder().servers(plan.servers).try_start().await,
    };
    let mut world = match world {
        Ok(world) => world,
        Err(error) => return Ending::CouldNotRun(format!("{error:#}")),
    };
    let played = async {
        let mut story = match Story::open(&mut world).await {
            Ok(story) => story,
            Err(failure) => return Err((0, failure, Vec::new())),
        };
        match story.play(plan).await {
            Ok(()) => Ok((story.coverage.clone(), story.digest())),
            Err((at, failure)) => Err((at, failure, story.digest())),
        }
    };
    let played = AssertUnwindSafe(played).catch_unwind().await;
    let left = if world.servers() > 0 {
        world.leave().await
    } else {
        Ok(())
    };
    match played {
        Ok(Ok((coverage, digest))) => match left {
            Ok(()) => Ending::Held(coverage, digest),
            Err(error) => Ending::CouldNotRun(format!("could not clean up: {error:#}")),
        },
        Ok(Err((at, Failure::Broken(breach), mut heard))) => Ending::Broken(Box::new(Found {
            plan: plan.clone(),
            at,
            breach,
            heard: heard.split_off(heard.len().saturating_sub(HEARD)),
        })),
        Ok(Err((at, Failure::CouldNotRun(why), _))) => Ending::CouldNotRun(format!("at step {at}: {why}")),
        Err(panic) => Ending::CouldNotRun(message(panic.as_ref())),
    }
}

/// Plays many seeds, telling `seen` of each as it ends, until one breaks a promise. Stops at the first failure.
pub async fn explore(
    seeds: impl IntoIterator<Item = u64>,
    steps: usize,
    target: Option<&Target>,
    mut seen: impl FnMut(u64, &Ending),
) -> Vec<(u64, Ending)> {
    let plays = seeds.into_iter().map(|seed| async move {
        let plan = Plan::new(seed, steps);
        (seed, play(&plan, target).await)
    });
    let mut plays = stream::iter(plays).buffer_unordered(at_once(target));
    let mut endings = Vec::new();
    while let Some((seed, ending)) = plays.next().await {
        seen(seed, &ending);
        let go_on = matches!(ending, Ending::Held(..));
        endings.push((seed, ending));
        if !go_on {
            break;
        }
    }
    endings
}

/// Leaves out of a failing history whatever it fails without: halves first, then ever smaller parts. Tells `seen` how
/// many steps are left.
pub async fn shrink(found: Found, target: Option<&Target>, mut seen: impl FnMut(usize)) -> Found {
    let mut best = found.until_breach();
    let mut tries = 0;
    let mut part = best.plan.steps.len().div_ceil(2);
    while part > 0 && tries < SHRINKS {
        let mut from = 0;
        while from < best.plan.steps.len() && tries < SHRINKS {
            let starts: Vec<usize> = (from..best.plan.steps.len())
                .step_by(part)
                .take(SHRINKS - tries)
                .collect();
            let without = starts.iter().map(|start| {
                let plan = best.plan.without(*start, part);
                async move { (*start, play(&plan, target).await) }
            });
            let mut plays = stream::iter(without).buffered(at_once(target));
            let mut smaller = None;
            while let Some((start, ending)) = plays.next().await {
                tries += 1;
                if let Ending::Broken(found) = ending {
                    smaller = Some((start, found));
                    break;
                }
            }
            drop(plays);
            // What needs every part that was left out goes on with smaller parts.
            let Some((start, found)) = smaller else { break };
            best = found.until_breach();
            seen(best.plan.steps.len());
            from = start;
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    best
}

/// Histories at once: a server elsewhere has one clock.
fn at_once(target: Option<&Target>) -> usize {
    if target.is_some() { 1 } else { SIDE_BY_SIDE }
}
