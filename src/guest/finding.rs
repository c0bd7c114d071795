//! What should not be on the disk of an image, as the builder's search and the inspector tell it.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::manifest::harmless;
use crate::api::CleanupItem;

/// Something on the disk that should not be there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// By which rule it was found.
    #[serde(rename = "item")]
    pub rule: Rule,
    /// Where: a path on the image's root filesystem; or `boot partition:` or `further volume:`, and a path there.
    #[serde(deserialize_with = "harmless")]
    pub path: String,
}

/// By what a guest finds something. It has names of one word in what guests are told and tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// An item of cleanup, which a recipe may skip.
    Item(CleanupItem),
    /// `cleanup.extraPaths`.
    ExtraPath,
    /// `cleanup.forbiddenContent`.
    ForbiddenContent,
}

impl Rule {
    const EXTRA_PATH: &str = "ExtraPath";
    const FORBIDDEN_CONTENT: &str = "ForbiddenContent";

    /// As guests have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Item(item) => item.as_str(),
            Self::ExtraPath => Self::EXTRA_PATH,
            Self::ForbiddenContent => Self::FORBIDDEN_CONTENT,
        }
    }

    /// What a guest says; none for a word that is no rule's.
    pub fn read(word: &str) -> Option<Self> {
        let item = || CleanupItem::ALL.into_iter().find(|item| item.as_str() == word);
        match word {
            Self::EXTRA_PATH => Some(Self::ExtraPath),
            Self::FORBIDDEN_CONTENT => Some(Self::ForbiddenContent),
            _ => item().map(Self::Item),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => item.fmt(formatter),
            Self::ExtraPath => formatter.write_str("extraPaths"),
            Self::ForbiddenContent => formatter.write_str("forbiddenContent"),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::read(&word).ok_or_else(|| de::Error::custom("no rule has this name"))
    }
}
