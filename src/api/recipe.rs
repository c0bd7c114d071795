//! `ImageRecipe`: how an image is made, tested and named, and when it is made again.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::rule::immutable;
use super::syntax::{AccountName, Region};
use super::{Build, ImageRecipeStatus, ImageSettings, Test};

/// How an image is made, tested and named, and when it is made again.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "goldsmith.dev",
    version = "v1alpha1",
    kind = "ImageRecipe",
    plural = "imagerecipes",
    shortname = "imgrecipe",
    category = "goldsmith",
    namespaced,
    status = "ImageRecipeStatus",
    derive = "PartialEq",
    doc = "How an image is made, tested and named, and when it is made again.",
    // The name is part of the names and of label values of what belongs to the recipe.
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must have at most 63 characters: choose a shorter one"),
    validation = Rule::new(image_name_fits())
        .message("is longer than the 128 characters that AWS allows, once its variables are replaced: shorten it or metadata.name")
        .field_path(".spec.image.name"),
    validation = Rule::new("!has(self.spec.build.builder.volumes) || self.spec.build.builder.volumes.all(volume, !has(volume.kmsKeyId) || \
        !volume.kmsKeyId.startsWith('arn:') || volume.kmsKeyId.contains(':kms:' + self.spec.region + ':'))")
        .message("must name keys of the recipe's own region: EC2 encrypts with no other")
        .field_path(".spec.build.builder.volumes"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True: the latest image is proven and made of the present inputs, or is kept while another is made"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not"),
    printcolumn(name = "Latest", type_ = "string", json_path = ".status.latest.name",
        description = "Name of the proven image of the present inputs"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.latest.images.*.*",
        description = "Id of that image"),
    printcolumn(name = "Build", type_ = "integer", json_path = ".status.build.number",
        description = "Number of the build in hand"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.build.architectures[0].phase",
        description = "How far it is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Region", type_ = "string", priority = 1, json_path = ".spec.region",
        description = "AWS region in which the image is built"),
    printcolumn(name = "Source", type_ = "string", priority = 1, json_path = ".status.source.*.imageId",
        description = "Image that the build starts from, as last resolved"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What a person should know of the present state"),
)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecipeSpec {
    /// True: what runs is finished, nothing is started; status is still written.
    #[serde(default)]
    pub suspend: bool,
    /// Name of an account in the controller's configuration. Immutable.
    #[serde(default = "default_account")]
    #[schemars(with = "AccountName")]
    #[x_kube(validation = immutable("images stay in the account in which they were made; create another recipe for the other account"))]
    pub account: String,
    /// AWS region in which the image is built, for example `eu-central-1`. Immutable.
    #[schemars(with = "Region")]
    #[x_kube(validation = immutable("images stay in the region in which they were made; create another recipe for the other region"))]
    pub region: String,
    /// What shapes the image, and where it is built.
    pub build: Build,
    /// How the image is proved on a fresh boot. On by default.
    #[serde(default)]
    pub test: Test,
    /// Name, tags and attributes of the image.
    #[serde(default)]
    pub image: ImageSettings,
    /// When the image is made again without a change of the spec.
    #[serde(default)]
    pub rebuild: Rebuild,
    /// Attempts of one build; then the recipe is Stalled until its spec, its source or a request changes.
    #[serde(default = "default_failure_limit")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_limit: i32,
    /// Ended builds of which the record (a ConfigMap and an entry in status) is kept.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub history_limit: i32,
}

/// The image's name has at most 128 characters with its variables replaced. Counted, because a rule that replaced them would cost
/// more than the API server allows; by five digits for the build, and by one character for the namespace, which rules don't
/// see: what is longer for that reason is refused before the build begins.
fn image_name_fits() -> String {
    let lengths = [
        ("recipe", "self.metadata.name.size()"),
        ("namespace", "1"),
        ("date", "10"),
        ("build", "5"),
        ("arch", "6"),
        ("hash", "12"),
    ];
    let differences = lengths.map(|(variable, length)| {
        format!(
            " + (self.spec.image.name.split('{{{{{variable}}}}}').size() - 1) * ({length} - {})",
            variable.len() + 4
        )
    });
    format!("self.spec.image.name.size(){} <= 128", differences.concat())
}

fn default_account() -> String {
    "default".into()
}

fn default_failure_limit() -> i32 {
    3
}

fn default_history_limit() -> i32 {
    10
}

/// When the image is made again without a change of the spec.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// A newer source image, noticed within a minute, starts a build.
    #[serde(default = "default_on_source_change")]
    pub on_source_change: bool,
}

impl Default for Rebuild {
    fn default() -> Self {
        Self {
            on_source_change: default_on_source_change(),
        }
    }
}

fn default_on_source_change() -> bool {
    true
}
