//! Silent name servers: the effect on requests (D13), and the log lines about it.
//!
//! Each silence in which a request could not be made gets two log lines, however many requests there are: a warning
//! when requests start to count as failures anyway, and a line when a name server responds again. Postponed requests are
//! logged elsewhere.

use std::time::Duration;

use crate::name_servers::{Lookups, NameServers, Patience};

/// Queries and responses, and the current silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    lookups: Lookups,
    /// Start of the silence in which a request could not be made.
    noticed: Option<Duration>,
    /// Whether the log says that requests count as failures.
    given_up: bool,
}

/// A log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Requests count as failures from now on, after this time without a response.
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

    /// Like [`Lookups::name_servers`].
    pub fn name_servers(&mut self, now: Duration, patience: Patience) -> (NameServers, Option<News>) {
        let servers = self.lookups.name_servers(now, patience);
        if servers == NameServers::Answering {
            return (servers, None);
        }
        let since = self.lookups.unanswered_since().unwrap_or(now);
        self.noticed.get_or_insert(since);
        // After a while without queries, requests are postponed again.
        let told = std::mem::replace(&mut self.given_up, servers == NameServers::GivenUp);
        let news = self.given_up && !told;
        (servers, news.then_some(News::GivenUp(now.saturating_sub(since))))
    }
}

impl News {
    pub fn log(self) {
        let seconds = |duration: Duration| duration.as_secs_f64().round();
        match self {
            Self::GivenUp(after) => tracing::warn!(
                seconds = seconds(after),
                "no name server has responded for too long: requests whose host names cannot be resolved now count as \
                 failures of their receivers"
            ),
            Self::AnswersAgain(after) => {
                tracing::info!(seconds = seconds(after), "name servers respond again")
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

    /// A request queries at each of these moments, and no server responds within ten seconds.
    fn attempts(
        silence: &mut Silence,
        at: impl IntoIterator<Item = u64>,
    ) -> Vec<(NameServers, Option<News>)> {
        at.into_iter()
            .map(|at| {
                silence.asked(seconds(at));
                silence.name_servers(seconds(at + 10), Patience::OF_TESTS)
            })
            .collect()
    }

    #[test]
    fn d13_giving_up_and_recovery_are_each_logged_once() {
        let mut silence = Silence::default();
        assert_eq!(
            silence.answered(seconds(1)),
            None,
            "there was nothing to speak of"
        );
        let postponed = attempts(&mut silence, (100..970).step_by(30));
        assert!(
            postponed.iter().all(|seen| *seen == (NameServers::Silent, None)),
            "{postponed:?}"
        );
        let judged = attempts(&mut silence, (990..1200).step_by(30));
        assert_eq!(
            judged[0],
            (NameServers::GivenUp, Some(News::GivenUp(seconds(900))))
        );
        assert!(
            judged[1..]
                .iter()
                .all(|seen| *seen == (NameServers::GivenUp, None)),
            "{judged:?}"
        );
        let lasted = News::AnswersAgain(seconds(1100));
        assert_eq!(silence.answered(seconds(1200)), Some(lasted));
        assert_eq!(silence.answered(seconds(1201)), None);
    }

    #[test]
    fn d13_a_slow_response_is_not_silence_and_each_silence_is_logged() {
        let mut silence = Silence::default();
        silence.asked(seconds(1));
        assert_eq!(silence.answered(seconds(9)), None, "every request was made");
        for begin in [100, 2000] {
            assert_eq!(
                attempts(&mut silence, [begin]),
                [(NameServers::Silent, None)],
                "{begin}"
            );
            let again = silence.answered(seconds(begin + 40));
            assert_eq!(again, Some(News::AnswersAgain(seconds(40))));
        }
    }
}
