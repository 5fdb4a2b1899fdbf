//! A load test: events at a steady rate, from callers that wait for responses, from a backlog, or none. Measures the
//! results.
//!
//! In an open loop each call has a time that is set at the start, whether or not earlier calls have got a response.
//! Latency counts from that time, so that a server that stalls cannot hide it by slowing down its caller. In a closed
//! loop each caller has one call in flight. Rates and latencies are those between the end of the warm-up and the
//! beginning of the last call. Costs are counted from the end of the warm-up until all deliveries have arrived and are
//! settled, and are divided by the deliveries of that time. The load does not look for repeated deliveries after that,
//! and does not judge the figures.
//!
//! Callers and receivers share the machine with the servers that they measure. So they use little CPU (prepared
//! requests, responses searched only for ids, one thread each), and their use is a figure of its own.

mod caller;
mod costs;
mod figures;
mod plan;
mod publishing;
mod receiver;
mod subscribers;
mod table;
mod target;
pub(crate) mod threads;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use tenterhook_harness::realtime::{self, Stopwatch};

use self::caller::Requests;
pub use self::costs::{Costly, Costs, Cpu, Memory, Statement};
use self::costs::{Count, Statistics};
use self::figures::{Arrivals, Span};
pub use self::figures::{Figures, Latencies, Percentiles};
pub use self::plan::{MAX_DELIVERIES, Plan, Work};
use self::publishing::{Ledger, Publisher};
use self::receiver::{Arrival, DatingReceiver};
use self::subscribers::Subscribers;
use self::target::LoadTarget;
pub use self::target::{Against, MAX_SERVERS, POSTGRES_SETTINGS, Programs, SETTINGS};
use self::threads::OwnThread;
use crate::overload::backlog;

/// Time between two looks at whether all deliveries have arrived.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Time between two requests for whether all is settled. Longer, because each costs the server something.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// The fraction of a backlog's deliveries that its rate leaves out at each end.
const EDGE: f64 = 0.1;

/// The progress of a run.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Seconds since the webhooks were created.
    pub seconds: f64,
    /// Deliveries that have arrived.
    pub arrived: u64,
}

/// Runs `plan`. Calls `progress` once a second.
///
/// # Errors
///
/// If the plan is out of bounds or needs what this server cannot do, if no server responds, or if the webhooks cannot
/// be created. A failed call to publish is not an error but a figure.
pub async fn run(plan: &Plan, against: &Against, progress: impl Fn(Progress)) -> anyhow::Result<Figures> {
    plan.check()?;
    if let Against::Programs(programs) = against {
        programs.check()?;
    }
    let starts = matches!(against, Against::Programs(_));
    ensure!(
        starts || matches!(plan.work, Work::Rate(_) | Work::Callers(_)),
        "--drain and --idle need --server, because they use processes of the command's own"
    );
    ensure!(
        starts || (plan.failing == 0 && plan.hanging == 0),
        "--failing and --hanging need --server, because they need a server that does not ban"
    );
    let place = LoadTarget::prepare(against, plan.hosts == 1).await?;
    let watch = Stopwatch::start();
    let receiver = Arc::new(DatingReceiver::start(watch, plan.hosts > 1).await?);
    let subscribers = Subscribers::new(plan);
    let url = place.urls.first().context("no server")?;
    subscribers.create(url, &place.key, &receiver).await?;
    let mut run = Run {
        plan,
        sync_ms: place.sync_millis()?,
        statistics: place.statistics().await?,
        place,
        receiver: Arc::clone(&receiver),
        subscribers,
        watch,
        arrivals: Vec::new(),
    };
    let began = watch.seconds();
    let ticks = async {
        loop {
            realtime::pause(Duration::from_secs(1)).await;
            progress(Progress {
                seconds: watch.seconds() - began,
                arrived: receiver.arrived(),
            });
        }
    };
    let figures = tokio::select! {
        figures = run.work() => figures?,
        () = ticks => unreachable!("the ticks never end"),
    };
    ensure!(
        receiver.broken() == 0,
        "the receivers could not read {} requests",
        receiver.broken()
    );
    let Run {
        place, subscribers, ..
    } = run;
    if let (false, Some(url)) = (place.passing, place.urls.first()) {
        // After the figures, because a removal cancels open deliveries.
        subscribers.remove(url, &place.key).await?;
    }
    place.end().await?;
    Ok(figures)
}

