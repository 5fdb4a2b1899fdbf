//! What a load measured.
//!
//! Promises figures that add up: expected deliveries are those of published events, and each either arrived or is
//! missing. Latency is quantised to three significant digits.

use std::fmt;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

/// An hour in microseconds: what takes longer counts as an hour.
const LONGEST: u64 = 3_600_000_000;

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Events that the plan asked for.
    pub events_planned: u64,
    /// Events that the server accepted.
    pub events_published: u64,
    /// Calls that the server refused or did not answer.
    pub calls_failed: u64,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
    /// Calls that began more than ten milliseconds after their time.
    pub late_starts: u64,
    /// Events published times webhooks.
    pub deliveries_expected: u64,
    /// How many of these came at least once within the grace time.
    pub deliveries_arrived: u64,
    /// How many did not.
    pub deliveries_missing: u64,
    /// Arrivals beyond each delivery's first.
    pub deliveries_repeated: u64,
    /// Events per second that the plan asked for.
    pub rate_planned: f64,
    /// Events published per second, from the first call's time to the last answer.
    pub rate_achieved: f64,
    /// From the intended time of an event's call to a delivery's first arrival.
    pub delivery_latency: Percentiles,
    /// From the actual start of a call to its answer.
    pub call_latency: Percentiles,
}

/// Milliseconds; all zero when nothing was measured.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the percentiles under their usual names")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// Collects durations.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Of nothing yet.
    ///
    /// # Errors
    ///
    /// Never with these bounds, which the histogram checks as it is made.
    pub fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Ok(Self(histogram.context("the histogram's bounds")?))
    }

    /// One more, in seconds; less than a microsecond counts as one.
    pub fn record(&mut self, seconds: f64) {
        // A cast from a float saturates, and the histogram's own bounds do the rest.
        self.0.saturating_record(((seconds * 1e6) as u64).max(1));
    }

    /// The percentiles of all of them.
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

impl Figures {
    /// Whether every event was published and every delivery arrived.
    pub fn complete(&self) -> bool {
        self.events_published == self.events_planned && self.deliveries_missing == 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "events      {} of {} published, {:.1}/s of {:.1}/s asked for",
            self.events_published, self.events_planned, self.rate_achieved, self.rate_planned
        )?;
        writeln!(
            f,
            "calls       {} failed, {} started late",
            self.calls_failed, self.late_starts
        )?;
        if let Some(failure) = &self.first_failure {
            writeln!(f, "            the first failure: {failure}")?;
        }
        writeln!(
            f,
            "deliveries  {} expected, {} arrived, {} missing, {} repeated",
            self.deliveries_expected,
            self.deliveries_arrived,
            self.deliveries_missing,
            self.deliveries_repeated
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "milliseconds", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, p) in [
            ("intended to arrival", self.delivery_latency),
            ("publish call", self.call_latency),
        ] {
            writeln!(
                f,
                "{name:<24}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
                p.p50, p.p90, p.p99, p.p99_9, p.max
            )?;
        }
        Ok(())
    }
}
