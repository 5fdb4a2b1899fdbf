//! Plays scenarios: concurrently in process, one after the other on a remote server.
//!
//! Every scenario gets an outcome, whatever happens in another, in the given order. A scenario that cannot be played on
//! the target is skipped, with its name and the reason. The runner does not choose scenarios and prints nothing.

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::coverage::{self, Life};
use crate::face::Face;
use crate::realtime::{self, Stopwatch};
use crate::run::{Outcome, Run, Verdict};
use crate::scenario::{Need, Scenario};
use crate::timeline;
use crate::world::{Target, World};

/// Concurrent worlds in process: four per core of the machine on which this was measured, because worlds mostly wait.
const SIDE_BY_SIDE: usize = 8;

/// Where scenarios are played.
#[derive(Debug, Clone, Default)]
pub struct Runner {
    /// A remote server. `None` to start servers in this process for each scenario.
    pub target: Option<Target>,
    /// The needs that this server does not meet.
    pub lacking: Vec<Need>,
    /// The API through which clients create, list and delete webhooks.
    pub face: Face,
}

impl Runner {
    /// Plays on servers of this process.
    pub fn in_process() -> Self {
        Self::default()
    }

    /// Plays on a remote server that implements the whole contract, with the default settings.
    pub fn against(target: Target) -> Self {
        let mut lacking = vec![Need::OwnServers, Need::OwnGeneral];
        if target.restart.is_none() {
            lacking.push(Need::Restart);
        }
        if target.names.is_none() {
            lacking.push(Need::Names);
        }
        Self {
            target: Some(target),
            lacking,
            face: Face::GraphQl,
        }
    }

    /// Creates, lists and deletes webhooks through this API. Scenarios that it cannot express are skipped.
    pub fn through(self, face: Face) -> Self {
        Self { face, ..self }
    }

    /// Plays all scenarios. Calls `seen` with each outcome.
    pub async fn run(&self, scenarios: &[Scenario], mut seen: impl FnMut(&Outcome)) -> Run {
        self.play_all(scenarios, false, |_, outcome, _| seen(outcome))
            .await
    }

    /// Plays all scenarios, and reads afterwards what happened to their webhooks. Calls `seen` with each scenario, its
    /// outcome and these lives: none unless it held. The outcomes have no timelines.
    pub async fn count(&self, scenarios: &[Scenario], seen: impl FnMut(&Scenario, &Outcome, &[Life])) -> Run {
        self.play_all(scenarios, true, seen).await
    }

    async fn play_all(
        &self,
        scenarios: &[Scenario],
        counting: bool,
        mut seen: impl FnMut(&Scenario, &Outcome, &[Life]),
    ) -> Run {
        let started = realtime::now();
        let watch = Stopwatch::start();
        let at_once = if self.target.is_some() { 1 } else { SIDE_BY_SIDE };
        let mut outcomes = Vec::new();
        {
            let plays = scenarios.iter().enumerate();
            let plays = plays.map(|(place, scenario)| async move {
                let (outcome, lives) = self.play_one(scenario, counting).await;
                (place, scenario, outcome, lives)
            });
            let mut plays = stream::iter(plays).buffer_unordered(at_once);
            while let Some((place, scenario, outcome, lives)) = plays.next().await {
                seen(scenario, &outcome, &lives);
                outcomes.push((place, outcome));
            }
        }
        outcomes.sort_by_key(|(place, _)| *place);
        Run {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: self
                .target
                .as_ref()
                .map_or_else(|| "in process".to_owned(), |target| target.url.clone()),
            face: self.face,
            started,
            real_seconds: watch.seconds(),
            outcomes: outcomes.into_iter().map(|(_, outcome)| outcome).collect(),
        }
    }

    /// Plays one scenario. Reads the lives of its webhooks if it held and they are counted.
    async fn play_one(&self, scenario: &Scenario, counting: bool) -> (Outcome, Vec<Life>) {
        let mut lives = Vec::new();
        let watch = Stopwatch::start();
        let mut outcome = Outcome {
            name: scenario.name.clone(),
            webhook_type: scenario.webhook_type,
            sentence: scenario.sentence.clone(),
            rules: scenario.rules.iter().map(|rule| (*rule).to_owned()).collect(),
            verdict: Verdict::Held,
            real_seconds: 0.0,
            simulated_seconds: 0.0,
            timelines: Vec::new(),
        };
        if let Some(why) = self.why_not(scenario) {
            outcome.verdict = Verdict::Skipped(why);
            return (outcome, lives);
        }
        let world = match &self.target {
            Some(target) => World::connect(target).await.map(|mut world| {
                world.call_through(self.face);
                world
            }),
            None => scenario.builder().face(self.face).try_start().await,
        };
        match world {
            Ok(mut world) => {
                outcome.verdict = scenario.play(&mut world).await;
                outcome.simulated_seconds = world.age().as_secs_f64();
                if world.servers() > 0 {
                    if !counting {
                        outcome.timelines = timeline::of(&world).await;
                    } else if outcome.verdict == Verdict::Held {
                        match coverage::lives(&world).await {
                            Ok(read) => lives = read,
                            Err(error) => {
                                outcome.verdict =
                                    Verdict::CouldNotRun(format!("could not be counted: {error}"));
                            }
                        }
                    }
                    if let Err(error) = world.leave().await
                        && outcome.verdict == Verdict::Held
                    {
                        outcome.verdict = Verdict::CouldNotRun(format!("could not clean up: {error:#}"));
                    }
                }
            }
            Err(error) => outcome.verdict = Verdict::CouldNotRun(format!("{error:#}")),
        }
        outcome.real_seconds = watch.seconds();
        (outcome, lives)
    }

    /// Why a scenario is not played on this target.
    fn why_not(&self, scenario: &Scenario) -> Option<String> {
        if let Some(why) = scenario
            .not_through_rest
            .filter(|_| !scenario.runs_through(self.face))
        {
            return Some(format!("not through REST: {why}"));
        }
        let real_time = self.target.as_ref().is_some_and(|target| target.real_time);
        if real_time && !scenario.real_time {
            return Some("needs simulated time".to_owned());
        }
        let lacks = scenario.needs.iter().find(|need| self.lacking.contains(need));
        lacks.map(|need| need.why_skipped())
    }
}
