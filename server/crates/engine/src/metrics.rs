//! Figures for operators, as Prometheus text.
//!
//! The figures of D7 come from the database, so that every server reports the same sums. Figures that a server measures
//! itself (durations, deliveries held) are its own.

use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use tenterhook_model::attempt::{AttemptErrorClass, Outcome};
use tenterhook_outbound_http::Lack;
use tenterhook_store::delivery_counters::Tally;

/// The engine's figures at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// D7's identity over all processes.
    pub all: Tally,
    /// D7's counts of this process.
    pub here: Tally,
    /// Deliveries that wait in this process.
    pub waiting: usize,
    /// Requests in flight from this process.
    pub in_flight: usize,
    /// Number of days after today that have partitions.
    pub days_ahead: usize,
    /// Notices not yet delivered to the platform's endpoint (R4).
    pub notices_waiting: i64,
    /// By how much the database's clock is ahead of this machine's.
    pub database_ahead: SignedDuration,
}

/// Counters and histograms of this server.
#[derive(Debug, Clone)]
pub struct Metrics {
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Histogram,
    attempts_postponed: Family<PostponedLabels, Counter>,
    settled_results: Histogram,
    grouped_events: Histogram,
    lost_leases: Counter,
    refused_publications: Counter,
    notice_attempts: Family<AttemptLabels, Counter>,
    notices_given_up: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PostponedLabels {
    lack: PostponedFor,
}

/// The resource that was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PostponedFor(Lack);

impl EncodeLabelValue for PostponedFor {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        let name = match self.0 {
            Lack::Means => "MEANS",
            Lack::NameServers => "NAME_SERVERS",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    result: AttemptResult,
}

/// `SUCCESS`, or the error class as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AttemptResult(Option<AttemptErrorClass>);

impl EncodeLabelValue for AttemptResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        let name = match self.0 {
            None => "SUCCESS",
            Some(AttemptErrorClass::Status) => "STATUS",
            Some(AttemptErrorClass::Timeout) => "TIMEOUT",
            Some(AttemptErrorClass::Dns) => "DNS",
            Some(AttemptErrorClass::Connect) => "CONNECT",
            Some(AttemptErrorClass::Tls) => "TLS",
            Some(AttemptErrorClass::Reset) => "RESET",
            Some(AttemptErrorClass::Protocol) => "PROTOCOL",
            Some(AttemptErrorClass::BlockedAddress) => "BLOCKED_ADDRESS",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            attempt_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            attempts_postponed: Family::default(),
            settled_results: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            grouped_events: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            lost_leases: Counter::default(),
            refused_publications: Counter::default(),
            notice_attempts: Family::default(),
            notices_given_up: Counter::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn attempt(&self, outcome: &Outcome, took: Duration) {
        let result = AttemptResult(outcome.error_class);
        self.attempts.get_or_create(&AttemptLabels { result }).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// Counts a request that could not be made because this machine lacked a resource. It is not an attempt (D13).
    pub(crate) fn postponed(&self, lack: Lack) {
        let lack = PostponedFor(lack);
        self.attempts_postponed
            .get_or_create(&PostponedLabels { lack })
            .inc();
    }

    pub(crate) fn settled(&self, results: usize, lost: usize) {
        self.settled_results.observe(results as f64);
        self.lost_leases.inc_by(lost as u64);
    }

    pub(crate) fn publication_refused(&self) {
        self.refused_publications.inc();
    }

    pub(crate) fn grouped(&self, events: usize) {
        self.grouped_events.observe(events as f64);
    }

    pub(crate) fn notice(&self, outcome: &Outcome) {
        let result = AttemptResult(outcome.error_class);
        self.notice_attempts
            .get_or_create(&AttemptLabels { result })
            .inc();
    }

    pub(crate) fn notice_given_up(&self) {
        self.notices_given_up.inc();
    }

    /// The page that a scraper reads.
    ///
    /// # Errors
    ///
    /// Never: it is written into memory.
    pub fn page(&self, reading: &Reading) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("tenterhook");
        register_reading(&mut registry, reading);
        self.register(&mut registry);
        let mut page = String::new();
        encode(&mut page, &registry)?;
        Ok(page)
    }

