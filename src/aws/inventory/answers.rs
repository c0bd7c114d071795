//! What AWS has said to single questions (an image id, a search, an instance type), each with an age and failures of its own: a
//! question that AWS does not answer is the trouble of those who ask it, and of nobody else.

use std::time::Duration;

use jiff::Timestamp;

use crate::world::AwsError;

/// After a failed try a question waits for one, two, four ... seconds, at most this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(29);

/// The answers to one kind of question.
#[derive(Debug)]
pub(super) struct Answers<Q, A> {
    /// How long an answer is taken for the present one.
    lifetime: Duration,
    /// How much longer it serves while AWS does not give a newer one.
    patience: Duration,
    kept: Vec<Kept<Q, A>>,
}

#[derive(Debug)]
struct Kept<Q, A> {
    question: Q,
    answer: Option<Answer<A>>,
    /// None: the last try has succeeded.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Answer<A> {
    read: Timestamp,
    lifetime: Duration,
    value: A,
}

#[derive(Debug)]
struct Failure {
    at: Timestamp,
    /// In a row.
    tries: u32,
    error: AwsError,
}

impl<Q: Clone + PartialEq, A> Answers<Q, A> {
    pub(super) fn new(lifetime: Duration, patience: Duration) -> Self {
        Self {
            lifetime,
            patience,
            kept: Vec::new(),
        }
    }

    /// Forgets what nobody asks any more, and says what is to be asked now.
    pub(super) fn due<'a>(&mut self, asked: impl Iterator<Item = &'a Q> + Clone, now: Timestamp) -> Vec<Q>
    where
        Q: 'a,
    {
        self.kept
            .retain(|kept| asked.clone().any(|question| *question == kept.question));
        let known = |question: &&Q| self.kept.iter().find(|kept| kept.question == **question);
        let due = asked.filter(|question| {
            known(question).is_none_or(|kept| match (&kept.failure, &kept.answer) {
                (Some(failure), _) => !within(failure.at, failure.pause(), now),
                (None, Some(answer)) => !within(answer.read, answer.lifetime, now),
                (None, None) => true,
            })
        });
        due.cloned().collect()
    }

    /// Keeps the outcome of a question that was asked at `now`.
    pub(super) fn put(&mut self, question: &Q, outcome: Result<A, AwsError>, now: Timestamp) {
        self.put_for(question, outcome, now, self.lifetime);
    }

    /// The same, of an answer with a lifetime of its own.
    pub(super) fn put_for(&mut self, question: &Q, outcome: Result<A, AwsError>, now: Timestamp, lifetime: Duration) {
        let known = self.kept.iter().position(|kept| kept.question == *question);
        let place = known.unwrap_or_else(|| {
            self.kept.push(Kept {
                question: question.clone(),
                answer: None,
                failure: None,
            });
            self.kept.len() - 1
        });
        let kept = &mut self.kept[place];
        match outcome {
            Ok(value) => {
                kept.answer = Some(Answer {
                    read: now,
                    lifetime,
                    value,
                });
                kept.failure = None;
            }
            Err(error) => {
                let tries = kept.failure.as_ref().map_or(0, |failure| failure.tries);
                kept.failure = Some(Failure {
                    at: now,
                    tries: tries.saturating_add(1),
                    error,
                });
            }
        }
    }

    /// What is known: the answer as long as it may serve, then the error for which there is no newer one.
    pub(super) fn known(&self, now: Timestamp) -> impl Iterator<Item = (&Q, Result<&A, &AwsError>)> {
        self.kept.iter().filter_map(move |kept| {
            let answer = kept.answer.as_ref();
            let serves = answer.filter(|answer| within(answer.read, answer.lifetime + self.patience, now));
            let known = match (serves, &kept.failure) {
                (Some(answer), _) => Ok(&answer.value),
                (None, Some(failure)) => Err(&failure.error),
                (None, None) => return None,
            };
            Some((&kept.question, known))
        })
    }
}

impl Failure {
    fn pause(&self) -> Duration {
        let pause = Duration::from_secs(2_u64.saturating_pow(self.tries.saturating_sub(1).min(5)));
        pause.min(LONGEST_PAUSE)
    }
}

/// Whether `now` is less than `duration` after `start`; a clock that was set back makes everything old.
fn within(start: Timestamp, duration: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(start)).is_ok_and(|age| age < duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ErrorClass;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    fn failure() -> AwsError {
        AwsError {
            operation: "DescribeImages",
            class: ErrorClass::Server,
            code: "InternalError".into(),
            message: "An internal error has occurred".into(),
            request_id: None,
        }
    }

    fn answers() -> Answers<&'static str, i32> {
        Answers::new(Duration::from_secs(29), Duration::from_secs(600))
    }

    #[test]
    fn a_question_is_asked_again_when_its_answer_is_old_and_forgotten_when_nobody_asks() {
        let mut answers = answers();
        assert_eq!(answers.due(["a", "b"].iter(), at(0)), ["a", "b"]);
        answers.put(&"a", Ok(1), at(0));
        answers.put(&"b", Ok(2), at(10));
        assert_eq!(answers.due(["a", "b", "c"].iter(), at(29)), ["a", "c"]);
        assert_eq!(answers.due(["a"].iter(), at(29)), ["a"]);
        assert_eq!(answers.known(at(29)).collect::<Vec<_>>(), [(&"a", Ok(&1))]);
        assert_eq!(answers.due(["a"].iter(), at(-100)), ["a"], "the clock was set back");
    }

    #[test]
    fn the_last_answer_serves_for_a_while_and_then_the_error_is_told() {
        let mut answers = answers();
        answers.put(&"a", Ok(1), at(0));
        answers.put(&"a", Err(failure()), at(30));
        assert_eq!(answers.known(at(600)).collect::<Vec<_>>(), [(&"a", Ok(&1))]);
        assert_eq!(answers.known(at(630)).collect::<Vec<_>>(), [(&"a", Err(&failure()))]);
        answers.put(&"a", Ok(2), at(631));
        assert_eq!(answers.known(at(631)).collect::<Vec<_>>(), [(&"a", Ok(&2))]);
    }

    #[test]
    fn a_question_that_fails_is_asked_ever_less_often() {
        let mut answers = answers();
        let mut asked = Vec::new();
        for second in 0..120 {
            if !answers.due(["a"].iter(), at(second)).is_empty() {
                asked.push(second);
                answers.put(&"a", Err(failure()), at(second));
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 60, 89, 118]);
    }
}
