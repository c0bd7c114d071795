//! Tags: CreateTags, DeleteTags, DescribeTags, and tags at creation.

use std::collections::BTreeMap;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::describe::{Bounds, Described, Field, Filter, Page, page};
use crate::ids::Kind;
use crate::operations::{Call, Return};
use crate::protocol::Error;

/// A resource's tags, by key; written as the list of [`Tag`]s that AWS calls a tag set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeMap<String, String>);

impl Tags {
    pub const NONE: &'static Tags = &Tags(BTreeMap::new());
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            list.serialize_element(&Tag {
                key: key.clone(),
                value: value.clone(),
            })?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Listed {
            key: String,
            value: String,
        }
        let list = Vec::<Listed>::deserialize(deserializer)?;
        Ok(Tags(list.into_iter().map(|tag| (tag.key, tag.value)).collect()))
    }
}

/// A tag as requests and responses carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    #[serde(rename(deserialize = "Key"))]
    pub key: String,
    #[serde(rename(deserialize = "Value"), default)]
    pub value: String,
}

/// `TagSpecification.N`: tags for what a call creates, by resource type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagSpecification {
    pub resource_type: Option<String>,
    #[serde(rename = "Tag", default)]
    pub tags: Vec<Tag>,
}

/// The tags for one resource type; `allowed` are the types that the operation creates.
pub fn at_creation(
    specifications: &[TagSpecification],
    allowed: &[&str],
) -> Result<impl Fn(&str) -> Tags + use<>, Error> {
    let mut by_type: BTreeMap<String, Tags> = BTreeMap::new();
    for specification in specifications {
        let Some(resource_type) = &specification.resource_type else {
            let message = "Tag specification resource type must have a value";
            return Err(Error::new("InvalidParameterValue", message));
        };
        if !allowed.contains(&resource_type.as_str()) {
            let why = format!("'{resource_type}' is not a valid taggable resource type for this operation.");
            return Err(Error::invalid(resource_type, "TagSpecification.ResourceType", why));
        }
        if specification.tags.is_empty() {
            let message = "Tag specification must have at least one tag";
            return Err(Error::new("InvalidParameterValue", message));
        }
        if by_type.contains_key(resource_type) {
            let why = "Only one tag specification is allowed per resource type.";
            return Err(Error::invalid(resource_type, "TagSpecification.ResourceType", why));
        }
        by_type.insert(resource_type.clone(), put(Tags::NONE, &specification.tags)?);
    }
    Ok(move |resource_type: &str| by_type.get(resource_type).cloned().unwrap_or_default())
}

/// `old` with `tags` added, by AWS's limits: 50 tags, keys to 128 and values to 256 characters, `aws:` reserved.
fn put(old: &Tags, tags: &[Tag]) -> Result<Tags, Error> {
    let mut new = old.clone();
    let mut seen = Vec::new();
    for Tag { key, value } in tags {
        if key.is_empty() {
            return Err(Error::new("InvalidParameterValue", "Tag key cannot be null or empty."));
        }
        if seen.contains(&key) {
            return Err(Error::new(
                "InvalidParameterValue",
                format!("Duplicate tag key '{key}' specified."),
            ));
        }
        seen.push(key);
        check_length("key", key, 128)?;
        check_length("value", value, 256)?;
        if key.starts_with("aws:") {
            let message = format!("Tag keys starting with 'aws:' are reserved for internal use: '{key}'");
            return Err(Error::new("InvalidParameterValue", message));
        }
        new.0.insert(key.clone(), value.clone());
    }
    if new.0.keys().filter(|key| !key.starts_with("aws:")).count() > 50 {
        return Err(Error::new("TagLimitExceeded", "More than 50 tags specified"));
    }
    Ok(new)
}

