//! Read latency at scale: how long a real server takes for the queries that people send about a long history.
//!
//! Every result comes over HTTP, for a caller who may see it, and is checked: an error counts as a failure, and so does
//! an empty page. Queries are sent one after the other, so that a response's time is its own. How many queries a server
//! can serve at once is not measured. Each query is sent about webhooks with few rows, of many different companies, and
//! about those of the company with a tenth of all events.

mod environment;
mod questions;

use std::fmt;
use std::path::Path;

use anyhow::ensure;
use serde::Serialize;

use tenterhook_harness::database::Cluster;
use tenterhook_harness::realtime::Stopwatch;

use self::environment::{Environment, Subject};
use self::questions::{QUESTIONS, Question};
use crate::load::{Latencies, Percentiles};
use crate::seed_database;

/// Allowed numbers of samples per query.
pub const SAMPLES: std::ops::RangeInclusive<u32> = 10..=100_000;
/// Queries before the measured ones: they open connections and prepare statements.
const WARMING: usize = 8;

/// The plan of a measurement.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of samples per query, within [`SAMPLES`].
    pub samples: u32,
    /// Bound for the 99th percentile, in milliseconds, above 0.
    pub bound: f64,
}

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Bound for the 99th percentile, in milliseconds.
    pub bound: f64,
    /// The results of each query.
    pub answers: Vec<Answers>,
}

/// The results of one query.
#[derive(Debug, Clone, Serialize)]
pub struct Answers {
    /// The name of the query.
    pub question: &'static str,
    /// Whether the bound applies. It does not apply to queries that ask for a count of rows.
    pub bounded: bool,
    /// Latency for webhooks with few rows, in milliseconds.
    pub few: Percentiles,
    /// Latency for webhooks with many rows.
    pub many: Percentiles,
    /// Number of responses with an error or without content.
    pub failures: u64,
    /// The reason of the first failure.
    pub first_failure: Option<String>,
}

impl Plan {
    /// Refuses what cannot be measured, and names the argument.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            SAMPLES.contains(&self.samples),
            "--samples must be {} to {}, not {}",
            SAMPLES.start(),
            SAMPLES.end(),
            self.samples
        );
        ensure!(self.bound > 0.0, "--bound must be above 0, not {}", self.bound);
        Ok(())
    }
}

/// Measures a server of this binary on a new Postgres, which is filled first.
///
/// # Errors
///
/// If a plan is out of bounds, or something cannot be started or filled.
pub async fn run_filled(
    plan: &Plan,
    server: &Path,
    fill: &seed_database::Plan,
    progress: impl Fn(seed_database::Progress),
    answered: impl Fn(&Answers),
) -> anyhow::Result<Figures> {
    plan.check()?;
    let database = Cluster::shared().await?.database().await?;
    let url = database.url(None);
    seed_database::run(fill, &url.parse()?, progress).await?;
    run(plan, server, &url, answered).await
}

/// Measures a server of this binary on a filled database. Calls `answered` after each query.
///
/// # Errors
///
/// If the plan is out of bounds, the server does not start, or the database was not filled.
pub async fn run(
    plan: &Plan,
    server: &Path,
    database: &str,
    answered: impl Fn(&Answers),
) -> anyhow::Result<Figures> {
    plan.check()?;
    let environment = Environment::start(server, database).await?;
    let (few, many) = (environment.few().await?, environment.many().await?);
    let mut answers = Vec::new();
    for question in &QUESTIONS {
        let asked = ask(question, plan, &few, &many).await?;
        answered(&asked);
        answers.push(asked);
    }
    environment.stop().await?;
    Ok(Figures {
        bound: plan.bound,
        answers,
    })
}

async fn ask(question: &Question, plan: &Plan, few: &[Subject], many: &[Subject]) -> anyhow::Result<Answers> {
    let (mut failures, mut first_failure) = (0, None);
    let mut percentiles = [Percentiles::default(); 2];
    for (subjects, percentiles) in [few, many].into_iter().zip(&mut percentiles) {
        let mut latencies = Latencies::new()?;
        let warming = subjects.iter().cycle().take(WARMING);
        let asked = subjects.iter().cycle().take(plan.samples as usize);
        for (place, subject) in warming.chain(asked).enumerate() {
            let watch = Stopwatch::start();
            let answer = question.ask(subject).await;
            if place >= WARMING {
                latencies.record(watch.seconds());
                if let Err(failure) = answer {
                    failures += 1;
                    first_failure.get_or_insert_with(|| format!("{failure:#}"));
                }
            }
        }
        *percentiles = latencies.percentiles();
    }
    let [few, many] = percentiles;
    Ok(Answers {
        question: question.name,
        bounded: question.bounded,
        few,
        many,
        failures,
        first_failure,
    })
}

impl Answers {
    fn kept(&self, bound: f64) -> bool {
        let within = self.few.p99 <= bound && self.many.p99 <= bound;
        self.failures == 0 && (within || !self.bounded)
    }
}

impl Figures {
    /// Whether no query failed, and every query with a bound is within it.
    pub fn kept(&self) -> bool {
        self.answers.iter().all(|answers| answers.kept(self.bound))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<48}{:>9}{:>9}{:>11}{:>9}",
            "milliseconds", "few p50", "p99", "many p50", "p99"
        )?;
        for answers in &self.answers {
            let mark = match (answers.kept(self.bound), answers.bounded) {
                (false, _) => "  over the bound",
                (true, false) => "  no bound",
                (true, true) => "",
            };
            writeln!(
                f,
                "{:<48}{:>9.1}{:>9.1}{:>11.1}{:>9.1}{mark}",
                answers.question, answers.few.p50, answers.few.p99, answers.many.p50, answers.many.p99
            )?;
            if let Some(failure) = &answers.first_failure {
                writeln!(f, "    {} failed; first failure: {failure}", answers.failures)?;
            }
        }
        writeln!(f, "\nThe bound is {} ms for p99.", self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(p99: f64, bounded: bool, failures: u64) -> Answers {
        let percentiles = Percentiles {
            p99,
            ..Percentiles::default()
        };
        Answers {
            question: "how long",
            bounded,
            few: Percentiles::default(),
            many: percentiles,
            failures,
            first_failure: None,
        }
    }

    #[test]
    fn every_bounded_response_must_keep_the_bound() {
        let kept = |answers: Answers| {
            Figures {
                bound: 20.0,
                answers: vec![answers],
            }
            .kept()
        };
        assert!(kept(answers(20.0, true, 0)));
        assert!(!kept(answers(20.1, true, 0)));
        assert!(kept(answers(20.1, false, 0)));
        assert!(!kept(answers(1.0, true, 1)));
        assert!(!kept(answers(1.0, false, 1)));
    }

    #[test]
    fn out_of_bounds_arguments_are_refused_by_name() {
        let check = |samples, bound| Plan { samples, bound }.check();
        check(10, 0.1).unwrap();
        check(100_000, 20.0).unwrap();
        for (samples, bound, argument) in [
            (9, 20.0, "--samples"),
            (100_001, 20.0, "--samples"),
            (10, 0.0, "--bound"),
            (10, f64::NAN, "--bound"),
        ] {
            let error = check(samples, bound).unwrap_err().to_string();
            assert!(error.contains(argument), "{error}");
        }
    }
}
