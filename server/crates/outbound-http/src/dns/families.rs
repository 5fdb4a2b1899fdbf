//! Queries both address families of a name at once.
//!
//! A name server that is silent about one family costs little time (D2, RFC 8305 section 3). Once there are addresses of
//! one family, the other has [`OTHER_WITHIN`], or [`SILENT_WITHIN`] if it was silent recently. Later responses are not
//! used, because no connection goes to an address that was not vetted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};

use tenterhook_clock::Clock;

/// How long the second family may take after the first has given addresses. Longer than almost any response takes, so
/// that a forbidden address in the second family is seen before any connection is made.
const OTHER_WITHIN: Duration = Duration::from_millis(800);
/// The same if the family was silent recently.
const SILENT_WITHIN: Duration = Duration::from_millis(50);
/// How long it is remembered that a family of a name is silent.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(600);
/// Bound on remembered families of names. Above it, each request to another such name waits for [`OTHER_WITHIN`].
const MOST_REMEMBERED: usize = 10_000;

/// The families that were silent. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Families {
    silent: Arc<Mutex<HashMap<(Name, RecordType), Instant>>>,
}

impl Families {
    /// The addresses of `name` of both families, IPv4 first, queried with `ask`.
    ///
    /// # Errors
    ///
    /// If there is no address, the error of IPv4, or else of IPv6.
    pub(super) async fn both<F>(
        &self,
        name: Name,
        clock: &Clock,
        ask: impl Fn(Name, RecordType) -> F,
    ) -> Result<Vec<IpAddr>, NetError>
    where
        F: Future<Output = Result<Vec<IpAddr>, NetError>>,
    {
        let v4 = pin!(ask(name.clone(), RecordType::A));
        let v6 = pin!(ask(name.clone(), RecordType::AAAA));
        let (first, other, family) = match select(v4, v6).await {
            Either::Left((first, other)) => (first, other, RecordType::AAAA),
            Either::Right((first, other)) => (first, other, RecordType::A),
        };
        let second = if first.as_ref().is_ok_and(|found| !found.is_empty()) {
            let patience = self.patience(&name, family, clock.monotonic());
            match select(other, pin!(clock.linger(patience))).await {
                Either::Left((second, _)) => {
                    self.answered(name, family);
                    second
                }
                Either::Right(_) => {
                    self.silent(name, family, clock.monotonic());
                    Ok(Vec::new())
                }
            }
        } else {
            other.await
        };
        let (v4, v6) = match family {
            RecordType::A => (second, first),
            _ => (first, second),
        };
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// How long this family of the name may take.
    fn patience(&self, name: &Name, family: RecordType, now: Instant) -> Duration {
        let silent = self.remembered();
        let known = silent.get(&(name.clone(), family));
        if known.is_some_and(|at| is_remembered(*at, now)) {
            SILENT_WITHIN
        } else {
            OTHER_WITHIN
        }
    }

    fn answered(&self, name: Name, family: RecordType) {
        let mut silent = self.remembered();
        if !silent.is_empty() {
            silent.remove(&(name, family));
        }
    }

    /// Keeps the first time at which a family was silent, so that it gets its full time again after
    /// [`SILENCE_REMEMBERED`].
    fn silent(&self, name: Name, family: RecordType, now: Instant) {
        let mut silent = self.remembered();
        let key = (name, family);
        if silent.get(&key).is_some_and(|at| is_remembered(*at, now)) {
            return;
        }
        if silent.len() >= MOST_REMEMBERED {
            silent.retain(|_, at| is_remembered(*at, now));
        }
        if silent.len() < MOST_REMEMBERED {
            silent.insert(key, now);
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<(Name, RecordType), Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_remembered(silent_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(silent_at) < SILENCE_REMEMBERED
}

#[cfg(test)]
mod tests {
    use RecordType::{A, AAAA};

    use super::*;

    fn name(number: usize) -> Name {
        Name::from_ascii(format!("n{number}.test.")).unwrap()
    }

    #[test]
    fn a_silent_family_is_remembered_for_a_while() {
        let (families, now) = (Families::default(), Clock::system().monotonic());
        let patience = |family, after| families.patience(&name(1), family, now + after);
        assert_eq!(patience(AAAA, Duration::ZERO), OTHER_WITHIN);
        families.silent(name(1), AAAA, now);
        let nearly = SILENCE_REMEMBERED - Duration::from_nanos(1);
        families.silent(name(1), AAAA, now + nearly);
        assert_eq!(patience(AAAA, nearly), SILENT_WITHIN);
        assert_eq!(patience(AAAA, SILENCE_REMEMBERED), OTHER_WITHIN);
        assert_eq!(patience(A, Duration::ZERO), OTHER_WITHIN);
        families.answered(name(1), AAAA);
        assert_eq!(patience(AAAA, nearly), OTHER_WITHIN);
    }

    #[test]
    fn silent_families_are_remembered_up_to_a_limit() {
        let (families, now) = (Families::default(), Clock::system().monotonic());
        for number in 0..=MOST_REMEMBERED {
            families.silent(name(number), AAAA, now);
        }
        assert_eq!(families.remembered().len(), MOST_REMEMBERED);
        assert_eq!(families.patience(&name(MOST_REMEMBERED), AAAA, now), OTHER_WITHIN);
        families.silent(name(MOST_REMEMBERED), AAAA, now + SILENCE_REMEMBERED);
        assert_eq!(families.remembered().len(), 1, "the others are forgotten");
    }

    #[tokio::test]
    async fn one_family_is_enough_unless_it_has_no_address() {
        let found = |text: &str| Ok(vec![text.parse().unwrap()]);
        let failed = || Err(NetError::Timeout);
        let v4 = "93.184.215.14";
        let v6 = "2606:4700::1";
        for (a, aaaa, expected) in [
            (found(v4), found(v6), Some(vec![v4, v6])),
            (found(v4), failed(), Some(vec![v4])),
            (failed(), found(v6), Some(vec![v6])),
            (Ok(vec![]), found(v6), Some(vec![v6])),
            (Ok(vec![]), Ok(vec![]), Some(vec![])),
            (Ok(vec![]), failed(), None),
            (failed(), failed(), None),
        ] {
            for late in [A, AAAA] {
                let ask = |_, family| {
                    let answer: Result<Vec<IpAddr>, NetError> =
                        if family == A { a.clone() } else { aaaa.clone() };
                    async move {
                        if family == late {
                            tokio::task::yield_now().await;
                        }
                        answer
                    }
                };
                let both = Families::default().both(name(1), &Clock::system(), ask).await;
                let both = both
                    .ok()
                    .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
                assert_eq!(
                    both,
                    expected
                        .clone()
                        .map(|all| all.iter().map(|&ip| ip.to_owned()).collect())
                );
            }
        }
    }
}
