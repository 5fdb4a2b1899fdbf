//! Plays every scenario of the harness as a test of its own, and checks the statements that its servers send.
//!
//! It takes the arguments of other test programs: parts of names, `--exact`, `--skip`, `--list`, `--test-threads`. A
//! scenario that is played for both webhook types is two tests, such as `failures-10/general` and
//! `failures-10/application`. Some scenarios ([`through_rest::NAMES`]) are played through the REST routes too, as tests such as
//! `rest::limit-41-general-webhooks`. Each test has a world of its own, and several are played at once. What can only be said
//! when all have been played is said by the last tests, [`LAST`]: naming one of them plays all scenarios.

mod statements;
mod through_rest;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use tenterhook_harness::coverage::{self, Matrix, Reasons};
use tenterhook_harness::face::Face;
use tenterhook_harness::naming;
use tenterhook_harness::realtime::Stopwatch;
use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenario::Scenario;
use tenterhook_harness::scenarios;

use self::statements::Statements;

/// The checks of all scenarios together: of what they exercise, and of the statements of their servers.
const COVERAGE: &str = "every_empty_cell_of_the_coverage_has_a_reason";
const STATEMENTS: &str = "every_statement_names_its_lanes";
const LAST: [&str; 2] = [COVERAGE, STATEMENTS];
/// Concurrent plays per core. A world mostly waits, and has about 30 connections to Postgres.
const PLAYS_PER_CORE: usize = 4;
/// Number of scenarios whose time is printed.
const SLOWEST: usize = 10;

/// The arguments of a test program. Those that change nothing here are accepted, because `cargo test` passes the same
/// arguments to every test program.
#[derive(Parser)]
#[command(name = "scenarios", about = "Plays the scenarios of the harness as tests")]
struct Arguments {
    /// Only tests whose name contains one of these.
    names: Vec<String>,
    /// Only tests with exactly these names. A name without a webhook type selects both types.
    #[arg(long)]
    exact: bool,
    /// Leave out tests whose name contains this; can be repeated.
    #[arg(long)]
    skip: Vec<String>,
    /// List the tests and play none.
    #[arg(long)]
    list: bool,
    /// Most concurrent plays.
    #[arg(long, env = "RUST_TEST_THREADS")]
    test_threads: Option<NonZero<usize>>,
    /// Print only failures and the result.
    #[arg(long, short)]
    quiet: bool,
    /// Only tests that are ignored by default: none.
    #[arg(long)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true, alias = "no-capture")]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    color: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
}

impl Arguments {
    fn chooses(&self, name: &str) -> bool {
        let is_named = |named: &String| {
            if self.exact {
                naming::is_called(name, named)
            } else {
                name.contains(named.as_str())
            }
        };
        !self.ignored
            && (self.names.is_empty() || self.names.iter().any(is_named))
            && !self.skip.iter().any(is_named)
    }

    fn at_once(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        self.test_threads.map_or(cores * PLAYS_PER_CORE, NonZero::get)
    }
}

/// The results so far: what is wrong with each test that failed, the number of those that passed, and how long each
/// scenario took.
struct Results {
    quiet: bool,
    passed: AtomicUsize,
    failed: Mutex<BTreeMap<String, String>>,
    seconds: Mutex<Vec<(f64, String)>>,
}

impl Results {
    fn add(&self, name: &str, complaints: &[String]) {
        let word = if complaints.is_empty() {
            self.passed.fetch_add(1, Ordering::Relaxed);
            "ok"
        } else {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.insert(name.to_owned(), complaints.join("\n\n"));
            "FAILED"
        };
        if !self.quiet || word != "ok" {
            say(&format!("test {name} ... {word}\n"));
        }
    }

    fn took(&self, name: &str, seconds: f64) {
        let mut all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((seconds, name.to_owned()));
    }

    /// Prints the scenarios that took longest.
    fn say_slowest(&self) {
        let mut all = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        say("\nslowest:\n");
        for (seconds, name) in all.iter().take(SLOWEST) {
            say(&format!("{seconds:6.1} s  {name}\n"));
        }
    }
}

/// Prints a line of the results. A reader that closed the pipe has read enough.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// What all scenarios together show.
struct Shown {
    statements: Statements,
    matrix: Mutex<Matrix>,
}

impl Shown {
    /// The complaints of one of the [`LAST`] tests.
    fn check(&self, name: &str) -> Vec<String> {
        if name == STATEMENTS {
            return self.statements.check_all();
        }
        let matrix = self.matrix.lock().unwrap_or_else(PoisonError::into_inner);
        match Reasons::on_file() {
            Ok(reasons) => matrix.complaints(&reasons),
            Err(error) => vec![format!("{error:#}")],
        }
    }
}

