//! The identity of D7, read from the server's metrics.

use anyhow::Context;

/// The number of accepted deliveries, by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of D7")]
pub struct Tally {
    pub accepted: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub lost: u64,
    pub cancelled: u64,
    pub open: u64,
}

impl Tally {
    /// Reads the Prometheus text format.
    ///
    /// # Errors
    ///
    /// If a metric is missing or is not a count.
    pub fn parse(metrics: &str) -> anyhow::Result<Self> {
        let sample = |name: &str| {
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let line = line.with_context(|| format!("no metric {name} in:\n{metrics}"))?;
            line.trim()
                .parse::<u64>()
                .with_context(|| format!("{name} is {line}"))
        };
        Ok(Self {
            accepted: sample("tenterhook_deliveries_accepted_total")?,
            succeeded: sample("tenterhook_deliveries_succeeded_total")?,
            failed: sample("tenterhook_deliveries_failed_total")?,
            lost: sample("tenterhook_deliveries_lost_total")?,
            cancelled: sample("tenterhook_deliveries_cancelled_total")?,
            open: sample("tenterhook_deliveries_open")?,
        })
    }

    /// Whether the statuses add up to the accepted deliveries (D7).
    pub fn is_conserved(&self) -> bool {
        self.accepted == self.succeeded + self.failed + self.lost + self.cancelled + self.open
    }
}
