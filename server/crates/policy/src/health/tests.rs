//! The rules one by one at their boundaries, and what holds for every history.

mod bans;
mod properties;
mod standing;
mod windows;

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use tenterhook_model::webhook::RemoveReason;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The time `micros` microseconds after an arbitrary start.
fn at(micros: u64) -> Timestamp {
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    start + Duration::from_micros(micros)
}

fn failed(number: u8, micros: u64) -> Judged {
    Judged {
        ended_at: at(micros),
        number,
        succeeded: false,
    }
}

fn succeeded(micros: u64) -> Judged {
    Judged {
        ended_at: at(micros),
        number: 1,
        succeeded: true,
    }
}

/// A webhook under test: its row, and every transition so far.
#[derive(Debug, Clone, Default)]
struct Row {
    health: Health,
    steps: Vec<Transition>,
    settings: PolicySettings,
    /// When it was last paused, in microseconds.
    paused: u64,
}

impl Row {
    fn record(&mut self, result: Judged) -> &mut Self {
        self.steps
            .extend(record(&mut self.health, &result, &self.settings));
        self
    }

    fn fail_firsts(&mut self, count: usize, micros: u64) -> &mut Self {
        for _ in 0..count {
            self.record(failed(1, micros));
        }
        self
    }

    fn advance(&mut self, micros: u64) -> &mut Self {
        self.steps
            .extend(advance(&mut self.health, at(micros), &self.settings));
        self
    }

    fn pause(&mut self, micros: u64) -> &mut Self {
        if self.health.standing == Standing::Live {
            self.paused = micros;
        }
        pause(&mut self.health);
        self
    }

    fn resume(&mut self, micros: u64) -> &mut Self {
        resume(&mut self.health, at(self.paused), at(micros));
        self
    }

    fn paused_at(&self) -> Option<Timestamp> {
        (self.health.standing == Standing::Paused).then(|| at(self.paused))
    }

    fn removed(&self) -> Option<(Timestamp, RemoveReason)> {
        let by_window = self.steps.iter().find_map(|step| match step {
            Transition::Removed { at, .. } => Some(*at),
            _ => None,
        });
        let removed = self.health.standing == Standing::Removed;
        removed.then(|| (by_window.unwrap_or(at(0)), RemoveReason::NoSuccessfulDelivery))
    }

    fn view(&self, micros: u64) -> View {
        view(
            &self.health,
            self.paused_at(),
            self.removed(),
            at(micros),
            &self.settings,
        )
    }

    fn verdict(&self, due: u64, now: u64) -> Verdict {
        verdict(
            &self.health,
            self.paused_at(),
            self.removed(),
            at(due),
            at(now),
            &self.settings,
        )
    }

    fn due(&self) -> Option<Timestamp> {
        due(&self.health, &self.settings)
    }

    fn notices(&self) -> Vec<NoticeKind> {
        self.steps.iter().filter_map(Transition::notice).collect()
    }
}
