//! Silent name servers: the effect on attempts (D13), and the log lines about it.
//!
//! Each silence in which an attempt could not be made gets two log lines, however many attempts there are: a warning
//! when attempts start to count as failures anyway, and a line when a name server responds again. Postponed attempts are
//! logged elsewhere.

use std::time::Duration;

use crate::name_servers::{Lookups, Patience, Standing};

/// Queries and responses, and the current silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    lookups: Lookups,
    /// Start of the silence in which an attempt could not be made.
    noticed: Option<Duration>,
    /// Whether the log says that attempts count as failures.
    given_up: bool,
}

/// A log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Attempts count as failures from now on, after this time without a response.
    GivenUp(Duration),
    /// A name server responds again, after this time.
    AnswersAgain(Duration),
}

impl Silence {
    pub fn asked(&mut self, now: Duration) {
        self.lookups.asked(now);
    }

    pub fn answered(&mut self, now: Duration) -> Option<News> {
        self.lookups.answered(now);
        self.given_up = false;
        let since = self.noticed.take()?;
        Some(News::AnswersAgain(now.saturating_sub(since)))
    }

    /// Like [`Lookups::standing`].
    pub fn standing(&mut self, now: Duration, patience: Patience) -> (Standing, Option<News>) {
        let standing = self.lookups.standing(now, patience);
        if standing == Standing::Answering {
            return (standing, None);
        }
        let since = self.lookups.unanswered_since().unwrap_or(now);
        self.noticed.get_or_insert(since);
        // After a while without queries, attempts are postponed again.
        let told = std::mem::replace(&mut self.given_up, standing == Standing::GivenUp);
        let news = self.given_up && !told;
        (standing, news.then_some(News::GivenUp(now.saturating_sub(since))))
    }
}

impl News {
    pub fn log(self) {
        let seconds = |duration: Duration| duration.as_secs_f64().round();
        match self {
            Self::GivenUp(after) => tracing::warn!(
                seconds = seconds(after),
                "no name server has answered for longer than they may be silent: requests whose names cannot be looked up now \
                 count as failures of their receivers"
            ),
            Self::AnswersAgain(after) => {
                tracing::info!(seconds = seconds(after), "name servers answer again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// An attempt queries at each of these moments, and no server responds within ten seconds.
    fn attempts(silence: &mut Silence, at: impl IntoIterator<Item = u64>) -> Vec<(Standing, Option<News>)> {
        at.into_iter()
            .map(|at| {
                silence.asked(seconds(at));
                silence.standing(seconds(at + 10), Patience::OF_TESTS)
            })
            .collect()
    }

    #[test]
    fn d13_the_log_says_once_that_attempts_are_judged_and_once_that_name_servers_answer() {
        let mut silence = Silence::default();
        assert_eq!(
            silence.answered(seconds(1)),
            None,
            "there was nothing to speak of"
        );
        let postponed = attempts(&mut silence, (100..970).step_by(30));
        assert!(
            postponed.iter().all(|seen| *seen == (Standing::Silent, None)),
            "{postponed:?}"
        );
        let judged = attempts(&mut silence, (990..1200).step_by(30));
        assert_eq!(judged[0], (Standing::GivenUp, Some(News::GivenUp(seconds(900)))));
        assert!(
            judged[1..].iter().all(|seen| *seen == (Standing::GivenUp, None)),
            "{judged:?}"
        );
        let lasted = News::AnswersAgain(seconds(1100));
        assert_eq!(silence.answered(seconds(1200)), Some(lasted));
        assert_eq!(silence.answered(seconds(1201)), None);
    }

    #[test]
    fn d13_a_slow_answer_is_no_silence_and_the_next_silence_is_told_of_again() {
        let mut silence = Silence::default();
        silence.asked(seconds(1));
        assert_eq!(silence.answered(seconds(9)), None, "every attempt was made");
        for begin in [100, 2000] {
            assert_eq!(
                attempts(&mut silence, [begin]),
                [(Standing::Silent, None)],
                "{begin}"
            );
            let again = silence.answered(seconds(begin + 40));
            assert_eq!(again, Some(News::AnswersAgain(seconds(40))));
        }
    }
}
