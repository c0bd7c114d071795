//! How complete and how old a picture of one account and region is.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{AwsError, Image, ImageId, Instance, InstanceType, SecurityGroup, Snapshot, Subnet, Volume};
use crate::api::ImageSearch;

/// What is in one account and region: everything that carries our installation's tag, and whatever objects refer to.
///
/// It is complete but for `unanswered`: any other read that fails leaves the view before in place, with its time. Answers to what
/// objects refer to serve longer while AWS gives no newer ones: images and searches ten minutes, instance types a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// When the first of the reads of `instances`, `volumes`, `snapshots`, `images` and `named_images` was sent. None: nothing
    /// has been read yet.
    pub taken: Option<Timestamp>,
    /// Number of the account: twelve digits.
    pub account_id: String,
    /// Our own, by tag.
    pub instances: Vec<Instance>,
    /// Our own, by tag.
    pub volumes: Vec<Volume>,
    /// Our own, by tag.
    pub snapshots: Vec<Snapshot>,
    /// Our own, by tag.
    pub images: Vec<Image>,
    /// Images that carry a name which a build wants, whoever in this account made them.
    pub named_images: Vec<Image>,
    /// Images asked for by id, up to half a minute older than `taken`; an id that EC2 does not know is absent.
    pub images_by_id: BTreeMap<ImageId, Image>,
    /// The available images that each search asked for finds, up to half a minute older than `taken`, as far as they may matter to
    /// anyone ([`AccountPolicy::newest`](super::AccountPolicy::newest)), the newest first; or why the search itself is refused: by EC2,
    /// or because it finds too many.
    pub searches: Vec<(ImageSearch, Result<Vec<Image>, AwsError>)>,
    /// All of the region's, up to a minute old.
    pub subnets: Vec<Subnet>,
    /// All of the region's, up to a minute old.
    pub security_groups: Vec<SecurityGroup>,
    /// Types asked for, up to an hour old; one that the region does not offer is absent.
    pub instance_types: Vec<InstanceType>,
    /// What was asked for and has no answer that may serve, with the error of the last try. Its absence elsewhere in the view
    /// says nothing: whoever asked it must not decide.
    pub unanswered: Vec<(Interest, AwsError)>,
}

impl View {
    /// Why one of `interests` has no answer, if one has none.
    pub fn unanswered(&self, interests: &[Interest]) -> Option<&AwsError> {
        let mut unanswered = self.unanswered.iter();
        unanswered
            .find(|(asked, _)| interests.contains(asked))
            .map(|(_, error)| error)
    }
}

/// A part of the world that an object refers to, beside what carries its tags.
#[derive(Clone, Debug, PartialEq)]
pub enum Interest {
    /// By its id.
    Image(ImageId),
    /// A name that a build is about to use for its image.
    ImageName(String),
    /// A search with `{{arch}}` filled in already.
    Search(ImageSearch),
    /// By EC2's name, for example `m7i.large`.
    InstanceType(String),
}
