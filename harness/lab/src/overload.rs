//! Overload: more webhooks, deliveries and publications than a server can handle, and how it behaves.
//!
//! Starts a real server process on its own Postgres and observes it from outside. It measures the memory as the kernel
//! counts it, the refused calls and the errors, and how long the deliveries of a quiet company take meanwhile. It also
//! measures how the server recovers when receivers that hung respond again. At the end every accepted delivery must be
//! accounted for (D7).
//!
//! Everything shares this machine: receivers, callers, and a Postgres without durability. So ratios and bounds are
//! meaningful, rates are valid for this machine only.

pub(crate) mod backlog;
mod environment;
mod figures;
mod flood;
mod memory;
mod receivers;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use tenterhook_harness::realtime::{self, Stopwatch};
use tenterhook_harness::world::Tally;

use self::environment::{Environment, FIRST_COMPANY};
pub use self::figures::{Figures, Memory, Pace, Quiet};
use self::flood::Flood;
pub use self::flood::Flooded;
use self::memory::MemoryWatch;
pub use self::receivers::Most;
use self::receivers::Receivers;
use crate::load::threads::OwnThread;
use crate::load::{self, Against, Work};

/// The company whose callers flood the server.
const FLOODING_COMPANY: u64 = FIRST_COMPANY - 1;
/// First id of the companies with large publications. They have no webhooks, so that only publications count.
const LARGE_COMPANIES: u64 = FIRST_COMPANY - 1_000;
/// Callers per such company.
const CALLERS_OF_LARGE: u32 = 4;
/// Bytes of an event, in the flood and in a large publication.
const BYTES: usize = 300;
const LARGE_BYTES: usize = 6 * 1024;
/// Events of a large publication.
const LARGE_BATCH: u32 = 1_000;
/// Time between two looks at whether all deliveries have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The sizes of an overload.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Webhooks, 2 to 100,000. Half of them hang.
    pub webhooks: u32,
    /// Deliveries of the backlog, up to 10,000,000; at least one for each webhook.
    pub deliveries: u64,
    /// Duration of each part in seconds, 1 to 600.
    pub seconds: u32,
    /// Events per second of the quiet company, 1 to 1,000.
    pub quiet_rate: u32,
    /// Callers of the flooding company, 1 to 1,000.
    pub flooders: u32,
    /// Callers with large publications, up to 1,000, and the calls of each.
    pub large_callers: u32,
    /// See [`Plan::large_callers`].
    pub large_calls: u32,
    /// Longest wait at the end until all deliveries have ended, in seconds, up to 7,200.
    pub drain: u32,
    /// Allowed memory of the server, in MiB.
    pub memory_bound: f64,
}

impl Plan {
    /// Events of each company in the backlog.
    fn events_of_company(&self) -> u32 {
        u32::try_from(self.deliveries / u64::from(self.webhooks)).unwrap_or(u32::MAX)
    }

    /// Refuses what cannot be run, and names the argument.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        let bounds = [
            ("webhooks", u64::from(self.webhooks), 2, 100_000),
            (
                "deliveries",
                self.deliveries,
                u64::from(self.webhooks),
                10_000_000,
            ),
            ("seconds", u64::from(self.seconds), 1, 600),
            ("quiet-rate", u64::from(self.quiet_rate), 1, 1_000),
            ("flooders", u64::from(self.flooders), 1, 1_000),
            ("large-callers", u64::from(self.large_callers), 0, 1_000),
            ("large-calls", u64::from(self.large_calls), 0, 1_000),
            ("drain", u64::from(self.drain), 0, 7_200),
        ];
        for (name, value, least, most) in bounds {
            ensure!(
                (least..=most).contains(&value),
                "--{name} must be {least} to {most}, not {value}"
            );
        }
        Ok(())
    }
}