/// A scenario, and the API through which its webhooks are created, listed and deleted.
struct Test {
    name: String,
    scenario: Scenario,
    face: Face,
}

/// Every play through GraphQL, and those of [`through_rest::NAMES`] through REST.
fn tests() -> Vec<Test> {
    let all = scenarios::all();
    let in_rest = through_rest::NAMES.iter().map(|name| {
        let named = all.iter().find(|scenario| scenario.name == *name);
        let scenario = named
            .unwrap_or_else(|| panic!("there is no scenario {name}"))
            .clone();
        let name = format!("rest::{name}");
        Test {
            name,
            scenario,
            face: Face::Rest,
        }
    });
    let in_rest: Vec<Test> = in_rest.collect();
    let in_graphql = all.into_iter().map(|scenario| Test {
        name: scenario.name.clone(),
        scenario,
        face: Face::GraphQl,
    });
    in_graphql.chain(in_rest).collect()
}

/// Plays one scenario, and counts what it exercises through GraphQL. Returns what is wrong with it and with its statements.
fn play(Test { scenario, face, .. }: &Test, shown: &Shown) -> Vec<String> {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return vec![format!("no runtime: {error}")],
    };
    runtime.block_on(async {
        let mut world = match scenario.builder().face(*face).metered().try_start().await {
            Ok(world) => world,
            Err(error) => return vec![format!("the world did not start: {error:?}")],
        };
        let mut complaints = match scenario.play(&mut world).await {
            Verdict::Held => Vec::new(),
            Verdict::Broken(breach) => vec![format!(
                "{}\n{} at {}\nexpected: {}\nfound: {}",
                scenario.sentence, breach.what, breach.place, breach.expected, breach.seen
            )],
            Verdict::Skipped(why) | Verdict::CouldNotRun(why) => vec![format!("could not run: {why}")],
        };
        complaints.extend(shown.statements.check(world.statements_by_text().into_keys()));
        if complaints.is_empty() && world.servers() > 0 && *face == Face::GraphQl {
            match coverage::lives(&world).await {
                Ok(lives) => {
                    let mut matrix = shown.matrix.lock().unwrap_or_else(PoisonError::into_inner);
                    matrix.add_scenario(&scenario.name, scenario.rules, &lives);
                }
                Err(error) => complaints.push(format!("could not be counted: {error}")),
            }
        }
        complaints
    })
}

/// Plays these scenarios, some of them at once.
fn play_all(chosen: &[&Test], at_once: usize, shown: &Shown, results: &Results) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once.min(chosen.len()) {
            scope.spawn(|| {
                while let Some(test) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let watch = Stopwatch::start();
                    results.add(&test.name, &play(test, shown));
                    results.took(&test.name, watch.seconds());
                }
            });
        }
    });
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all = tests();
    let last: Vec<&str> = LAST.into_iter().filter(|name| arguments.chooses(name)).collect();
    let is_named = |last: &&str| arguments.names.iter().any(|name| last.starts_with(name.as_str()));
    let is_all = last.iter().any(is_named);
    let chosen: Vec<&Test> = all
        .iter()
        .filter(|test| is_all || arguments.chooses(&test.name))
        .collect();
    let checks = statements::CHECKS
        .iter()
        .filter(|(name, _)| arguments.chooses(name));
    if arguments.list {
        let scenarios = chosen.iter().map(|test| test.name.as_str());
        let names = checks.map(|(name, _)| *name).chain(scenarios);
        for name in names.chain(last) {
            say(&format!("{name}: test\n"));
        }
        return ExitCode::SUCCESS;
    }
    let watch = Stopwatch::start();
    let results = Results {
        quiet: arguments.quiet,
        passed: AtomicUsize::new(0),
        failed: Mutex::default(),
        seconds: Mutex::default(),
    };
    for (name, check) in checks {
        results.add(name, &check());
    }
    let shown = Shown {
        statements: Statements::new(),
        matrix: Mutex::default(),
    };
    play_all(&chosen, arguments.at_once(), &shown, &results);
    if chosen.len() == all.len() {
        for name in last {
            results.add(name, &shown.check(name));
        }
    }
    if !arguments.quiet {
        results.say_slowest();
    }
    report(
        &results,
        all.len() + statements::CHECKS.len() + LAST.len(),
        watch.seconds(),
    )
}

fn report(results: &Results, all: usize, seconds: f64) -> ExitCode {
    let failed = results.failed.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, why) in failed.iter() {
        say(&format!("\n---- {name} ----\n{why}\n"));
    }
    let passed = results.passed.load(Ordering::Relaxed);
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {seconds:.2}s\n\n",
        failed.len(),
        all - passed - failed.len(),
    ));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(101)
    }
}
