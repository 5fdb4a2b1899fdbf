//! The results of a load as a table for people.

use std::fmt;

use super::costs::{Costs, Cpu};
use super::figures::Figures;
use super::plan::Work;

/// Most characters of a statement's text in the table.
const TEXT: usize = 100;

impl Figures {
    /// Writes what was done. Returns whether that publishes events.
    fn write_work(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let plan = &self.plan;
        let publishes = match plan.work {
            Work::Rate(rate) => {
                writeln!(
                    f,
                    "work          {rate} events/s for {} s, after a warm-up of {} s",
                    plan.seconds, plan.warm_up
                )?;
                true
            }
            Work::Callers(callers) => {
                writeln!(
                    f,
                    "work          {callers} callers for {} s, after a warm-up of {} s",
                    plan.seconds, plan.warm_up
                )?;
                true
            }
            Work::Backlog(_) => {
                writeln!(
                    f,
                    "work          a backlog; the rate leaves out its first and last tenth"
                )?;
                false
            }
            Work::Idle => {
                writeln!(
                    f,
                    "work          none, for {} s, after a warm-up of {} s",
                    plan.seconds, plan.warm_up
                )?;
                false
            }
        };
        writeln!(
            f,
            "with          batch {}, fan-out {}, {} bytes; {} companies, {} % failing, {} hanging, {} hosts; {} servers",
            plan.batch,
            plan.fan_out,
            plan.body_bytes,
            plan.companies,
            plan.failing,
            plan.hanging,
            plan.hosts,
            self.servers
        )?;
        Ok(publishes)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        let publishes = self.write_work(f)?;
        if publishes {
            writeln!(
                f,
                "events        {} of {} published, {:.1}/s",
                self.events_published, self.events_planned, self.events_per_second
            )?;
            writeln!(
                f,
                "calls         {} failed, {} started late",
                self.calls_failed, self.late_starts
            )?;
        }
        if let Some(failure) = &self.first_failure {
            writeln!(f, "              first failure: {failure}")?;
        }
        if plan.work != Work::Idle {
            writeln!(
                f,
                "deliveries    {} expected, {} arrived, {} missing, {} repeated, {} retries, {:.1}/s",
                self.deliveries_expected,
                self.deliveries_arrived,
                self.deliveries_missing,
                self.deliveries_repeated,
                self.retries,
                self.deliveries_per_second
            )?;
        }
        if self.hanging_expected > 0 {
            writeln!(
                f,
                "              {} more expected by receivers that hang, {} of these arrived",
                self.hanging_expected, self.hanging_arrived
            )?;
        }
        if publishes {
            self.write_latencies(f)?;
        }
        self.costs.write(f)
    }
}

impl Figures {
    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "milliseconds", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, p) in [
            ("publish call", self.call_latency),
            ("call to arrival", self.delivery_latency),
        ] {
            writeln!(
                f,
                "{name:<24}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
                p.p50, p.p90, p.p99, p.p99_9, p.max
            )?;
        }
        Ok(())
    }

    /// The costliest statements, one per line.
    pub fn statements(&self) -> String {
        let mut lines = format!("\n{:>10}{:>12}{:>8}  statement\n", "calls", "mean ms", "share");
        for costly in &self.costs.costliest {
            let text: String = costly
                .statement
                .text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            let text: String = text.chars().take(TEXT).collect();
            lines += &format!(
                "{:>10}{:>12.3}{:>7.1}%  {text}\n",
                costly.statement.calls,
                costly.mean_ms,
                costly.share * 100.0
            );
        }
        lines
    }
}

impl Costs {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<24}{:>14}{:>18}", "CPU", "cores", "µs per delivery")?;
        for (name, cpu) in [
            ("server", self.server),
            ("Postgres", self.postgres),
            ("server and Postgres", self.server_and_postgres),
            ("callers", self.callers),
            ("receiver", self.receiver),
        ] {
            if let Some(Cpu {
                cores,
                micros_per_delivery,
            }) = cpu
            {
                write!(f, "{name:<24}{cores:>14.4}")?;
                match micros_per_delivery {
                    Some(micros) => writeln!(f, "{micros:>18.1}")?,
                    None => writeln!(f)?,
                }
            }
        }
        writeln!(f)?;
        for memory in &self.memory {
            writeln!(
                f,
                "server memory           {:>10.1} MiB at the end, {:.1} at most",
                memory.end, memory.peak
            )?;
        }
        for (name, figure) in [
            ("WAL bytes", self.wal_bytes_per_delivery),
            ("transactions", self.transactions_per_delivery),
            ("statements", self.statements_per_delivery),
        ] {
            if let Some(figure) = figure {
                writeln!(f, "{name:<24}{figure:>10.3} per delivery")?;
            }
        }
        if let Some(sync) = self.sync_ms {
            writeln!(f, "{:<24}{sync:>10.2} ms", "disk write of a page")?;
        }
        writeln!(
            f,
            "{:<24}{:>10} in {:.1} s",
            "deliveries counted", self.deliveries, self.seconds
        )
    }
}