fn check_length(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.chars().count() > most {
        let message = format!("Tag {what} exceeds the maximum length of {most} characters: '{text}'");
        return Err(Error::new("InvalidParameterValue", message));
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct CreateTagsRequest {
    #[serde(rename = "ResourceId")]
    resources: Vec<String>,
    #[serde(rename = "Tag")]
    tags: Vec<Tag>,
}

/// Tags every resource, or none.
pub fn create_tags(call: &mut Call<'_>, request: CreateTagsRequest) -> Result<Return, Error> {
    let mut new = Vec::new();
    for id in &request.resources {
        new.push((id, put(tags_of(call, id)?, &request.tags)?));
    }
    for (id, tags) in new {
        *tags_of(call, id)? = tags;
    }
    Ok(Return::TRUE)
}

#[derive(Deserialize)]
pub struct DeleteTagsRequest {
    #[serde(rename = "ResourceId")]
    resources: Vec<String>,
    #[serde(rename = "Tag", default)]
    tags: Vec<DeletedTag>,
}

/// A tag to delete: with a value, only where it has that value.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeletedTag {
    key: String,
    value: Option<String>,
}

/// Without tags, all of a user's are deleted. A tag that isn't there is no error.
pub fn delete_tags(call: &mut Call<'_>, request: DeleteTagsRequest) -> Result<Return, Error> {
    for id in &request.resources {
        tags_of(call, id)?;
    }
    for id in &request.resources {
        tags_of(call, id)?.0.retain(|key, value| {
            let named = request
                .tags
                .iter()
                .any(|tag| tag.key == *key && tag.value.as_ref().is_none_or(|wanted| wanted == value));
            !named && (!request.tags.is_empty() || key.starts_with("aws:"))
        });
    }
    Ok(Return::TRUE)
}

fn tags_of<'a>(call: &'a mut Call<'_>, id: &str) -> Result<&'a mut Tags, Error> {
    let kind = Kind::of(id)
        .filter(|kind| kind.check(id).is_ok())
        .ok_or_else(|| Error::new("InvalidID", format!("The ID '{id}' is not valid")))?;
    let account = call.region.account.clone();
    let region = &mut *call.region;
    let tags = match kind {
        Kind::Image => region
            .images
            .get_mut(id)
            .filter(|image| image.owner == account)
            .map(|image| &mut image.tags),
        Kind::Instance => region.instances.get_mut(id).map(|instance| &mut instance.tags),
        Kind::NetworkInterface => region
            .instances
            .values_mut()
            .map(|instance| &mut instance.network_interface)
            .find(|interface| interface.id == id)
            .map(|interface| &mut interface.tags),
        Kind::Snapshot => region
            .snapshots
            .get_mut(id)
            .filter(|snapshot| snapshot.owner == account)
            .map(|snapshot| &mut snapshot.tags),
        Kind::Volume => region.volumes.get_mut(id).map(|volume| &mut volume.tags),
        Kind::KeyPair => region
            .key_pairs
            .iter_mut()
            .find(|k| k.key_pair_id == id)
            .map(|k| &mut k.tag_set),
        Kind::SecurityGroup => region
            .security_groups
            .iter_mut()
            .find(|g| g.group_id == id)
            .map(|g| &mut g.tag_set),
        Kind::Subnet => region
            .subnets
            .iter_mut()
            .find(|s| s.subnet_id == id)
            .map(|s| &mut s.tag_set),
        Kind::Vpc => region.vpcs.iter_mut().find(|v| v.vpc_id == id).map(|v| &mut v.tag_set),
    };
    tags.ok_or_else(|| kind.not_found(id))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTagsRequest {
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeTagsResponse {
    tag_set: Vec<TagDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagDescription {
    resource_id: String,
    resource_type: &'static str,
    key: String,
    value: String,
    /// For the filter `tag:KEY` alone.
    #[serde(skip)]
    tags: Tags,
}

impl Described for TagDescription {
    const FILTERS: &'static [Field<Self>] = &[
        ("key", |tag| vec![tag.key.clone()]),
        ("resource-id", |tag| vec![tag.resource_id.clone()]),
        ("resource-type", |tag| vec![tag.resource_type.to_owned()]),
        ("value", |tag| vec![tag.value.clone()]),
    ];

    fn id(&self) -> String {
        format!("{} {}", self.resource_id, self.key)
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

pub fn describe_tags(call: &mut Call<'_>, request: DescribeTagsRequest) -> Result<DescribeTagsResponse, Error> {
    let mut items = Vec::new();
    for (kind, id, tags) in call.region.tagged() {
        items.extend(tags.0.iter().map(|(key, value)| TagDescription {
            resource_id: id.to_owned(),
            resource_type: kind.resource_type(),
            key: key.clone(),
            value: value.clone(),
            tags: Tags(BTreeMap::from([(key.clone(), value.clone())])),
        }));
    }
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    let (tag_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeTagsResponse { tag_set, next_token })
}
