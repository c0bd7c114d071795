//! CreateSecurityGroup, DeleteSecurityGroup.

use serde::{Deserialize, Serialize};

use super::SecurityGroup;
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::protocol::query::given;
use crate::region::{Region, named};
use crate::tags::{TagSpecification, Tags, at_creation};

/// Of a name and of a description.
const MOST_CHARACTERS: usize = 255;
/// What both may have beside letters and digits.
const ALLOWED: &str = " ._-:/()#,@[]+=&;{}!$*";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateSecurityGroupRequest {
    group_name: String,
    group_description: String,
    #[serde(default, deserialize_with = "given")]
    vpc_id: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSecurityGroupResponse {
    group_id: String,
    security_group_arn: String,
    tag_set: Tags,
}

/// Makes a group in the VPC, or in the default one.
pub fn create_security_group(
    call: &mut Call<'_>,
    request: CreateSecurityGroupRequest,
) -> Result<CreateSecurityGroupResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["security-group"])?;
    let (name, description) = (&request.group_name, &request.group_description);
    check_text("GroupName", name)?;
    check_text("GroupDescription", description)?;
    if name.starts_with("sg-") {
        let why = "Group names may not be in the format sg-*.";
        return Err(Error::invalid(name, "GroupName", why));
    }
    if name == "default" {
        let message = "Cannot use reserved security group name: default";
        return Err(Error::new("InvalidParameterValue", message));
    }
    let region = &mut *call.region;
    let vpc_id = match request.vpc_id {
        Some(id) => {
            named(Kind::Vpc, std::slice::from_ref(&id), region.vpcs.iter().cloned())?;
            id
        }
        None => default_vpc(region)?,
    };
    let duplicate = |group: &SecurityGroup| group.vpc_id == vpc_id && group.group_name == *name;
    if region.security_groups.iter().any(duplicate) {
        let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
        return Err(Error::new("InvalidGroup.Duplicate", message));
    }
    let id = region.new_id(Kind::SecurityGroup);
    let mut group = SecurityGroup::new(&region.name, &region.account, id, name, description, &vpc_id);
    group.tag_set = tags("security-group");
    let response = CreateSecurityGroupResponse {
        group_id: group.group_id.clone(),
        security_group_arn: group.security_group_arn.clone(),
        tag_set: group.tag_set.clone(),
    };
    region.security_groups.push(group);
    Ok(response)
}

fn check_text(parameter: &str, text: &str) -> Result<(), Error> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || ALLOWED.contains(character);
    if text.is_empty() || text.len() > MOST_CHARACTERS || !text.chars().all(allowed) {
        let why = format!(
            "It must have 1 to {MOST_CHARACTERS} letters, digits, spaces and {}",
            ALLOWED.trim()
        );
        return Err(Error::invalid(text, parameter, why));
    }
    Ok(())
}

fn default_vpc(region: &Region) -> Result<String, Error> {
    let default = region.vpcs.iter().find(|vpc| vpc.is_default);
    default
        .map(|vpc| vpc.vpc_id.clone())
        .ok_or_else(|| Error::new("VPCIdNotSpecified", "No default VPC for this user"))
}

/// The group that a request means: by id, or in the default VPC by name.
pub fn find<'a>(
    region: &'a mut Region,
    id: Option<&String>,
    name: Option<&String>,
) -> Result<&'a mut SecurityGroup, Error> {
    match (id, name) {
        (Some(_), Some(_)) => {
            let message = "The parameters groupId and groupName may not be used together";
            Err(Error::combination(message))
        }
        (None, None) => Err(Error::missing("groupName or groupId")),
        (Some(id), None) => {
            Kind::SecurityGroup.check(id)?;
            let found = region.security_groups.iter_mut().find(|group| group.group_id == *id);
            found.ok_or_else(|| Kind::SecurityGroup.not_found(id))
        }
        (None, Some(name)) => {
            let vpc_id = default_vpc(region)?;
            let meant = |group: &&mut SecurityGroup| group.vpc_id == vpc_id && group.group_name == *name;
            let found = region.security_groups.iter_mut().find(meant);
            found.ok_or_else(|| Kind::SecurityGroup.not_found(name))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteSecurityGroupRequest {
    group_id: Option<String>,
    group_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteSecurityGroupResponse {
    #[serde(rename = "return")]
    value: bool,
    group_id: String,
}

/// Deletes a group that neither an instance nor a rule of another group uses.
pub fn delete_security_group(
    call: &mut Call<'_>,
    request: DeleteSecurityGroupRequest,
) -> Result<DeleteSecurityGroupResponse, Error> {
    let region = &mut *call.region;
    let group = find(region, request.group_id.as_ref(), request.group_name.as_ref())?;
    let (id, name) = (group.group_id.clone(), group.group_name.clone());
    if name == "default" {
        let message = format!("the specified group: \"{id}\" name: \"{name}\" cannot be deleted by a user");
        return Err(Error::new("CannotDelete", message));
    }
    let mut instances = region.instances.values().filter(|instance| instance.exists());
    let worn = instances.any(|instance| instance.security_groups.iter().any(|group| group.group_id == id));
    let mut others = region.security_groups.iter().filter(|group| group.group_id != id);
    if worn || others.any(|other| other.names(&id)) {
        let message = format!("resource {id} has a dependent object");
        return Err(Error::new("DependencyViolation", message));
    }
    region.security_groups.retain(|group| group.group_id != id);
    Ok(DeleteSecurityGroupResponse {
        value: true,
        group_id: id,
    })
}

impl SecurityGroup {
    /// Whether one of its rules is about a group.
    fn names(&self, id: &str) -> bool {
        let mut rules = self.ip_permissions.iter().chain(&self.ip_permissions_egress);
        rules.any(|rule| rule.groups.iter().any(|pair| pair.group_id == id))
    }
}
