//! What goes wrong in a run, and at which request.

use std::fmt;
use std::str::FromStr;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies; the request never arrives.
    DiesBefore,
    /// The process dies once the request has had its effect, before the answer comes.
    DiesAfter,
    /// As `DiesAfter`, and what AWS is asked next shows the world as it was before that effect.
    DiesUnseen,
    /// The request has its effect, and the connection closes without an answer.
    AnswerLost,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::DiesUnseen, Self::AnswerLost, Self::DiesAfter, Self::DiesBefore];

    /// Its name in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiesBefore => "dies-before",
            Self::DiesAfter => "dies-after",
            Self::DiesUnseen => "dies-unseen",
            Self::AnswerLost => "answer-lost",
        }
    }
}

/// A run: which story, and what goes wrong in it. Written `STORY`, or `STORY/FAULT/REQUEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub story: String,
    /// With the number of the request that it strikes, counted from 1.
    pub fault: Option<(Fault, usize)>,
}

impl Plan {
    /// The story as it goes when nothing goes wrong.
    pub fn undisturbed(story: &str) -> Self {
        Self {
            story: story.to_owned(),
            fault: None,
        }
    }

    /// The story with one thing that goes wrong.
    pub fn with(story: &str, fault: Fault, request: usize) -> Self {
        Self {
            story: story.to_owned(),
            fault: Some((fault, request)),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.story)?;
        match self.fault {
            Some((fault, request)) => write!(formatter, "/{}/{request}", fault.as_str()),
            None => Ok(()),
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let faults = Fault::ALL.map(Fault::as_str).join(", ");
            format!("{text:?} is no plan; write STORY or STORY/FAULT/REQUEST, where FAULT is one of {faults}")
        };
        let parts: Vec<&str> = text.split('/').collect();
        match &parts[..] {
            [story] => Ok(Self::undisturbed(story)),
            [story, fault, request] => {
                let fault = Fault::ALL.into_iter().find(|known| known.as_str() == *fault);
                let request = request.parse().map_err(|_| wrong())?;
                Ok(Self::with(story, fault.ok_or_else(wrong)?, request))
            }
            _ => Err(wrong()),
        }
    }
}
