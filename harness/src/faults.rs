//! The fault campaign: real servers on a real Postgres, while everything around them fails, round after round.
//!
//! Each round a company publishes through whichever server answers, and at some instant of that something fails for a
//! while ([`Kind`]): a server is killed, Postgres is gone, a disk is full. Then everything runs again, and once all is
//! quiet the round's history is judged from the outside: what was accepted is accounted for, nothing ended
//! twice, bans agree with the attempts on record.
//!
//! Runs in real time with the policy's numbers shortened. Promises to take back whatever it did to the machine, and
//! that every wait is bounded. Does not promise that a seed repeats a round to the instant.

mod breach;
mod cast;
mod figures;
mod fleet;
mod history;
mod kind;
mod machine;
mod names;
mod plan;
mod proxy;
mod publishing;
mod round;
mod silence;
mod stage;

use std::path::Path;

pub use self::breach::{Breach, Wrong};
pub use self::cast::Part;
pub use self::figures::{Broken, Figures};
pub use self::kind::Kind;
pub use self::plan::{MAX_EVENTS, MAX_ROUNDS, MAX_SERVERS, Plan, Round};
pub use self::round::Ending;
use self::round::Sums;
use self::stage::Stage;
use crate::realtime::Stopwatch;

/// Plays a campaign against servers of `binary`, until a promise is broken. Tells `progress` of every round, and stops
/// after `seconds`, if given, at the end of a round.
///
/// # Errors
///
/// When the plan is out of bounds, or a round could not be played; a broken promise is in the figures.
pub async fn run(
    plan: &Plan,
    binary: &Path,
    seconds: Option<f64>,
    mut progress: impl FnMut(&Round, &Ending),
) -> anyhow::Result<Figures> {
    plan.check()?;
    let watch = Stopwatch::start();
    let mut stage = Stage::build(plan, binary).await?;
    let mut figures = Figures::new(plan, stage.unavailable());
    let possible = |kind: &&Kind| !figures.not_exercised.contains_key(*kind);
    let possible: Vec<Kind> = plan.kinds.iter().filter(possible).copied().collect();
    let mut sums = Sums::default();
    for round in plan.rounds(&possible) {
        let ending = match round::play(&round, plan.events, &mut stage, &mut sums).await {
            Ok(ending) => ending,
            Err(error) => {
                let kept = stage.keep()?;
                let faults: Vec<String> = round.faults.iter().map(|kind| kind.name()).collect();
                return Err(error.context(format!(
                    "round {} with {} could not be played; everything is kept in {}",
                    round.number,
                    faults.join(" and "),
                    kept.display()
                )));
            }
        };
        progress(&round, &ending);
        figures.add(plan, &round, ending);
        let over = seconds.is_some_and(|seconds| watch.seconds() >= seconds);
        if over || !figures.held() {
            break;
        }
    }
    figures.seconds = watch.seconds();
    if plan.keep || !figures.held() {
        figures.kept = Some(stage.keep()?.display().to_string());
    } else {
        stage.end().await?;
    }
    Ok(figures)
}
