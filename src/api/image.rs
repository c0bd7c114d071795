//! `spec.image`: name, tags and attributes of the image.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::syntax::Tags;

/// Name, tags and attributes of the image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImageSettings {
    /// Template with `{{recipe}}`, `{{namespace}}`, `{{date}}` (UTC, of the build's start), `{{build}}`, `{{arch}}` and
    /// `{{hash}}` (first twelve characters of the content hash); 3 to 128 characters once rendered. `{{build}}` is required:
    /// AWS keeps image names unique, and only the build's number differs each time.
    #[serde(default = "default_name")]
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = (
            r"self.matches(r'''^([A-Za-z0-9()\[\] ./'@_-]|\{\{(recipe|namespace|date|build|arch|hash)\}\})*$''')",
            "must consist of letters, digits, spaces and ()[]./-'@_, and of the variables {{recipe}}, {{namespace}}, {{date}}, {{build}}, {{arch}} and {{hash}}, written without spaces inside",
        ),
        validation = ("self.contains('{{build}}')", "must contain {{build}}: AWS refuses a second image of one name, and only the build's number differs each time"),
        validation = ("self.replace('{{build}}', '1').size() >= 3", "must have at least 3 characters once {{build}} is replaced by a number, as AWS demands"),
    )]
    pub name: String,
    /// Description of the image, in ASCII, as AWS demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = ("self.matches('^[ -~]*$')", "must consist of printable ASCII characters, as AWS demands, in one line"))]
    pub description: Option<String>,
    /// Put on the image and its snapshots; a change is applied to the image that is there, without a build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Tags")]
    pub tags: BTreeMap<String, String>,
    /// `v2.0` makes every instance of the image require IMDSv2 by default. Irreversible on the image.
    #[serde(default)]
    pub imds_support: ImdsSupport,
    /// Deregistration protection with cooldown, put on once the image is proven.
    #[serde(default = "default_deregistration_protection")]
    pub deregistration_protection: bool,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            name: default_name(),
            description: None,
            tags: BTreeMap::new(),
            imds_support: ImdsSupport::default(),
            deregistration_protection: default_deregistration_protection(),
        }
    }
}

fn default_name() -> String {
    "{{recipe}}-{{date}}-v{{build}}".into()
}

fn default_deregistration_protection() -> bool {
    true
}

/// The image's `ImdsSupport` attribute.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImdsSupport {
    /// Instances require IMDSv2 unless told otherwise at launch.
    #[default]
    #[serde(rename = "v2.0")]
    V2,
    /// The attribute is not set, so instances also answer IMDSv1 unless told otherwise.
    #[serde(rename = "unset")]
    Unset,
}
