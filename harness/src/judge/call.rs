//! A mutating call to EC2, as it was sent, and who says what it is for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api_server::{ApiServer, Kind};
use crate::process::Member;

/// What `config.yaml` beside this crate says.
const INSTALLATION: &str = "harness";

/// The calls that make something, and what kinds of things each of them makes.
const CREATES: [(&str, &[&str]); 3] = [
    ("RunInstances", &["instance", "volume", "network-interface"]),
    ("CreateVolume", &["volume"]),
    ("CreateImage", &["image", "snapshot"]),
];

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    pub operation: &'a str,
    /// Whose it is.
    pub member: Member,
    /// The whole form, by flattened names.
    pub parameters: BTreeMap<String, String>,
    /// `Success`, or the error's code.
    pub outcome: &'a str,
    /// Ids of what it made.
    pub made: &'a [String],
}

/// Whose a thing is, as its tags say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    pub uid: String,
    pub owner: String,
    pub build: i64,
    pub attempt: i64,
    pub role: String,
}

impl Call<'_> {
    /// Whether it had its effect.
    pub fn succeeded(&self) -> bool {
        self.outcome == "Success"
    }

    /// A parameter, empty when it is not there.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The kinds of things that it makes, if it makes any.
    pub fn creates(&self) -> Option<&'static [&'static str]> {
        let found = CREATES.iter().find(|(operation, _)| *operation == self.operation);
        found.map(|(_, kinds)| *kinds)
    }

    /// Values of the parameters whose names begin so.
    pub fn values<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.parameters.iter().filter(move |(name, _)| name.starts_with(prefix));
        named.map(|(_, value)| value.as_str())
    }

    /// Ids of things that the call names.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let is_id = |value: &&str| {
            let id = value.split_once('-');
            id.is_some_and(|(kind, rest)| {
                ["i", "vol", "ami", "snap", "eni"].contains(&kind) && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        };
        // What a tag says is no target.
        let targets = self.parameters.iter().filter(|(name, _)| !name.starts_with("Tag"));
        targets.map(|(_, value)| value.as_str()).filter(is_id)
    }

    /// The tags that `CreateTags` puts, or that a thing of that kind is born with.
    pub fn tags(&self, kind: Option<&str>) -> BTreeMap<&str, &str> {
        let prefix = match kind {
            None => "Tag.".to_owned(),
            Some(kind) => {
                let types = self.parameters.iter();
                let mut types = types.filter(|(name, value)| name.ends_with(".ResourceType") && *value == kind);
                let Some((name, _)) = types.next() else {
                    return BTreeMap::new();
                };
                name.replace("ResourceType", "Tag.")
            }
        };
        let keys = self.parameters.iter().filter_map(|(name, key)| {
            let number = name.strip_prefix(&prefix)?.strip_suffix(".Key")?;
            Some((key.as_str(), self.parameter(&format!("{prefix}{number}.Value"))))
        });
        keys.collect()
    }
}

/// Reads tags; what is wrong with them if they are not those of a recipe that is or was in this cluster. `known` are uids and names of
/// all of them.
pub fn label(tags: &BTreeMap<&str, &str>, api: &ApiServer, known: &BTreeSet<(&str, &str)>) -> Result<Label, String> {
    let tag = |name: &str| {
        tags.get(format!("goldsmith.dev/{name}").as_str())
            .copied()
            .unwrap_or_default()
    };
    let number = |name: &str| tag(name).parse().map_err(|_| format!("{name} is {:?}", tag(name)));
    let mut namespaces = api.objects(Kind::Namespace);
    let cluster = namespaces.find(|one| one["metadata"]["name"] == "kube-system");
    let cluster = cluster
        .and_then(|one| one["metadata"]["uid"].as_str())
        .unwrap_or_default();
    if (tag("managed-by"), tag("cluster")) != (INSTALLATION, cluster) {
        return Err(format!(
            "they are of installation {:?} in cluster {:?}",
            tag("managed-by"),
            tag("cluster")
        ));
    }
    let label = Label {
        uid: tag("owner-uid").to_owned(),
        owner: tag("owner").to_owned(),
        build: number("build")?,
        attempt: number("attempt")?,
        role: tag("role").to_owned(),
    };
    match known.contains(&(label.uid.as_str(), label.owner.as_str())) {
        true => Ok(label),
        false => Err(format!("there is no recipe {} of uid {}", label.owner, label.uid)),
    }
}

/// The recipe of that uid.
pub fn recipe<'a>(api: &'a ApiServer, uid: &str) -> Option<&'a Value> {
    api.objects(Kind::ImageRecipe)
        .find(|recipe| recipe["metadata"]["uid"] == uid)
}

/// `NAMESPACE/NAME` of an object.
pub fn path(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}
