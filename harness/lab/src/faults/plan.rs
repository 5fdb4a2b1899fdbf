//! The faults of each round, chosen in advance by the seed.
//!
//! In every sequence of as many rounds as there are kinds, each kind comes at least once, whatever the seed. A round
//! does not repeat to the instant, because the timing of processes and disks varies.

use std::time::Duration;

use anyhow::ensure;

use tenterhook_harness::rng::Rng;

use super::kind::Kind;

/// Most rounds of one campaign.
pub const MAX_ROUNDS: u32 = 100_000;
/// Most events of one round.
pub const MAX_EVENTS: u32 = 10_000;
/// Most servers of a campaign.
pub const MAX_SERVERS: usize = 8;
/// How long the publication of a round's events takes. The fault begins at any moment of it.
pub const PUBLISHING: Duration = Duration::from_millis(800);
/// Shortest and longest duration of a fault.
const HOLD_MS: (usize, usize) = (100, 2_600);
/// One round in `SECOND_IN` has a second fault in addition to the first.
const SECOND_IN: usize = 4;

/// A campaign.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds, 1 to [`MAX_ROUNDS`].
    pub rounds: u32,
    /// The seed of all random choices.
    pub seed: u64,
    /// Servers on one Postgres, 1 to [`MAX_SERVERS`].
    pub servers: usize,
    /// Events of a round, 1 to [`MAX_EVENTS`].
    pub events: u32,
    /// The faults to choose from.
    pub kinds: Vec<Kind>,
    /// Plays only this round of the campaign, counted from 0.
    pub only: Option<u32>,
    /// Keeps logs and data even if no promise was broken.
    pub keep: bool,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The number of the round, from 0.
    pub number: u32,
    /// The seed of the round's own random choices.
    pub seed: u64,
    /// The faults, all at the same time.
    pub faults: Vec<Kind>,
    /// When they begin, after the first publication.
    pub after: Duration,
    /// How long they last.
    pub hold: Duration,
}

impl Plan {
    /// Refuses a plan that cannot be run, and names the argument.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds.
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

    /// The rounds, with faults only of the kinds that this machine can play.
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
        let seed = Rng::new(self.seed ^ u64::from(number).rotate_left(32)).roll();
        let mut rng = Rng::new(seed);
        if !possible.is_empty() {
            // Each cycle has all kinds, in a different order.
            let cycle = (place / possible.len()) as u64;
            let mut order = possible.to_vec();
            Rng::new(self.seed.wrapping_add(cycle)).shuffle(&mut order);
            faults.push(order[place % order.len()]);
            let second = possible[rng.below(possible.len())];
            if rng.below(SECOND_IN) == 0 && !faults.contains(&second) {
                faults.push(second);
            }
        }
        let millis = |millis: usize| Duration::from_millis(millis as u64);
        let (least, most) = HOLD_MS;
        Round {
            number,
            seed,
            faults,
            after: millis(rng.below(PUBLISHING.as_millis() as usize)),
            hold: millis(least + rng.below(most - least)),
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
    fn rounds_are_repeatable_and_depend_on_the_seed() {
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
    fn rounds_have_only_possible_kinds() {
        let rounds = plan().rounds(&[Kind::KillServer]);
        assert!(rounds.iter().all(|round| round.faults == [Kind::KillServer]));
        assert!(plan().rounds(&[]).iter().all(|round| round.faults.is_empty()));
    }

    #[test]
    fn out_of_bounds_arguments_are_refused_by_name() {
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
