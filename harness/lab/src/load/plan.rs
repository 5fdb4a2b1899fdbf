//! The plan of a load, with its bounds.

use anyhow::ensure;
use serde::Serialize;

/// Maximum number of deliveries in one run. The laboratory keeps each in memory until the end.
pub const MAX_DELIVERIES: u64 = 5_000_000;

/// The plan of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The kind of work.
    pub work: Work,
    /// Measured seconds, 1 to 3,600.
    pub seconds: u32,
    /// Seconds of the same work before the measurement begins, up to 600.
    pub warm_up: u32,
    /// Webhooks that get each event, 1 to 1,000.
    pub fan_out: u32,
    /// Companies of the events, in turn, 1 to 100,000. Each has its own webhooks.
    pub companies: u32,
    /// Events per call, 1 to 1,000.
    pub batch: u32,
    /// Bytes of an event's data as JSON, 16 to 262,144.
    pub body_bytes: u32,
    /// Percentage of webhooks whose receiver responds to every attempt with 500, up to 100.
    pub failing: u32,
    /// Additional webhooks whose receiver hangs, spread over the companies, up to 10,000.
    pub hanging: u32,
    /// Addresses of this machine for the receivers, 1 to 10,000. The server treats each as a host. If there is
    /// more than one, the receivers that hang get as many addresses of their own.
    pub hosts: u32,
    /// Seconds to wait for deliveries after the last call, up to 3,600.
    pub grace: u32,
}

/// The kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// This number of events per second, above 0 to 100,000, whether or not earlier calls got a response: an open loop.
    Rate(f64),
    /// This number of callers, 1 to 1,000. Each waits for its response before the next call: a closed loop.
    Callers(u32),
    /// No publications. This number of deliveries, up to [`MAX_DELIVERIES`] and at least one for each webhook, is open
    /// when the servers start.
    Backlog(u64),
    /// No publications and no deliveries.
    Idle,
}

impl Default for Plan {
    /// Fifty events per second to one webhook.
    fn default() -> Self {
        Self {
            work: Work::Rate(50.0),
            seconds: 10,
            warm_up: 0,
            fan_out: 1,
            companies: 1,
            batch: 1,
            body_bytes: 1_024,
            failing: 0,
            hanging: 0,
            hosts: 1,
            grace: 30,
        }
    }
}

impl Plan {
    /// Number of events of an open loop, including the warm-up. `None` for other work, where it is not known in
    /// advance.
    pub fn events(&self) -> Option<u64> {
        match self.work {
            Work::Rate(rate) => Some((rate * f64::from(self.warm_up + self.seconds)).round() as u64),
            Work::Callers(_) | Work::Backlog(_) | Work::Idle => None,
        }
    }

    /// Number of events with [`MAX_DELIVERIES`] deliveries, after which a closed loop ends.
    pub fn most_events(&self) -> u64 {
        let hanging = self.hanging.div_ceil(self.companies);
        MAX_DELIVERIES / u64::from(self.fan_out + hanging)
    }

    /// Number of webhooks whose receiver responds.
    pub fn webhooks(&self) -> u64 {
        u64::from(self.companies) * u64::from(self.fan_out)
    }

    /// Refuses what cannot be run, and names the argument.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds, or there would be no events or too many deliveries.
    pub fn check(&self) -> anyhow::Result<()> {
        let bounds = [
            ("seconds", self.seconds, 1, 3_600),
            ("warm-up", self.warm_up, 0, 600),
            ("fan-out", self.fan_out, 1, 1_000),
            ("companies", self.companies, 1, 100_000),
            ("batch", self.batch, 1, 1_000),
            ("body-bytes", self.body_bytes, 16, 262_144),
            ("failing", self.failing, 0, 100),
            ("hanging", self.hanging, 0, 10_000),
            ("hosts", self.hosts, 1, 10_000),
            ("grace", self.grace, 0, 3_600),
        ];
        for (name, value, least, most) in bounds {
            ensure!(
                (least..=most).contains(&value),
                "--{name} must be {least} to {most}, not {value}"
            );
        }
        ensure!(
            self.webhooks() <= 100_000,
            "{} webhooks are too many (at most 100000): lower --companies or --fan-out",
            self.webhooks()
        );
        match self.work {
            Work::Rate(rate) => self.check_rate(rate),
            Work::Callers(callers) => {
                ensure!(
                    (1..=1_000).contains(&callers),
                    "--callers must be 1 to 1000, not {callers}"
                );
                Ok(())
            }
            Work::Backlog(deliveries) => {
                ensure!(
                    (self.webhooks()..=MAX_DELIVERIES).contains(&deliveries),
                    "--drain must be {} (one for each webhook) to {MAX_DELIVERIES}, not {deliveries}",
                    self.webhooks()
                );
                ensure!(
                    self.hanging == 0 && self.failing == 0,
                    "--drain cannot have failing receivers: leave out --failing and --hanging"
                );
                Ok(())
            }
            Work::Idle => Ok(()),
        }
    }

