//! Remembers that this process or the machine had no file descriptor, or no memory, left for a query.
//!
//! The resolver reports a lookup that could not open a socket like one without a response, so the name would be blamed
//! for it. This concerns not only the lookup that could not open a socket. Another lookup of the same name may get its
//! result. The resolver also counts the error against the server that it could not query, and tries other servers and
//! protocols that cannot work. So for [`SPARED`] after a socket could not be opened, no failure counts. In that time a
//! name that does not exist is treated like one that exists.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::classify::is_exhaustion;

/// Longer than a lookup without any response takes, with all its repetitions.
const SPARED: Duration = Duration::from_secs(15);

/// When descriptors or memory last ran out. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct FdGuard {
    exhausted_at: Arc<Mutex<Option<Instant>>>,
}

impl FdGuard {
    /// Called with the error when a socket could not be opened.
    pub(super) fn failed(&self, error: &io::Error, now: Instant) {
        if is_exhaustion(error) {
            *self.exhausted_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }

    /// Whether a lookup that fails `now` may fail because there was no descriptor for it.
    pub(super) fn recently_exhausted(&self, now: Instant) -> bool {
        let exhausted_at = *self.exhausted_at.lock().unwrap_or_else(PoisonError::into_inner);
        exhausted_at.is_some_and(|at| now.saturating_duration_since(at) < SPARED)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use tenterhook_clock::Clock;

    #[test]
    fn only_exhausted_descriptors_pause_lookups() {
        let now = Clock::system().monotonic();
        for (error, spares) in [
            (Errno::CONNREFUSED, false),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::NOBUFS, true),
        ] {
            let guard = FdGuard::default();
            assert!(!guard.recently_exhausted(now));
            guard.failed(&error.into(), now);
            assert_eq!(guard.recently_exhausted(now), spares, "{error}");
            assert_eq!(
                guard.recently_exhausted(now + SPARED - Duration::from_nanos(1)),
                spares
            );
            assert!(!guard.recently_exhausted(now + SPARED));
        }
    }
}