    /// Registers what this server measures itself.
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "server_attempts",
            "Attempts of this server, by result",
            self.attempts.clone(),
        );
        let seconds = "Seconds from the start of an attempt to its result";
        registry.register("server_attempt_seconds", seconds, self.attempt_seconds.clone());
        registry.register(
            "attempts_postponed",
            "Attempts that this server postponed because it had no file descriptor or memory left, or no name server responded",
            self.attempts_postponed.clone(),
        );
        let settled = "Results settled in one transaction";
        registry.register("server_settled_results", settled, self.settled_results.clone());
        let grouped = "Events published in one transaction";
        registry.register("server_grouped_events", grouped, self.grouped_events.clone());
        let lost = "Results that were dropped because their lease had ended";
        registry.register("server_lost_leases", lost, self.lost_leases.clone());
        let refused =
            "Calls of publishEvents that were refused because too many were waiting or memory was short";
        registry.register(
            "server_refused_publications",
            refused,
            self.refused_publications.clone(),
        );
        registry.register(
            "server_notice_attempts",
            "Attempts of this server to deliver a notice, by result",
            self.notice_attempts.clone(),
        );
        let given_up = "Notices that this server gave up";
        registry.register("server_notices_given_up", given_up, self.notices_given_up.clone());
    }
}

/// Registers the figures from the database, and what this server holds.
fn register_reading(registry: &mut Registry, reading: &Reading) {
    register_tally(registry, &reading.all);
    register_tally(registry.sub_registry_with_prefix("server"), &reading.here);
    let open = "Deliveries that have not ended, in the database";
    registry.register("deliveries_open", open, ConstGauge::new(reading.all.open));
    let waiting = "Notices not yet delivered to the platform's endpoint, in the database";
    registry.register(
        "notices_waiting",
        waiting,
        ConstGauge::new(reading.notices_waiting),
    );
    let ahead = "Seconds by which the database's clock is ahead of this server's; negative if it is behind";
    registry.register(
        "database_clock_offset_seconds",
        ahead,
        ConstGauge::new(reading.database_ahead.as_secs_f64()),
    );
    let held = [
        (
            "server_deliveries_waiting",
            "Deliveries that this server has leased and not started to send",
            reading.waiting,
        ),
        (
            "server_requests_in_flight",
            "Requests of this server in flight",
            reading.in_flight,
        ),
        (
            "partition_days_ahead",
            "Days after today that have partitions for events and history; at zero, publishing fails from midnight on",
            reading.days_ahead,
        ),
    ];
    for (name, help, value) in held {
        registry.register(
            name,
            help,
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }
}

/// Registers the terms of D7's identity under their names.
fn register_tally(registry: &mut Registry, tally: &Tally) {
    let sides = [
        (
            "deliveries_accepted",
            "Deliveries created, including lost ones",
            tally.accepted,
        ),
        (
            "deliveries_succeeded",
            "Deliveries that ended with a 2xx response",
            tally.succeeded,
        ),
        (
            "deliveries_failed",
            "Deliveries whose attempts all failed",
            tally.failed,
        ),
        (
            "deliveries_lost",
            "Deliveries that were due during a ban or pause",
            tally.lost,
        ),
        (
            "deliveries_cancelled",
            "Deliveries ended by their webhook's removal",
            tally.cancelled,
        ),
    ];
    for (name, help, value) in sides {
        registry.register(name, help, ConstCounter::new(u64::try_from(value).unwrap_or(0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_term_of_the_delivery_identity() {
        let all = Tally {
            accepted: 10,
            succeeded: 4,
            failed: 1,
            lost: 2,
            cancelled: 0,
            open: 3,
        };
        let reading = Reading {
            all,
            here: Tally { accepted: 6, ..all },
            waiting: 1,
            in_flight: 2,
            days_ahead: 3,
            notices_waiting: 5,
            database_ahead: SignedDuration::from_millis(-1_500),
        };
        let metrics = Metrics::default();
        let outcome = Outcome {
            status: None,
            error_class: Some(AttemptErrorClass::Tls),
            error_message: None,
            timings: Default::default(),
            response_headers: Vec::new(),
            response_body: None,
            response_truncated: false,
        };
        metrics.attempt(&outcome, Duration::from_millis(3));
        metrics.postponed(Lack::NameServers);
        metrics.notice(&outcome);
        metrics.notice_given_up();
        let page = metrics.page(&reading).unwrap();
        for line in [
            "tenterhook_deliveries_accepted_total 10",
            "tenterhook_deliveries_succeeded_total 4",
            "tenterhook_deliveries_failed_total 1",
            "tenterhook_deliveries_lost_total 2",
            "tenterhook_deliveries_cancelled_total 0",
            "tenterhook_deliveries_open 3",
            "tenterhook_partition_days_ahead 3",
            "tenterhook_server_deliveries_accepted_total 6",
            "tenterhook_server_attempts_total{result=\"TLS\"} 1",
            "tenterhook_attempts_postponed_total{lack=\"NAME_SERVERS\"} 1",
            "tenterhook_notices_waiting 5",
            "tenterhook_database_clock_offset_seconds -1.5",
            "tenterhook_server_notice_attempts_total{result=\"TLS\"} 1",
            "tenterhook_server_notices_given_up_total 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
        }
    }
}
