//! `spec.build.source`: the image that a build starts from.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rule::distinct;
use super::syntax::{ImageId, Owner, TagFilter};

/// Where the build starts from: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.ids) != has(self.search)", "must have exactly one of ids and search"))]
pub struct Source {
    /// Image id by architecture, for example `{x86_64: ami-0123456789abcdef0}`; one for each of `architectures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, ImageId>>", extend("maxProperties" = 16))]
    pub ids: Option<BTreeMap<String, String>>,
    /// The newest available image that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<ImageSearch>,
}

/// A search among images; the newest by creation date wins. It has a name, tags or both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.name) || (has(self.tags) && self.tags.size() > 0)", "must have name or tags: owners alone would match any image of theirs"),
    validation = Rule::new("!has(self.tags) || self.tags.size() == 0 || self.owners == ['self']")
        .message("need owners: [self], because AWS never shows the tags of another account's images: search by name")
        .field_path(".tags"),
)]
pub struct ImageSearch {
    /// Account ids, or the aliases `self`, `amazon`, `aws-marketplace`, `aws-backup-vault`. Required: anyone may give an image
    /// a look-alike name.
    #[schemars(with = "Vec<Owner>", length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ("self.size() > 0", "must name at least one owner: anyone may give an image a look-alike name"), validation = distinct())]
    pub owners: Vec<String>,
    /// Name with EC2's wildcards `*` and `?`; `{{arch}}` stands for the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = (
            r"self.replace('{{arch}}', '').matches(r'''^[A-Za-z0-9()\[\] ./'@_*?-]*$''')",
            "must be the name of an image (letters, digits, spaces and ()[]./-'@_) with the wildcards * and ?; {{arch}}, written without spaces inside, is its only variable",
        ),
        validation = (
            r"self.replace('{{arch}}', '').matches('[^*?]')",
            "must have more than wildcards and {{arch}}: it would match any image of the owners; begin it with what the wanted images are called",
        ),
        validation = (
            "self.replace('{{arch}}', '').replace('*', '').size() <= 128",
            "must have at most 128 characters beside *, since no image has a longer name: shorten it",
        ),
    )]
    pub name: Option<String>,
    /// Tags that the image must have. Tags of other accounts' images are never visible, so this works with `self` alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "TagFilter")]
    pub tags: BTreeMap<String, String>,
}

impl ImageSearch {
    /// The search with `{{arch}}` filled in.
    pub fn for_architecture(&self, architecture: super::Architecture) -> Self {
        let name = self
            .name
            .as_ref()
            .map(|name| name.replace("{{arch}}", architecture.as_str()));
        Self { name, ..self.clone() }
    }
}
