//! What this process knows of the name servers: whether they answer its queries (D13).
//!
//! It decides only by what this process has seen of its own lookups. It does not know why no name server answers: the
//! cause may be the network, the name servers or their configuration. Times are those of
//! [`Clock::elapsed`](tenterhook_clock::Clock::elapsed), which clock corrections do not change.

use std::time::Duration;

/// After this long without a query it is unknown whether the silence continued, so the next query begins a new one. Longer
/// than from a request that could not be made to the end of the next one like it.
const SILENCE_FORGOTTEN: Duration = Duration::from_secs(120);

/// How long name servers must be silent before a failed lookup is no longer blamed on its name, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The time before the end of a request in which no name server may have answered.
    pub silence: Duration,
    /// After this much silence requests are judged anyway.
    pub give_up: Duration,
}

#[cfg(test)]
impl Patience {
    /// The one that tests use.
    pub(crate) const OF_TESTS: Self = Self {
        silence: Duration::from_secs(10),
        give_up: Duration::from_secs(900),
    };
}

/// The state of the name servers, for a request whose own lookup got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameServers {
    /// They answer, or there was no query: the name is at fault.
    Answering,
    /// They do not answer: this process lacks name servers.
    Silent,
    /// They have been silent for so long that requests are judged anyway.
    GivenUp,
}

/// What a process knows about its lookups of all names, at all name servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lookups {
    asked_at: Option<Duration>,
    answered_at: Option<Duration>,
    /// The time of the first query since the last answer.
    unanswered_since: Option<Duration>,
}

impl Lookups {
    /// Records that a query is sent.
    pub fn asked(&mut self, now: Duration) {
        let forgotten = self
            .asked_at
            .is_none_or(|at| now.saturating_sub(at) > SILENCE_FORGOTTEN);
        if forgotten {
            self.unanswered_since = None;
        }
        self.unanswered_since.get_or_insert(now);
        self.asked_at = Some(now);
    }

    /// Records that a name server has answered. A failure or a refusal is an answer too.
    pub fn answered(&mut self, now: Duration) {
        self.answered_at = Some(now);
        self.unanswered_since = None;
    }

    /// When the first query since the last answer was sent.
    pub fn unanswered_since(&self) -> Option<Duration> {
        self.unanswered_since
    }

    /// The state of the name servers for a request that ended now and whose own lookup got no answer. They are silent if
    /// at least one query was sent within the time in [`Patience`] and none was answered. They are given up if the
    /// silence has lasted too long.
    ///
    /// A query at exactly the beginning of that time counts; an answer at that moment does not (T2).
    pub fn name_servers(&self, now: Duration, patience: Patience) -> NameServers {
        let since = |at: Duration| now.saturating_sub(at);
        let asked = self.asked_at.is_some_and(|at| since(at) <= patience.silence);
        let answered = self.answered_at.is_some_and(|at| since(at) < patience.silence);
        let given_up = self
            .unanswered_since
            .is_some_and(|at| since(at) >= patience.give_up);
        match (asked && !answered, given_up) {
            (false, _) => NameServers::Answering,
            (true, false) => NameServers::Silent,
            (true, true) => NameServers::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn lookups(asked: &[u64], answered: &[u64]) -> Lookups {
        let mut lookups = Lookups::default();
        let mut all: Vec<_> = asked.iter().map(|at| (*at, false)).collect();
        all.extend(answered.iter().map(|at| (*at, true)));
        all.sort_unstable();
        for (at, answer) in all {
            if answer {
                lookups.answered(seconds(at));
            } else {
                lookups.asked(seconds(at));
            }
        }
        lookups
    }

    fn is_lack(lookups: &Lookups, now: Duration) -> bool {
        lookups.name_servers(now, Patience::OF_TESTS) == NameServers::Silent
    }

    #[rstest]
    #[case::nothing_was_asked(&[], &[], 10, false)]
    #[case::asked_and_not_answered(&[3], &[], 3, true)]
    #[case::asked_ten_seconds_before(&[0], &[], 10, true)]
    #[case::asked_before_that(&[0], &[], 11, false)]
    #[case::answered_meanwhile(&[4], &[3], 10, false)]
    #[case::answered_ten_seconds_before(&[1], &[0], 10, true)]
    #[case::answered_another_name(&[1, 2, 3], &[4], 10, false)]
    #[case::silent_again(&[1, 3, 20], &[4], 20, true)]
    fn d13_name_servers_are_silent_if_queries_get_no_response(
        #[case] asked: &[u64],
        #[case] answered: &[u64],
        #[case] now: u64,
        #[case] lack: bool,
    ) {
        let lookups = lookups(asked, answered);
        assert_eq!(is_lack(&lookups, seconds(now)), lack, "{lookups:?}");
    }

    #[test]
    fn d13_boundaries_belong_to_the_later_state() {
        let lookups = lookups(&[1], &[1]);
        assert!(!is_lack(&lookups, seconds(11) - MILLISECOND));
        let mut lookups = lookups;
        lookups.asked(seconds(2));
        assert!(is_lack(&lookups, seconds(11)));
        assert!(is_lack(&lookups, seconds(12)));
        assert!(!is_lack(&lookups, seconds(12) + MILLISECOND));
    }

    #[test]
    fn d13_attempts_count_after_15_minutes_of_silence() {
        let silent = |until: u64| {
            let mut asked: Vec<u64> = (0..until).step_by(30).collect();
            asked.push(until - 1);
            lookups(&asked, &[])
        };
        assert!(is_lack(&silent(900), seconds(900) - MILLISECOND));
        assert_eq!(
            silent(900).name_servers(seconds(900), Patience::OF_TESTS),
            NameServers::GivenUp
        );
        assert!(!is_lack(&silent(1200), seconds(1200)));
        let mut answered = silent(1200);
        answered.answered(seconds(1210));
        assert_eq!(
            answered.name_servers(seconds(1210), Patience::OF_TESTS),
            NameServers::Answering
        );
        answered.asked(seconds(1221));
        assert!(is_lack(&answered, seconds(1221)));
    }

    #[test]
    fn d13_a_time_without_queries_is_not_silence() {
        let forgotten = SILENCE_FORGOTTEN.as_secs();
        let kept = lookups(&(0..=10).map(|n| n * forgotten).collect::<Vec<_>>(), &[]);
        assert!(!is_lack(&kept, seconds(10 * forgotten)));
        let begun_again = lookups(&[0, forgotten, 2 * forgotten + 1, 1000], &[]);
        assert!(is_lack(&begun_again, seconds(1000)));
    }
}