/// Runs `plan` against a server of this binary. Reports each part to `progress`.
///
/// # Errors
///
/// If the plan is out of bounds, the server does not start or ends, or the webhooks cannot be created.
pub async fn run(plan: &Plan, server: &Path, progress: impl Fn(&str)) -> anyhow::Result<Figures> {
    plan.check()?;
    let environment = Environment::start(server).await?;
    let process = environment.process.id().context("the server has ended")?;
    let memory = MemoryWatch::start(process);
    // In production the flooding callers and receivers run on other machines. Here they use only idle CPU.
    let (caller_thread, receiver_thread) = (
        OwnThread::start_behind_all("flooders")?,
        OwnThread::start_behind_all("flooded")?,
    );
    let receivers = Receivers::start().await?;
    let fast = receiver_thread.spawn(Receivers::start()).await??;
    let mut figures = Figures {
        webhooks: plan.webhooks,
        memory_bound: plan.memory_bound,
        ..Figures::default()
    };

    progress("creating webhooks");
    environment
        .subscribe(&receivers, FIRST_COMPANY, plan.webhooks)
        .await?;
    let flooding = environment.subscribe(&fast, FLOODING_COMPANY, 1).await?;
    let _since_the_start = memory.lap();

    progress("measuring a quiet company alone");
    figures.alone = quiet(plan, &environment).await?;
    figures.memory.idle = memory.lap();

    progress("measuring a quiet company while another floods the server");
    (figures.beside_flood, figures.flood) = flood(plan, &environment, flooding, &caller_thread).await?;
    figures.memory.flood = memory.lap();

    progress("sending large publications");
    let large = Flood {
        callers: plan.large_callers,
        companies: (0..u64::from(plan.large_callers.div_ceil(CALLERS_OF_LARGE)))
            .map(|number| LARGE_COMPANIES + number)
            .collect(),
        batch: LARGE_BATCH,
        bytes: LARGE_BYTES,
        seconds: f64::from(plan.seconds),
        calls: plan.large_calls,
    };
    figures.large = large.run(&environment.platform()?).await;
    figures.memory.large = memory.lap();
    drained(&environment, 0, plan.drain).await?;
    memory.lap();

    progress("delivering a backlog while half of the receivers hang");
    let address = receivers.url(0);
    let prefix = address.trim_end_matches('0');
    figures.backlog = backlog::fill(
        &environment.database.url(None),
        prefix,
        plan.events_of_company(),
        backlog::PAYLOAD,
    )
    .await?;
    let (pace, beside) = tokio::join!(watched(plan, &receivers), quiet(plan, &environment));
    (figures.hanging, figures.beside_backlog) = (pace, beside?);
    figures.memory.backlog = memory.lap();

    progress("delivering the rest: all receivers respond again");
    receivers.release();
    figures.recovery = watched(plan, &receivers).await;
    drained(&environment, 0, plan.drain).await?;
    let most = receivers.lap();
    figures.recovery.most_in_second = figures.recovery.most_in_second.max(most.in_second);
    figures.recovery.most_at_once = figures.recovery.most_at_once.max(most.at_once);
    figures.memory.recovery = memory.lap();
    figures.memory.peak = memory.peak()?;

    let tally = environment.tally().await?;
    account(&mut figures, &tally)?;
    figures.answered = *receivers.answered().borrow() + *fast.answered().borrow();
    environment.process.kill().await?;
    Ok(figures)
}

/// Floods the server for these companies while the quiet company publishes. Returns what both saw.
async fn flood(
    plan: &Plan,
    environment: &Environment,
    companies: Vec<u64>,
    thread: &OwnThread,
) -> anyhow::Result<(Quiet, Flooded)> {
    let flood = Flood {
        callers: plan.flooders,
        companies,
        batch: 100,
        bytes: BYTES,
        // Until the quiet company has published its last event.
        seconds: f64::from(plan.seconds),
        calls: u32::MAX,
    };
    let platform = environment.platform()?;
    let flooded = thread.spawn(async move { flood.run(&platform).await });
    let (beside, flooded) = tokio::join!(quiet(plan, environment), flooded);
    Ok((beside?, flooded?))
}

