//! The results of a load.
//!
//! The figures add up: the expected deliveries are those of published events, and each has either arrived or is
//! missing. Latency has three significant digits.

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::costs::Costs;
use super::plan::Plan;
use super::publishing::{Ledger, Published};
use super::receiver::{Arrival, Kind};
use super::subscribers::Subscribers;

/// An hour in microseconds. Longer latencies count as an hour.
const LONGEST: u64 = 3_600_000_000;
/// A call that starts this much later than planned counts as late, in seconds. The pacer itself is precise to 0.1 ms.
const LATE: f64 = 0.01;

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The plan of the run.
    pub plan: Plan,
    /// Number of server processes; 0 if the load did not start them.
    pub servers: u32,
    /// Planned events, including those of the warm-up.
    pub events_planned: u64,
    /// Events that the server accepted.
    pub events_published: u64,
    /// Calls that the server refused, or that got no response.
    pub calls_failed: u64,
    /// The reason of the first failure.
    pub first_failure: Option<String>,
    /// Calls that began more than ten milliseconds after their time.
    pub late_starts: u64,
    /// Deliveries to webhooks whose receiver responds.
    pub deliveries_expected: u64,
    /// Those that arrived at least once within the grace time.
    pub deliveries_arrived: u64,
    /// Those that did not.
    pub deliveries_missing: u64,
    /// Repeated arrivals of the same attempt.
    pub deliveries_repeated: u64,
    /// Arrivals of second and later attempts.
    pub retries: u64,
    /// Deliveries to webhooks whose receiver hangs.
    pub hanging_expected: u64,
    /// Those that arrived. The others wait until these end.
    pub hanging_arrived: u64,
    /// Published events per second of the measured time.
    pub events_per_second: f64,
    /// First attempts that arrived at receivers that respond, per second of the measured time.
    pub deliveries_per_second: f64,
    /// From the planned time of an event's call to the first arrival of the delivery, at receivers that respond with
    /// 200.
    pub delivery_latency: Percentiles,
    /// From the start of a call to its response.
    pub call_latency: Percentiles,
    /// CPU, memory, WAL and statements.
    pub costs: Costs,
}

/// Milliseconds; all 0 if nothing was measured.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the percentiles under their usual names")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// A histogram of durations.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    ///
    /// Never with these bounds, which the histogram checks when it is created.
    pub fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Ok(Self(histogram.context("the histogram's bounds")?))
    }

    /// Adds a duration in seconds. Less than a microsecond counts as one.
    pub fn record(&mut self, seconds: f64) {
        // The conversion saturates, and so does the histogram.
        self.0.saturating_record(((seconds * 1e6) as u64).max(1));
    }

    /// The percentiles of all durations.
    pub fn percentiles(&self) -> Percentiles {
        let millis = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: millis(self.0.max()),
        }
    }
}

/// A period on the run's stopwatch, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Its first moment.
    pub from: f64,
    /// The first moment after it.
    pub until: f64,
}

impl Span {
    fn contains(self, at: f64) -> bool {
        (self.from..self.until).contains(&at)
    }

    fn rate(self, count: u64) -> f64 {
        count as f64 / (self.until - self.from)
    }
}

/// The arrivals of a run, compared with its published events.
pub struct Arrivals {
    /// First arrivals of the deliveries to receivers that respond, in order of time.
    pub answering: Vec<f64>,
    expected: u64,
    arrived: u64,
    repeated: u64,
    retries: u64,
    hanging_expected: u64,
    hanging: Vec<f64>,
    latencies: Latencies,
}

impl Arrivals {
    /// Compares arrivals with events. Sorts both. Only events whose call was planned at `from` or later count for the
    /// latency.
    ///
    /// # Errors
    ///
    /// Never; see [`Latencies::new`].
    pub fn of(
        events: &mut [Published],
        arrivals: &mut [Arrival],
        subscribers: &Subscribers,
        from: f64,
    ) -> anyhow::Result<Self> {
        events.sort_unstable_by_key(|published| published.event);
        arrivals.sort_unstable_by(|one, other| {
            let key = |arrival: &Arrival| (arrival.event, arrival.webhook, arrival.attempt);
            key(one).cmp(&key(other)).then(one.at.total_cmp(&other.at))
        });
        let mut result = Self {
            answering: Vec::with_capacity(arrivals.len()),
            expected: 0,
            arrived: 0,
            repeated: 0,
            retries: 0,
            hanging_expected: 0,
            hanging: Vec::new(),
            latencies: Latencies::new()?,
        };
        for published in &*events {
            let recipients = subscribers.of_event(published.number);
            result.expected += recipients.answering;
            result.hanging_expected += recipients.hanging;
        }
        let mut known = events.iter().peekable();
        let mut last: Option<&Arrival> = None;
        for arrival in &*arrivals {
            while known
                .next_if(|published| published.event < arrival.event)
                .is_some()
            {}
            let published = known.peek().filter(|published| published.event == arrival.event);
            result.note(arrival, last, published.copied(), from);
            last = Some(arrival);
        }
        result.answering.sort_unstable_by(f64::total_cmp);
        Ok(result)
    }

    fn note(&mut self, arrival: &Arrival, last: Option<&Arrival>, published: Option<&Published>, from: f64) {
        let same = last.filter(|last| (last.event, last.webhook) == (arrival.event, arrival.webhook));
        if let Some(last) = same {
            match last.attempt == arrival.attempt {
                true => self.repeated += 1,
                false => self.retries += 1,
            }
            return;
        }
        if arrival.kind == Kind::Hanging {
            self.hanging.push(arrival.at);
            return;
        }
        self.answering.push(arrival.at);
        let Some(published) = published else { return };
        self.arrived += 1;
        if arrival.kind == Kind::Healthy && published.intended >= from {
            self.latencies.record(arrival.at - published.intended);
        }
    }

