//! Which fault comes in which round, decided beforehand by the seed.
//!
//! Promises that over as many rounds as there are kinds each comes at least once, whatever the seed. Does not promise
//! that a round repeats to the instant: processes and disks keep their own time.

use std::time::Duration;

use anyhow::ensure;

use super::kind::Kind;
use crate::dice::Dice;

/// The most rounds of one campaign.
pub const MAX_ROUNDS: u32 = 100_000;
/// The most events of one round.
pub const MAX_EVENTS: u32 = 10_000;
/// The most servers of a campaign.
pub const MAX_SERVERS: usize = 8;
/// How long the events of a round take to be published, while a fault comes at any instant.
pub const PUBLISHING: Duration = Duration::from_millis(800);
/// The shortest and the longest time that a fault lasts.
const HOLD_MS: (usize, usize) = (100, 2_600);
/// One round in this many has a second fault on top of the first.
const SECOND_IN: usize = 4;

/// A campaign.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds, 1 to [`MAX_ROUNDS`].
    pub rounds: u32,
    /// Where all chance comes from.
    pub seed: u64,
    /// Servers on the one Postgres, 1 to [`MAX_SERVERS`].
    pub servers: usize,
    /// Events of a round, 1 to [`MAX_EVENTS`].
    pub events: u32,
    /// The faults to choose from.
    pub kinds: Vec<Kind>,
    /// Only this round of the campaign, from 0.
    pub only: Option<u32>,
    /// Keep logs and data even if all held.
    pub keep: bool,
}

/// What happens in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its number, from 0.
    pub number: u32,
    /// What its own chance follows from.
    pub seed: u64,
    /// What fails, all at the same time.
    pub faults: Vec<Kind>,
    /// How long after the first publication.
    pub after: Duration,
    /// For how long.
    pub hold: Duration,
}

impl Plan {
    /// Refuses what cannot be run, naming the argument.
    ///
    /// # Errors
    ///
    /// When a number is out of its bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MAX_ROUNDS).contains(&self.rounds),
            "--rounds must be 1 to {MAX_ROUNDS}, not {}",
            self.rounds
        );
        ensure!(
            (1..=MAX_SERVERS).contains(&self.servers),
            "--servers must be 1 to {MAX_SERVERS}, not {}",
            self.servers
        );
        ensure!(
            (1..=MAX_EVENTS).contains(&self.events),
            "--events must be 1 to {MAX_EVENTS}, not {}",
            self.events
        );
        ensure!(!self.kinds.is_empty(), "--fault must name at least one kind");
        Ok(())
    }

    /// The rounds, with faults only of the kinds that are possible here.
    pub fn rounds(&self, possible: &[Kind]) -> Vec<Round> {
        let numbers = match self.only {
            Some(only) => only..only + 1,
            None => 0..self.rounds,
        };
        numbers.map(|number| self.round(number, possible)).collect()
    }

    fn round(&self, number: u32, possible: &[Kind]) -> Round {
        let mut faults = Vec::new();
        let place = number as usize;
        let seed = Dice::new(self.seed ^ u64::from(number).rotate_left(32)).roll();
        let mut dice = Dice::new(seed);
        if !possible.is_empty() {
            // Each cycle has all kinds, in an order of its own.
            let cycle = (place / possible.len()) as u64;
            let mut order = possible.to_vec();
            Dice::new(self.seed.wrapping_add(cycle)).shuffle(&mut order);
            faults.push(order[place % order.len()]);
            let second = possible[dice.below(possible.len())];
            if dice.below(SECOND_IN) == 0 && !faults.contains(&second) {
                faults.push(second);
            }
        }
        let millis = |millis: usize| Duration::from_millis(millis as u64);
        let (least, most) = HOLD_MS;
        Round {
            number,
            seed,
            faults,
            after: millis(dice.below(PUBLISHING.as_millis() as usize)),
            hold: millis(least + dice.below(most - least)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            rounds: 38,
            seed: 7,
            servers: 2,
            events: 100,
            kinds: Kind::all().to_vec(),
            only: None,
            keep: false,
        }
    }

    #[test]
    fn a_seed_makes_the_same_rounds_and_another_seed_others() {
        let rounds = plan().rounds(Kind::all());
        assert_eq!(rounds, plan().rounds(Kind::all()));
        assert_ne!(rounds, Plan { seed: 8, ..plan() }.rounds(Kind::all()));
        let only = Plan {
            only: Some(17),
            ..plan()
        };
        assert_eq!(only.rounds(Kind::all()), rounds[17..18]);
    }

    #[test]
    fn every_kind_comes_in_each_cycle() {
        for cycle in plan().rounds(Kind::all()).chunks(Kind::all().len()) {
            for kind in Kind::all() {
                assert!(cycle.iter().any(|round| round.faults[0] == *kind), "{kind}");
            }
        }
    }

    #[test]
    fn what_is_not_possible_never_comes() {
        let rounds = plan().rounds(&[Kind::KillServer]);
        assert!(rounds.iter().all(|round| round.faults == [Kind::KillServer]));
        assert!(plan().rounds(&[]).iter().all(|round| round.faults.is_empty()));
    }

    #[test]
    fn a_plan_out_of_bounds_is_refused_by_the_name_of_its_argument() {
        plan().check().unwrap();
        for (plan, argument) in [
            (Plan { rounds: 0, ..plan() }, "--rounds"),
            (
                Plan {
                    rounds: MAX_ROUNDS + 1,
                    ..plan()
                },
                "--rounds",
            ),
            (Plan { servers: 0, ..plan() }, "--servers"),
            (
                Plan {
                    servers: MAX_SERVERS + 1,
                    ..plan()
                },
                "--servers",
            ),
            (Plan { events: 0, ..plan() }, "--events"),
            (
                Plan {
                    events: MAX_EVENTS + 1,
                    ..plan()
                },
                "--events",
            ),
            (
                Plan {
                    kinds: Vec::new(),
                    ..plan()
                },
                "--fault",
            ),
        ] {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(argument), "{argument}: {error}");
        }
        Plan {
            rounds: MAX_ROUNDS,
            servers: MAX_SERVERS,
            events: MAX_EVENTS,
            ..plan()
        }
        .check()
        .unwrap();
    }
}
