//! How long a task waits before it tries again if the database fails.
//!
//! A pause grows from [`FIRST`] to a bound, so that errors flood neither the database nor the log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tenterhook_model::ids::WebhookId;

const FIRST: Duration = Duration::from_millis(200);

/// A pause that doubles up to a bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// From [`FIRST`] up to `most`.
    pub fn up_to(most: Duration) -> Self {
        Self {
            next: FIRST.min(most),
            most,
        }
    }

    /// How long to wait now. The next pause is twice as long.
    pub fn next_wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        now
    }

    /// Whether it has reached its bound.
    pub fn is_longest(&self) -> bool {
        self.next == self.most
    }
}

/// Webhooks whose work failed, and when each is tried again.
#[derive(Debug)]
pub(crate) struct WebhookBackoffs {
    longest: Duration,
    webhooks: HashMap<WebhookId, (Instant, Backoff)>,
}

impl WebhookBackoffs {
    /// Empty. Each webhook is tried again after a pause that grows up to `longest`.
    pub fn up_to(longest: Duration) -> Self {
        Self {
            longest,
            webhooks: HashMap::new(),
        }
    }

    /// Sets a webhook back. Returns whether it was not set back before.
    pub fn add(&mut self, webhook: WebhookId, now: Instant) -> bool {
        let is_new = !self.webhooks.contains_key(&webhook);
        let fresh = || (now, Backoff::up_to(self.longest));
        let (again_at, pause) = self.webhooks.entry(webhook).or_insert_with(fresh);
        *again_at = now + pause.next_wait();
        is_new
    }

    /// Whether the webhook is not set back, or may be tried again.
    pub fn is_due(&self, webhook: WebhookId, now: Instant) -> bool {
        self.webhooks
            .get(&webhook)
            .is_none_or(|(again_at, _)| *again_at <= now)
    }

    /// Whether the webhook is set back, even if it may be tried again.
    pub fn has(&self, webhook: WebhookId) -> bool {
        self.webhooks.contains_key(&webhook)
    }

    /// Forgets the webhooks for which `holds` is false.
    pub fn retain(&mut self, mut holds: impl FnMut(WebhookId) -> bool) {
        self.webhooks.retain(|webhook, _| holds(*webhook));
    }

    /// The number of webhooks that are set back.
    pub fn len(&self) -> usize {
        self.webhooks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_clock as clock;

    #[test]
    fn a_pause_doubles_up_to_its_bound_and_stays_there() {
        let mut pause = Backoff::up_to(Duration::from_millis(1_000));
        assert!(!pause.is_longest());
        let pauses = [0; 5].map(|_| pause.next_wait().as_millis());
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000]);
        assert!(pause.is_longest());
        assert_eq!(
            Backoff::up_to(Duration::from_millis(50)).next_wait().as_millis(),
            50
        );
    }

    #[test]
    fn each_failure_doubles_the_backoff_of_its_webhook_only() {
        let at = "2026-11-23T00:00:00Z".parse().unwrap();
        let (one, other) = (WebhookId::new(at), WebhookId::new(at));
        let (mut set_back, now) = (
            WebhookBackoffs::up_to(Duration::from_secs(60)),
            clock::monotonic(),
        );
        assert!(set_back.add(one, now));
        let due =
            |set_back: &WebhookBackoffs, after| set_back.is_due(one, now + Duration::from_millis(after));
        assert!(!due(&set_back, 199) && due(&set_back, 200));
        assert!(set_back.is_due(other, now) && !set_back.has(other));
        assert!(!set_back.add(one, now), "the log has named it");
        assert!(!due(&set_back, 399) && due(&set_back, 400));
        set_back.retain(|webhook| webhook != one);
        assert!(due(&set_back, 0) && set_back.len() == 0);
    }
}