    fn check_rate(&self, rate: f64) -> anyhow::Result<()> {
        ensure!(
            rate > 0.0 && rate <= 100_000.0,
            "--rate must be above 0 and at most 100000 events per second, not {rate}"
        );
        let events = self.events().unwrap_or_default();
        ensure!(
            events > 0,
            "no event is published in {} s at {rate} events per second: raise --rate or --seconds",
            self.warm_up + self.seconds
        );
        ensure!(
            events <= self.most_events(),
            "{events} events with --fan-out {} make more than {MAX_DELIVERIES} deliveries: lower --rate, --seconds or --fan-out",
            self.fan_out
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Plan);

    #[test]
    fn out_of_bounds_arguments_are_refused_by_name() {
        let most = Plan {
            work: Work::Callers(1_000),
            seconds: 3_600,
            warm_up: 600,
            fan_out: 1_000,
            companies: 100,
            batch: 1_000,
            body_bytes: 262_144,
            failing: 100,
            hanging: 10_000,
            hosts: 10_000,
            grace: 3_600,
        };
        most.check().unwrap();
        Plan {
            fan_out: 1,
            companies: 100_000,
            ..most.clone()
        }
        .check()
        .unwrap();
        let past: [(&str, Change); 19] = [
            ("--seconds", |plan| plan.seconds += 1),
            ("--seconds", |plan| plan.seconds = 0),
            ("--warm-up", |plan| plan.warm_up += 1),
            ("--fan-out", |plan| plan.fan_out += 1),
            ("--fan-out", |plan| plan.fan_out = 0),
            ("100100 webhooks", |plan| {
                (plan.fan_out, plan.companies) = (100, 1_001)
            }),
            ("--companies", |plan| {
                (plan.fan_out, plan.companies) = (1, 100_001)
            }),
            ("--batch", |plan| plan.batch += 1),
            ("--batch", |plan| plan.batch = 0),
            ("--body-bytes", |plan| plan.body_bytes += 1),
            ("--body-bytes", |plan| plan.body_bytes = 15),
            ("--failing", |plan| plan.failing += 1),
            ("--hanging", |plan| plan.hanging += 1),
            ("--hosts", |plan| plan.hosts += 1),
            ("--hosts", |plan| plan.hosts = 0),
            ("--grace", |plan| plan.grace += 1),
            ("--callers", |plan| plan.work = Work::Callers(1_001)),
            ("--callers", |plan| plan.work = Work::Callers(0)),
            ("--drain", |plan| plan.work = Work::Backlog(MAX_DELIVERIES + 1)),
        ];
        for (argument, set) in past {
            let mut plan = most.clone();
            set(&mut plan);
            let error = plan.check().unwrap_err().to_string();
            assert!(error.starts_with(argument), "{argument}: {error}");
        }
    }

    #[test]
    fn a_rate_makes_at_least_one_event_and_not_too_many_deliveries() {
        let plan = |rate, seconds, fan_out| Plan {
            work: Work::Rate(rate),
            seconds,
            fan_out,
            ..Plan::default()
        };
        plan(100_000.0, 50, 1).check().unwrap();
        for (plan, argument) in [
            (plan(f64::NAN, 1, 1), "--rate"),
            (plan(0.0, 1, 1), "--rate"),
            (plan(100_001.0, 1, 1), "--rate"),
            (plan(0.1, 1, 1), "no event"),
            (plan(100_000.0, 51, 1), "more than 5000000 deliveries"),
            (plan(100_000.0, 26, 2), "more than 5000000 deliveries"),
        ] {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(argument), "{argument}: {error}");
        }
    }

    #[test]
    fn a_backlog_needs_events_for_each_webhook_and_no_failing_one() {
        let plan = Plan {
            work: Work::Backlog(20),
            fan_out: 2,
            companies: 10,
            ..Plan::default()
        };
        plan.check().unwrap();
        for plan in [
            Plan {
                work: Work::Backlog(19),
                ..plan.clone()
            },
            Plan {
                failing: 1,
                ..plan.clone()
            },
            Plan {
                hanging: 1,
                ..plan.clone()
            },
        ] {
            assert!(plan.check().unwrap_err().to_string().starts_with("--drain"));
        }
    }
}