/// A run, once everything is started.
struct Run<'a> {
    plan: &'a Plan,
    place: LoadTarget,
    statistics: Option<Statistics>,
    receiver: Arc<DatingReceiver>,
    subscribers: Subscribers,
    watch: Stopwatch,
    sync_ms: Option<f64>,
    /// Arrivals taken from the receiver so far.
    arrivals: Vec<Arrival>,
}

impl Run<'_> {
    async fn work(&mut self) -> anyhow::Result<Figures> {
        match self.plan.work {
            Work::Rate(_) | Work::Callers(_) => self.publish().await,
            Work::Backlog(deliveries) => self.drain(deliveries).await,
            Work::Idle => self.idle().await,
        }
    }

    async fn publish(&mut self) -> anyhow::Result<Figures> {
        let plan = self.plan;
        let token = subscribers::platform_token(&self.place.key);
        let requests = Requests::new(token, self.subscribers.companies(), plan.body_bytes)?;
        let hosts = self
            .place
            .urls
            .iter()
            .map(|url| url.trim_start_matches("http://").to_owned());
        let publisher = Arc::new(Publisher::new(requests, hosts.collect(), plan.batch, self.watch));
        let thread = OwnThread::start(publishing::THREAD)?;
        let open_before = self.place.tally().await?.open;
        let began = self.watch.seconds();
        let until = began + f64::from(plan.warm_up + plan.seconds);
        let calls = async {
            match plan.work {
                Work::Callers(callers) => {
                    publisher
                        .closed_loop(&thread, callers, until, plan.most_events())
                        .await;
                    Ok(())
                }
                Work::Rate(rate) => {
                    let events = plan.events().unwrap_or_default();
                    publisher.open_loop(&thread, rate, began, events).await
                }
                Work::Backlog(_) | Work::Idle => Ok(()),
            }
        };
        let warmed_up = async {
            realtime::pause(Duration::from_secs(plan.warm_up.into())).await;
            self.count().await
        };
        let (calls, start) = tokio::join!(calls, warmed_up);
        calls?;
        let start = start?;
        // A closed loop ends earlier if it reaches the largest number of deliveries.
        let until = match plan.work {
            Work::Callers(_) => until.min(self.watch.seconds()),
            _ => until,
        };
        let mut ledger = publisher.take();
        let grace = Duration::from_secs(plan.grace.into());
        // `None` means that the time is over. The figures show what is missing.
        let _ = realtime::within(grace, self.arrived(&mut ledger)).await;
        let ends = plan.failing == 0 && plan.hanging == 0;
        if ends && !self.place.processes().is_empty() {
            let _ = realtime::within(grace, self.settled(open_before)).await;
        }
        let end = self.count().await?;
        let arrivals = self.judge(&mut ledger, start.at)?;
        let deliveries = arrivals.within(Span {
            from: start.at,
            until: end.at,
        });
        let span = Span {
            from: start.at,
            until,
        };
        self.figures(&start, &end, deliveries)
            .with_calls(&ledger, &arrivals, span)
    }

    async fn drain(&mut self, deliveries: u64) -> anyhow::Result<Figures> {
        let open_before = self.place.tally().await?.open;
        self.place.stop_processes().await?;
        let database = self
            .place
            .database
            .clone()
            .context("the URL of the database is not known")?;
        let events = u32::try_from(deliveries / self.plan.webhooks())?;
        let prefix = self.receiver.prefix(0);
        let prefix = match self.plan.hosts {
            1 => prefix,
            // Matches every loopback host.
            _ => prefix.replace("127.0.0.1", "127.%"),
        };
        let data = caller::data(self.plan.body_bytes as usize).to_string();
        let made = backlog::fill(&database, &prefix, events, &data).await?;
        if let Some(statistics) = &self.statistics {
            statistics.checkpoint().await?;
        }
        let start = self.count().await?;
        self.place.start_processes().await?;
        let patience = Duration::from_secs((self.plan.seconds + self.plan.grace).into());
        let arrived = async {
            while self.receiver.arrived() < made {
                realtime::pause(LOOK_EVERY).await;
            }
            self.settled(open_before).await;
        };
        let _ = realtime::within(patience, arrived).await;
        let end = self.count().await?;
        let arrivals = self.judge(&mut Ledger::default(), start.at)?;
        let all = &arrivals.answering;
        let at = |part: f64| {
            all.get((all.len() as f64 * part) as usize)
                .copied()
                .unwrap_or(end.at)
        };
        let span = Span {
            from: at(EDGE),
            until: at(1.0 - EDGE),
        };
        let figures = self.figures(&start, &end, all.len() as u64);
        Ok(figures.with_backlog(made, &arrivals, span))
    }

    async fn idle(&mut self) -> anyhow::Result<Figures> {
        realtime::pause(Duration::from_secs(self.plan.warm_up.into())).await;
        let start = self.count().await?;
        realtime::pause(Duration::from_secs(self.plan.seconds.into())).await;
        let end = self.count().await?;
        Ok(self.figures(&start, &end, 0))
    }

    async fn count(&self) -> anyhow::Result<Count> {
        Count::now(self.watch, &self.place.processes(), self.statistics.as_ref()).await
    }

    fn figures(&self, start: &Count, end: &Count, deliveries: u64) -> Figures {
        let processes = self.place.processes();
        let costs = Costs::between(start, end, deliveries, &processes, self.sync_ms);
        Figures::of_nothing(self.plan, processes.len() as u32, costs)
    }

    fn judge(&mut self, ledger: &mut Ledger, from: f64) -> anyhow::Result<Arrivals> {
        self.arrivals.extend(self.receiver.take());
        Arrivals::of(&mut ledger.events, &mut self.arrivals, &self.subscribers, from)
    }

    /// Waits until every delivery to a receiver that responds has arrived. The receiver's count includes repeats, so
    /// the arrivals are judged each time that the count is large enough.
    async fn arrived(&mut self, ledger: &mut Ledger) -> anyhow::Result<()> {
        let events = ledger.events.iter();
        let mut enough = events
            .map(|event| self.subscribers.of_event(event.number).answering)
            .sum();
        loop {
            while self.receiver.arrived() < enough {
                realtime::pause(LOOK_EVERY).await;
            }
            enough = self.receiver.arrived() + 1;
            if self.judge(ledger, 0.0)?.missing() == 0 {
                return Ok(());
            }
        }
    }

    /// Waits until at most `open` deliveries are open. Returns at once if the server's metrics cannot be read.
    async fn settled(&self, open: u64) {
        while self.place.tally().await.is_ok_and(|tally| tally.open > open) {
            realtime::pause(ASK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_event_of_a_short_load_arrives_at_every_webhook() {
        let plan = Plan {
            seconds: 1,
            fan_out: 2,
            batch: 3,
            grace: 60,
            ..Plan::default()
        };
        let figures = run(&plan, &Against::Own, |_| ()).await.unwrap();
        assert_eq!(
            (
                figures.events_published,
                figures.calls_failed,
                figures.deliveries_expected
            ),
            (50, 0, 100),
            "{figures}"
        );
        assert_eq!(
            (
                figures.deliveries_arrived,
                figures.deliveries_missing,
                figures.deliveries_repeated
            ),
            (100, 0, 0),
            "{figures}"
        );
        assert!(figures.complete());
    }

    #[tokio::test]
    async fn plans_that_need_their_own_server_are_refused_without_one() {
        for plan in [
            Plan {
                work: Work::Idle,
                ..Plan::default()
            },
            Plan {
                work: Work::Backlog(1),
                ..Plan::default()
            },
            Plan {
                failing: 1,
                ..Plan::default()
            },
            Plan {
                hanging: 1,
                ..Plan::default()
            },
        ] {
            let error = run(&plan, &Against::Own, |_| ()).await.unwrap_err().to_string();
            assert!(error.contains("need --server"), "{error}");
        }
    }
}