    /// Number of missing deliveries of known events.
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.arrived)
    }

    /// Number of arrivals within a span, including those at receivers that hang.
    pub fn within(&self, span: Span) -> u64 {
        let all = self.answering.iter().chain(&self.hanging);
        all.filter(|at| span.contains(**at)).count() as u64
    }
}

impl Figures {
    /// The figures of a run without publications.
    pub fn of_nothing(plan: &Plan, servers: u32, costs: Costs) -> Self {
        Self {
            plan: plan.clone(),
            servers,
            events_planned: 0,
            events_published: 0,
            calls_failed: 0,
            first_failure: None,
            late_starts: 0,
            deliveries_expected: 0,
            deliveries_arrived: 0,
            deliveries_missing: 0,
            deliveries_repeated: 0,
            retries: 0,
            hanging_expected: 0,
            hanging_arrived: 0,
            events_per_second: 0.0,
            deliveries_per_second: 0.0,
            delivery_latency: Percentiles::default(),
            call_latency: Percentiles::default(),
            costs,
        }
    }

    /// Adds the figures of a backlog of this number of deliveries. The rate is that of the span.
    pub fn with_backlog(self, deliveries: u64, arrivals: &Arrivals, span: Span) -> Self {
        let arrived = arrivals.answering.len() as u64;
        let within = arrivals.answering.iter().filter(|at| span.contains(**at));
        Self {
            deliveries_expected: deliveries,
            deliveries_arrived: arrived,
            deliveries_missing: deliveries.saturating_sub(arrived),
            deliveries_repeated: arrivals.repeated,
            retries: arrivals.retries,
            deliveries_per_second: span.rate(within.count() as u64),
            ..self
        }
    }

    /// Adds the figures of the publications and their arrivals. Rates and latencies are those of the span.
    ///
    /// # Errors
    ///
    /// Never; see [`Latencies::new`].
    pub fn with_calls(self, ledger: &Ledger, arrivals: &Arrivals, span: Span) -> anyhow::Result<Self> {
        let mut answers = Latencies::new()?;
        let measured = || ledger.calls.iter().filter(|call| call.intended >= span.from);
        for call in measured() {
            answers.record(call.answered - call.started);
        }
        let published = ledger.events.len() as u64;
        let within = ledger.events.iter().filter(|event| span.contains(event.answered));
        let delivered = arrivals.answering.iter().filter(|at| span.contains(**at));
        Ok(Self {
            events_planned: self.plan.events().unwrap_or(published + ledger.events_failed),
            events_published: published,
            calls_failed: ledger.failed,
            first_failure: ledger.first_failure.clone(),
            late_starts: measured()
                .filter(|call| call.started - call.intended > LATE)
                .count() as u64,
            deliveries_expected: arrivals.expected,
            deliveries_arrived: arrivals.arrived,
            deliveries_missing: arrivals.missing(),
            deliveries_repeated: arrivals.repeated,
            retries: arrivals.retries,
            hanging_expected: arrivals.hanging_expected,
            hanging_arrived: arrivals.hanging.len() as u64,
            events_per_second: span.rate(within.count() as u64),
            deliveries_per_second: span.rate(delivered.count() as u64),
            delivery_latency: arrivals.latencies.percentiles(),
            call_latency: answers.percentiles(),
            ..self
        })
    }

    /// Whether every event was published and every delivery to a receiver that responds arrived.
    pub fn complete(&self) -> bool {
        self.events_published == self.events_planned && self.deliveries_missing == 0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn published(event: u128, number: u64, intended: f64) -> Published {
        Published {
            event: Uuid::from_u128(event),
            number,
            intended,
            answered: intended,
        }
    }

    fn arrival(event: u128, webhook: u32, kind: Kind, attempt: u8, at: f64) -> Arrival {
        Arrival {
            event: Uuid::from_u128(event),
            webhook,
            kind,
            attempt,
            at,
        }
    }

    #[test]
    fn deliveries_are_counted_as_arrived_repeated_or_missing() {
        let plan = Plan {
            fan_out: 2,
            companies: 2,
            hanging: 1,
            ..Plan::default()
        };
        let subscribers = Subscribers::new(&plan);
        let mut events = [published(3, 1, 2.0), published(2, 0, 1.0)];
        let mut arrivals = [
            arrival(3, 3, Kind::Failing, 2, 9.0),
            arrival(3, 3, Kind::Failing, 1, 4.0),
            arrival(2, 4, Kind::Hanging, 1, 1.5),
            arrival(2, 0, Kind::Healthy, 1, 1.75),
            arrival(2, 0, Kind::Healthy, 1, 1.25),
            arrival(3, 2, Kind::Healthy, 1, 2.5),
            // The call of this event got no response.
            arrival(1, 2, Kind::Healthy, 1, 0.5),
        ];
        let arrivals = Arrivals::of(&mut events, &mut arrivals, &subscribers, 1.5).unwrap();
        assert_eq!(arrivals.answering, [0.5, 1.25, 2.5, 4.0]);
        assert_eq!(
            (arrivals.expected, arrivals.arrived, arrivals.missing()),
            (4, 3, 1)
        );
        assert_eq!((arrivals.repeated, arrivals.retries), (1, 1));
        assert_eq!((arrivals.hanging_expected, arrivals.hanging.len()), (1, 1));
        assert_eq!(
            arrivals.within(Span {
                from: 1.25,
                until: 4.0
            }),
            3
        );
        // Only the event planned at 2.0 counts, at the healthy receiver.
        let latency = arrivals.latencies.percentiles();
        assert_eq!((latency.p50.round(), latency.max.round()), (500.0, 500.0));
    }
}