/// Compares what the server counted with what the callers were told.
fn account(figures: &mut Figures, tally: &Tally) -> anyhow::Result<()> {
    let ended = tally.succeeded + tally.failed + tally.lost + tally.cancelled;
    figures.accepted = tally.accepted;
    figures.made = figures.backlog
        + figures.flood.accepted_deliveries
        + figures.large.accepted_deliveries
        + [figures.alone, figures.beside_flood, figures.beside_backlog]
            .iter()
            .map(|quiet| quiet.expected)
            .sum::<u64>();
    figures.unaccounted = i64::try_from(tally.accepted)? - i64::try_from(ended + tally.open)?;
    figures.open = tally.open;
    figures.unsuccessful = tally.failed + tally.lost + tally.cancelled;
    Ok(())
}

/// Publishes the quiet company's events, and measures the latency of their deliveries.
async fn quiet(plan: &Plan, environment: &Environment) -> anyhow::Result<Quiet> {
    let load = load::Plan {
        work: Work::Rate(plan.quiet_rate.into()),
        seconds: plan.seconds,
        grace: 60,
        ..load::Plan::default()
    };
    let figures = load::run(&load, &Against::Target(environment.target()), |_| ()).await?;
    Ok(Quiet {
        expected: figures.deliveries_expected,
        missing: figures.deliveries_missing + figures.events_planned - figures.events_published,
        latency: figures.delivery_latency,
    })
}

/// Counts the responses of receivers during one part.
async fn watched(plan: &Plan, receivers: &Receivers) -> Pace {
    let answered = receivers.answered();
    receivers.lap();
    let (watch, before) = (Stopwatch::start(), *answered.borrow());
    realtime::pause(Duration::from_secs(plan.seconds.into())).await;
    let (seconds, after) = (watch.seconds(), *answered.borrow());
    let Most { at_once, in_second } = receivers.lap();
    Pace {
        seconds,
        answered_per_second: (after - before) as f64 / seconds,
        most_in_second: in_second,
        most_at_once: at_once,
    }
}

/// Waits until at most `open` deliveries are open, or until the time is over. The figures show how many are left.
async fn drained(environment: &Environment, open: u64, seconds: u32) -> anyhow::Result<()> {
    let empty = async {
        while environment.tally().await?.open > open {
            realtime::pause(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    let within = realtime::within(Duration::from_secs(seconds.into()), empty).await;
    within.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Plan);

    #[test]
    fn out_of_bounds_arguments_are_refused_by_name() {
        let plan = Plan {
            webhooks: 2,
            deliveries: 2,
            seconds: 1,
            quiet_rate: 1,
            flooders: 1,
            large_callers: 0,
            large_calls: 0,
            drain: 0,
            memory_bound: 512.0,
        };
        plan.check().unwrap();
        let most = Plan {
            webhooks: 100_000,
            deliveries: 10_000_000,
            seconds: 600,
            quiet_rate: 1_000,
            flooders: 1_000,
            large_callers: 1_000,
            large_calls: 1_000,
            drain: 7_200,
            memory_bound: 512.0,
        };
        most.check().unwrap();
        let past: [(&str, Change); 9] = [
            ("--webhooks", |plan| plan.webhooks += 1),
            ("--webhooks", |plan| plan.webhooks = 1),
            ("--deliveries", |plan| plan.deliveries += 1),
            ("--deliveries", |plan| plan.deliveries = 99_999),
            ("--seconds", |plan| plan.seconds += 1),
            ("--quiet-rate", |plan| plan.quiet_rate += 1),
            ("--flooders", |plan| plan.flooders += 1),
            ("--large-callers", |plan| plan.large_callers += 1),
            ("--drain", |plan| plan.drain += 1),
        ];
        for (argument, set) in past {
            let mut plan = most.clone();
            set(&mut plan);
            let error = plan.check().unwrap_err().to_string();
            assert!(error.starts_with(argument), "{argument}: {error}");
        }
    }
}
