//! The results of an overload.

use std::fmt;

use serde::Serialize;

use super::flood::Flooded;
use crate::load::Percentiles;

/// The quiet company's deliveries. Latency counts from the planned time of an event's call to the arrival.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quiet {
    /// Deliveries of the accepted events.
    pub expected: u64,
    /// Deliveries that did not arrive, and events that were not accepted.
    pub missing: u64,
    /// The latency of the deliveries.
    pub latency: Percentiles,
}

/// The highest resident memory of the server in each part, in MiB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// With all webhooks and no load.
    pub idle: f64,
    /// While one company floods the server.
    pub flood: f64,
    /// During large publications.
    pub large: f64,
    /// With the backlog, half of the receivers hanging.
    pub backlog: f64,
    /// While the server delivers the backlog.
    pub recovery: f64,
    /// Since the server started, as the kernel counts it.
    pub peak: f64,
}

/// The deliveries of a backlog during one part.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Pace {
    /// The duration of the part in seconds.
    pub seconds: f64,
    /// Different deliveries that got a response, per second.
    pub answered_per_second: f64,
    /// Most requests to one webhook within a second.
    pub most_in_second: u32,
    /// Most concurrent requests to one webhook.
    pub most_at_once: u32,
}

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Number of webhooks. Half of them hang.
    pub webhooks: u32,
    /// Deliveries in the backlog.
    pub backlog: u64,
    /// The memory of the server.
    pub memory: Memory,
    /// Allowed memory, in MiB.
    pub memory_bound: f64,
    /// The flood of one company.
    pub flood: Flooded,
    /// The large publications of many companies.
    pub large: Flooded,
    /// The quiet company without other load.
    pub alone: Quiet,
    /// The quiet company during the flood.
    pub beside_flood: Quiet,
    /// The quiet company during the backlog.
    pub beside_backlog: Quiet,
    /// The backlog while half of the receivers hang.
    pub hanging: Pace,
    /// The backlog after they respond again.
    pub recovery: Pace,
    /// Deliveries that the server says it has accepted. Must equal [`Figures::made`].
    pub accepted: u64,
    /// Deliveries in the responses of the server and in the backlog.
    pub made: u64,
    /// Accepted deliveries that have neither ended nor are open (D7).
    pub unaccounted: i64,
    /// Deliveries that are still open at the end.
    pub open: u64,
    /// Deliveries that ended as failed, lost or cancelled.
    pub unsuccessful: u64,
    /// Different deliveries to which receivers responded, without those of the quiet company.
    pub answered: u64,
}

impl Figures {
    /// The factor by which the flood increases the quiet company's latency, at p99.
    pub fn slowdown(&self) -> f64 {
        ratio(self.beside_flood.latency.p99, self.alone.latency.p99)
    }

    /// The expectations that did not hold, in words.
    pub fn missed(&self) -> Vec<String> {
        let quiet = self.alone.missing + self.beside_flood.missing + self.beside_backlog.missing;
        let silent = self.flood.without_retry_after + self.large.without_retry_after;
        let rules = [
            (
                self.unaccounted != 0,
                format!("{} deliveries unaccounted for", self.unaccounted),
            ),
            (
                self.accepted != self.made,
                format!(
                    "the server counted {} accepted deliveries, and {} were created",
                    self.accepted, self.made
                ),
            ),
            (
                quiet > 0,
                format!("{quiet} of the quiet company's deliveries missing"),
            ),
            (silent > 0, format!("{silent} refusals without Retry-After")),
            (
                self.memory.peak > self.memory_bound,
                format!(
                    "{:.0} MiB of memory used, {:.0} allowed",
                    self.memory.peak, self.memory_bound
                ),
            ),
            (
                self.slowdown() >= 2.0,
                format!(
                    "the flood makes the quiet company {:.1} times slower",
                    self.slowdown()
                ),
            ),
        ];
        let broken = rules.into_iter().filter(|(broken, _)| *broken);
        broken.map(|(_, what)| what).collect()
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.memory;
        writeln!(
            f,
            "webhooks    {}, half of them hanging; a backlog of {} deliveries",
            self.webhooks, self.backlog
        )?;
        writeln!(
            f,
            "memory      {:.0} MiB at most, {:.0} allowed: idle {:.0}, flood {:.0}, large publications {:.0}, backlog {:.0}, \
             recovery {:.0}",
            m.peak, self.memory_bound, m.idle, m.flood, m.large, m.backlog, m.recovery
        )?;
        for (name, flooded) in [("flood", &self.flood), ("large", &self.large)] {
            writeln!(
                f,
                "{name:<12}{} calls: {} events and {} deliveries accepted, refused {:?}, {} without a response",
                flooded.calls,
                flooded.accepted_events,
                flooded.accepted_deliveries,
                flooded.refused,
                flooded.unanswered
            )?;
            if let Some(why) = &flooded.first_unanswered {
                writeln!(f, "            the first without a response: {why}")?;
            }
        }
        for (name, pace) in [("hanging", &self.hanging), ("recovery", &self.recovery)] {
            writeln!(
                f,
                "{name:<12}{:.0} s: {:.0} responses per second; most requests to one webhook: {} in a second, {} at once",
                pace.seconds, pace.answered_per_second, pace.most_in_second, pace.most_at_once
            )?;
        }
        writeln!(
            f,
            "at the end  {} of {} deliveries accepted, {} unaccounted for, {} open, {} unsuccessful, {} with a response",
            self.accepted, self.made, self.unaccounted, self.open, self.unsuccessful, self.answered
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<24}{:>10}{:>10}{:>10}{:>10}",
            "a quiet company, ms", "p50", "p99", "max", "missing"
        )?;
        for (name, quiet) in [
            ("alone", self.alone),
            ("during the flood", self.beside_flood),
            ("during the backlog", self.beside_backlog),
        ] {
            let p = quiet.latency;
            writeln!(
                f,
                "{name:<24}{:>10.1}{:>10.1}{:>10.1}{:>10}",
                p.p50, p.p99, p.max, quiet.missing
            )?;
        }
        writeln!(f)?;
        match self.missed().as_slice() {
            [] => writeln!(f, "all held"),
            missed => writeln!(f, "missed: {}", missed.join("; ")),
        }
    }
}
