//! Name servers that do not answer: what that makes of attempts (D13), and what the log says of it.
//!
//! Promises two lines for each silence in which an attempt could not be made, however many attempts there are: one warning once
//! attempts are judged all the same, and one line when a name server answers again. That attempts are postponed is said
//! elsewhere.

use std::time::Duration;

use tenterhook_policy::postponement::{Lookups, Patience, Standing};

/// What was asked and answered, and which silence there is to speak of.
#[derive(Debug, Default)]
pub(super) struct Silence {
    lookups: Lookups,
    /// When the silence began in which an attempt could not be made.
    noticed: Option<Duration>,
    /// Whether the log says that attempts are judged.
    given_up: bool,
}

/// A line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Attempts are judged from now on, after this long without an answer.
    GivenUp(Duration),
    /// A name server answers, after this long.
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

    /// As [`Lookups::standing`].
    pub fn standing(&mut self, now: Duration, patience: Patience) -> (Standing, Option<News>) {
        let standing = self.lookups.standing(now, patience);
        if standing == Standing::Answering {
            return (standing, None);
        }
        let since = self.lookups.unanswered_since().unwrap_or(now);
        self.noticed.get_or_insert(since);
        // After a while without questions attempts are postponed again.
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
                "no name server has answered for longer than policy.dns_give_up: attempts whose names cannot be looked up now \
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
    use tenterhook_settings::policy::PolicySettings;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// An attempt asks at each of these moments, and nobody answers it within ten seconds.
    fn attempts(silence: &mut Silence, at: impl IntoIterator<Item = u64>) -> Vec<(Standing, Option<News>)> {
        let patience = Patience::of(&PolicySettings::default());
        at.into_iter()
            .map(|at| {
                silence.asked(seconds(at));
                silence.standing(seconds(at + 10), patience)
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
