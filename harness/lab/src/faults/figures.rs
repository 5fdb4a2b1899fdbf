//! The results of a campaign, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::kind::Kind;
use super::plan::{Plan, Round};
use super::round::Ending;
use super::violation::{Violation, Wrong};

/// Number of breaches whose evidence is printed for people. The JSON has all of them.
const SHOWN: usize = 5;

/// The figures of a campaign.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(
    missing_docs,
    reason = "the name of each says what it is, and the table explains it"
)]
pub struct Figures {
    pub seed: u64,
    pub servers: usize,
    pub rounds: u32,
    pub seconds: f64,
    pub faults: BTreeMap<Kind, u32>,
    pub not_exercised: BTreeMap<Kind, String>,
    pub events: u64,
    pub answers_lost: u64,
    pub deliveries: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub lost_in_bans: u64,
    pub cancelled: u64,
    pub attempts: u64,
    pub bans: u64,
    pub lost: u64,
    pub double: u64,
    pub duplicates_on_the_wire: u64,
    pub longest_stall: f64,
    pub longest_stall_round: Option<u32>,
    pub longest_stall_faults: Vec<Kind>,
    pub broken: Option<Broken>,
    pub kept: Option<String>,
}

/// The round in which a promise was broken.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// The number of the round.
    pub round: u32,
    /// The faults in that round.
    pub faults: Vec<Kind>,
    /// The broken promises, each with its evidence.
    pub breaches: Vec<Violation>,
    /// The command that repeats the round.
    pub repeat: String,
}

impl Figures {
    pub(super) fn new(plan: &Plan, unavailable: &[(Kind, String)]) -> Self {
        Self {
            seed: plan.seed,
            servers: plan.servers,
            not_exercised: unavailable.iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// Whether no promise was broken.
    pub fn held(&self) -> bool {
        self.broken.is_none()
    }

    pub(super) fn add(&mut self, plan: &Plan, round: &Round, ending: Ending) {
        self.rounds += 1;
        for kind in &round.faults {
            *self.faults.entry(*kind).or_default() += 1;
        }
        self.events += ending.events;
        self.answers_lost += ending.repeated_publications;
        let [succeeded, failed, lost, cancelled] = ending.deliveries;
        self.deliveries += ending.deliveries.iter().sum::<u64>();
        self.succeeded += succeeded;
        self.failed += failed;
        self.lost_in_bans += lost;
        self.cancelled += cancelled;
        self.attempts += ending.attempts;
        self.bans += ending.bans;
        self.duplicates_on_the_wire += ending.duplicates;
        let breaches = |kinds: &[Wrong]| {
            ending
                .breaches
                .iter()
                .filter(|violation| kinds.contains(&violation.what))
                .count()
        };
        self.lost += breaches(&[Wrong::Lost, Wrong::Unfinished]) as u64;
        self.double += breaches(&[Wrong::Doubled, Wrong::PublishedTwice]) as u64;
        if ending.stall > self.longest_stall {
            self.longest_stall = ending.stall;
            self.longest_stall_round = Some(round.number);
            self.longest_stall_faults.clone_from(&round.faults);
        }
        if !ending.breaches.is_empty() {
            self.broken = Some(Broken {
                round: round.number,
                faults: round.faults.clone(),
                breaches: ending.breaches,
                repeat: format!(
                    "tenterhook-lab faults --seed {} --rounds {} --servers {} --events {}{} --round {}",
                    plan.seed,
                    plan.rounds,
                    plan.servers,
                    plan.events,
                    chosen(plan),
                    round.number
                ),
            });
        }
    }
}

/// The `--fault` arguments of a plan, if it does not have all kinds.
fn chosen(plan: &Plan) -> String {
    if plan.kinds == Kind::all() {
        return String::new();
    }
    plan.kinds.iter().map(|kind| format!(" --fault {kind}")).collect()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<34} {value:>10}");
        row("rounds", &self.rounds)?;
        for (kind, rounds) in &self.faults {
            row(&format!("  {kind}"), rounds)?;
        }
        for (kind, _) in self
            .not_exercised
            .iter()
            .filter(|(kind, _)| !self.faults.contains_key(kind))
        {
            row(&format!("  {kind}"), &"none")?;
        }
        row("events accepted", &self.events)?;
        row("  of these, response lost at first", &self.answers_lost)?;
        row("deliveries", &self.deliveries)?;
        row("  succeeded", &self.succeeded)?;
        row("  failed, all retries used", &self.failed)?;
        row("  lost in bans (allowed)", &self.lost_in_bans)?;
        row("  cancelled by a deletion", &self.cancelled)?;
        row("attempts recorded", &self.attempts)?;
        row("bans", &self.bans)?;
        row("LOST", &self.lost)?;
        row("DOUBLE", &self.double)?;
        row("duplicate requests (allowed)", &self.duplicates_on_the_wire)?;
        row("longest stall, seconds", &format!("{:.1}", self.longest_stall))?;
        row("duration, seconds", &format!("{:.0}", self.seconds))?;
        if let Some(round) = self.longest_stall_round {
            let faults: Vec<String> = self.longest_stall_faults.iter().map(|kind| kind.name()).collect();
            writeln!(
                f,
                "\nThe longest stall came after {} in round {round}.",
                faults.join(" and ")
            )?;
        }
        for (kind, why) in &self.not_exercised {
            writeln!(f, "Not available here: {kind} ({why}).")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(f, "Logs and data are kept in {kept}")?;
        }
        let Some(broken) = &self.broken else { return Ok(()) };
        let faults: Vec<String> = broken.faults.iter().map(|kind| kind.name()).collect();
        writeln!(
            f,
            "\nROUND {} BROKE {} PROMISES, with {}.\n",
            broken.round,
            broken.breaches.len(),
            faults.join(" and ")
        )?;
        for violation in broken.breaches.iter().take(SHOWN) {
            writeln!(f, "{violation}\n")?;
        }
        writeln!(f, "Repeat it with:\n  {}", broken.repeat)
    }
}
