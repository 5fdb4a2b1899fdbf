//! Random histories, compared with the reference model after every step.
//!
//! Guarantees: a seed gives the same steps everywhere; a failing history is shrunk to fewer steps that still fail; the
//! exercised rules are counted. A shrunk history is not always the shortest possible one: if any single step is left
//! out, it no longer fails. The order of events within one instant of simulated time is not defined, so two runs of a
//! seed may differ there. The checks accept every such order.

mod answered;
mod coverage;
mod plan;
mod run;
mod shadow;

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _, stream};

pub use self::coverage::Coverage;
pub use self::plan::{Plan, Step};
use self::run::Run;
use crate::run::Breach;
use crate::scenario::{Failure, message};
use crate::world::{AppSees, Target, World};

/// Histories that are played concurrently, if the servers run in this process.
const SIDE_BY_SIDE: usize = 6;
/// Most attempts to reproduce a failure with fewer steps.
const SHRINKS: usize = 300;
/// Requests shown with a failure: enough for the retries of several webhooks and a burst.
const HEARD: usize = 60;
/// Shorter histories seldom exercise enough rules.
pub const STEPS: usize = 200;

/// A history in which a promise was broken.
#[derive(Debug, Clone)]
pub struct Found {
    /// The steps that remain after shrinking.
    pub plan: Plan,
    /// The position of the step after which the breach was seen.
    pub at: usize,
    /// The broken promise.
    pub breach: Breach,
    /// The last requests that receivers got before the breach.
    pub heard: Vec<String>,
}

impl Found {
    /// Drops the steps after the breach, which cannot have caused it.
    pub fn until_breach(self) -> Self {
        let places = self.plan.places();
        let until: Vec<usize> = places.into_iter().filter(|place| *place <= self.at).collect();
        Self {
            plan: self.plan.only(&until),
            ..self
        }
    }
}

/// The result of one history.
#[derive(Debug)]
pub enum Ending {
    /// Server and model agreed throughout.
    Held(Coverage, Vec<String>),
    /// A promise was broken.
    Broken(Box<Found>),
    /// The history could not be played.
    CouldNotRun(String),
}

/// Plays one plan in a world of its own.
pub async fn play(plan: &Plan, target: Option<&Target>) -> Ending {
    let (world, app_sees) = match target {
        Some(target) => (World::connect(target).await, AppSees::Application),
        None => {
            let builder = World::builder().servers(plan.servers).app_sees(plan.app_sees);
            (builder.try_start().await, plan.app_sees)
        }
    };
    let mut world = match world {
        Ok(world) => world,
        Err(error) => return Ending::CouldNotRun(format!("{error:#}")),
    };
    let played = async {
        let mut run = match Run::open(&mut world, app_sees).await {
            Ok(run) => run,
            Err(failure) => return Err((0, failure, Vec::new())),
        };
        match run.play(plan).await {
            Ok(()) => Ok((run.coverage.clone(), run.digest())),
            Err((at, failure)) => Err((at, failure, run.digest())),
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

/// Plays many seeds until the first one breaks a promise. Calls `seen` with each result.
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

/// Removes every part of a failing history without which it still fails: halves first, then smaller and smaller parts.
/// Calls `seen` with the number of remaining steps.
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
            // If no part of this size can be removed, smaller parts are tried.
            let Some((start, found)) = smaller else { break };
            best = found.until_breach();
            seen(best.plan.steps.len());
            from = start;
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    best
}

/// Number of concurrent histories: one against a remote server, because it has one clock.
fn at_once(target: Option<&Target>) -> usize {
    if target.is_some() { 1 } else { SIDE_BY_SIDE }
}
