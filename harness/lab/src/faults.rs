//! The fault campaign: real servers on a real Postgres, with faults in everything around them, round after round.
//!
//! In each round a company publishes through any server that responds, and at some moment something fails for a while
//! ([`Kind`]): a server is killed, Postgres is stopped, a disk is full. Then everything runs again. When no delivery is
//! open any more, the round's history is checked from outside: what was accepted is accounted for, nothing ended twice,
//! and bans agree with the recorded attempts.
//!
//! The campaign runs in real time with shortened numbers of the policy. It undoes all that it did to the machine, and
//! every wait is bounded. A seed does not repeat a round to the instant.

mod checker;
mod dns_server;
mod environment;
mod figures;
mod fleet;
mod kind;
mod machine;
mod plan;
mod proxy;
mod publishing;
mod receivers;
mod round;
mod silence;
mod violation;

use std::path::Path;

pub use self::figures::{Broken, Figures};
pub use self::kind::Kind;
pub use self::plan::{MAX_EVENTS, MAX_ROUNDS, MAX_SERVERS, Plan, Round};
pub use self::receivers::Part;
pub use self::round::Ending;
pub use self::violation::{Violation, Wrong};
use tenterhook_harness::realtime::Stopwatch;

use self::environment::Environment;
use self::round::Sums;

/// Runs a campaign against servers of `binary` until a promise is broken. Reports each round to `progress`. Stops after
/// `seconds`, if given, at the end of a round.
///
/// # Errors
///
/// If the plan is out of bounds, or a round could not be played. A broken promise is not an error: it is in the
/// figures.
pub async fn run(
    plan: &Plan,
    binary: &Path,
    seconds: Option<f64>,
    mut progress: impl FnMut(&Round, &Ending),
) -> anyhow::Result<Figures> {
    plan.check()?;
    let watch = Stopwatch::start();
    let mut environment = Environment::build(plan, binary).await?;
    let mut figures = Figures::new(plan, environment.unavailable());
    let possible = |kind: &&Kind| !figures.not_exercised.contains_key(*kind);
    let possible: Vec<Kind> = plan.kinds.iter().filter(possible).copied().collect();
    let mut sums = Sums::default();
    for round in plan.rounds(&possible) {
        let ending = match round::play(&round, plan.events, &mut environment, &mut sums).await {
            Ok(ending) => ending,
            Err(error) => {
                let kept = environment.keep()?;
                let faults: Vec<String> = round.faults.iter().map(|kind| kind.name()).collect();
                return Err(error.context(format!(
                    "round {} with {} could not be played; logs and data are kept in {}",
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
        figures.kept = Some(environment.keep()?.display().to_string());
    } else {
        environment.end().await?;
    }
    Ok(figures)
}
