//! The leases of the deliveries that wait in the scheduler.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Scheduler;
use tenterhook_model::ids::DeliveryKey;

impl Scheduler {
    /// The earliest end of a waiting delivery's lease.
    pub fn first_lease_end(&self) -> Option<Timestamp> {
        self.waiting().map(|held| held.leased.lease.until).min()
    }

    /// Waiting deliveries whose lease ends before `until`, by key and token.
    pub fn ending_before(&self, until: Timestamp) -> Vec<(DeliveryKey, i64)> {
        self.waiting()
            .filter(|held| held.leased.lease.until < until)
            .map(|held| (held.leased.key, held.leased.lease.token))
            .collect()
    }

    /// The leases of `kept` now end at `until`. The other deliveries of `asked` belong to other processes and are
    /// dropped.
    pub fn extended(&mut self, asked: &[(DeliveryKey, i64)], kept: &[usize], until: Timestamp) {
        let mut verdict: HashMap<(DeliveryKey, i64), bool> =
            asked.iter().map(|held| (*held, false)).collect();
        for index in kept {
            verdict.insert(asked[*index], true);
        }
        for entry in self.webhooks.values_mut() {
            let (before, bytes) = (entry.waiting.len(), &mut self.held_bytes);
            entry.waiting.retain_mut(
                |held| match verdict.get(&(held.leased.key, held.leased.lease.token)) {
                    Some(true) => {
                        held.leased.lease.until = until;
                        true
                    }
                    Some(false) => {
                        *bytes -= held.bytes();
                        false
                    }
                    None => true,
                },
            );
            let gone = before - entry.waiting.len();
            self.held -= gone;
            self.unproven_held.remove(entry.speed, gone);
        }
    }
}
