//! A load: events at a steady rate or from callers that wait, a backlog, or nothing, and what became of it.
//!
//! Promises of an open loop: each call has its time from the start, whether or not earlier ones are answered, and latency
//! counts from that time, so that a server that stalls cannot hide it by slowing its caller. Of a closed loop: each
//! caller has one call on the wire. Rates and latencies are those of the time after the warm-up until the last call
//! begins; costs are counted from the warm-up's end until everything has arrived and been settled, and shared out over
//! what arrived in that time. Does not look for repeats after that, and judges no figure.
//!
//! Callers and receivers share the machine with what they measure. So they take little (bytes made before, answers
//! searched for ids, one thread each), and what they take is a figure of its own.

mod caller;
mod costs;
mod figures;
mod place;
mod plan;
mod publishing;
mod receiver;
mod subscribers;
mod table;
pub(crate) mod threads;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use self::caller::Requests;
pub use self::costs::{Costly, Costs, Cpu, Memory, Statement};
use self::costs::{Count, Statistics};
use self::figures::{Arrivals, Span};
pub use self::figures::{Figures, Latencies, Percentiles};
use self::place::Place;
pub use self::place::{Against, MAX_SERVERS, POSTGRES_SETTINGS, Programs, SETTINGS};
pub use self::plan::{MAX_DELIVERIES, Plan, Work};
use self::publishing::{Ledger, Publisher};
use self::receiver::{Arrival, DatingReceiver};
use self::subscribers::Subscribers;
use self::threads::OwnThread;
use crate::overload::backlog;
use crate::realtime::{self, Stopwatch};

/// How often to look whether everything has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often to ask whether everything has been settled: it costs the server something.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Which part of a backlog's deliveries its rate leaves out at either end.
const EDGE: f64 = 0.1;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Seconds since the webhooks were made.
    pub seconds: f64,
    /// Deliveries that have arrived.
    pub arrived: u64,
}

/// Runs `plan`. Tells `progress` once a second.
///
/// # Errors
///
/// When the plan is out of bounds or asks for what this server cannot do, no server answers, or the webhooks cannot be
/// made. A failed call to publish is a figure and no error.
pub async fn run(plan: &Plan, against: &Against, progress: impl Fn(Progress)) -> anyhow::Result<Figures> {
    plan.check()?;
    if let Against::Programs(programs) = against {
        programs.check()?;
    }
    let starts = matches!(against, Against::Programs(_));
    ensure!(
        starts || matches!(plan.work, Work::Rate(_) | Work::Callers(_)),
        "--drain and --idle need --server: the server's own processes"
    );
    ensure!(
        starts || (plan.failing == 0 && plan.hanging == 0),
        "--failing and --hanging need --server: a server of its own, which does not ban them"
    );
    let place = Place::prepare(against, plan.hosts == 1).await?;
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
        "{} requests were not understood",
        receiver.broken()
    );
    let Run {
        place, subscribers, ..
    } = run;
    if let (false, Some(url)) = (place.passing, place.urls.first()) {
        // After the figures: a removal cancels what is still under way.
        subscribers.remove(url, &place.key).await?;
    }
    place.end().await?;
    Ok(figures)
}

/// A run, once everything stands.
struct Run<'a> {
    plan: &'a Plan,
    place: Place,
    statistics: Option<Statistics>,
    receiver: Arc<DatingReceiver>,
    subscribers: Subscribers,
    watch: Stopwatch,
    sync_ms: Option<f64>,
    /// Taken from the receiver so far.
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
        // Earlier when there are as many deliveries as can be remembered.
        let until = match plan.work {
            Work::Callers(_) => until.min(self.watch.seconds()),
            _ => until,
        };
        let mut ledger = publisher.take();
        let grace = Duration::from_secs(plan.grace.into());
        // Nothing means that the time is over, which the figures say.
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
        let database = self.place.database.clone().context("the database is not known")?;
        let events = u32::try_from(deliveries / self.plan.webhooks())?;
        let prefix = self.receiver.prefix(0);
        let prefix = match self.plan.hosts {
            1 => prefix,
            // Every host of loopback.
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

    /// Waits until every delivery to a receiver that answers has arrived. Repeats are counted with the others, so what
    /// came is looked at each time that there may be enough.
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

    /// Waits until no more deliveries are open than so many. A server that does not tell is not waited for.
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
    async fn what_needs_a_server_of_its_own_is_refused_without_one() {
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
