//! What only AWS and the configuration can tell of a recipe, checked before anything is made: a chain of small checks, whose answer is
//! the condition's reason and message.

use super::observation::Observation;
use super::record::Failure;
use crate::api::{Architecture, ImageRecipeSpec, ImageSearch, Reason};
use crate::world::{
    AccountPolicy, AwsError, Claim, Image, ImageId, ImageState, MANAGED_BY, NotGranted, SecurityGroup, Subnet, Use,
};

/// Everything that must hold before a build with `source` may begin.
pub fn check(observed: &Observation, source: &Image) -> Result<(), Failure> {
    let spec = observed.spec();
    let architecture = architecture(spec)?;
    super::volumes::fit(spec, source)?;
    instance_types_fit(observed, architecture)?;
    subnets_and_security_groups_fit(observed)?;
    if spec.test.enabled {
        inspector_image(observed)?;
    }
    Ok(())
}

/// What the configuration lets a spec use: the object's own before any call is made for it, a build's frozen one before every attempt.
pub fn grants(observed: &Observation, spec: &ImageRecipeSpec) -> Result<(), Failure> {
    let namespace = &observed.owner.namespace;
    let policy = admits(observed.policy.as_ref(), namespace, spec)?;
    let builder = &spec.build.builder;
    for id in builder.subnets.ids.iter().flatten() {
        policy.allows(namespace, Use::Subnet, id).map_err(not_granted)?;
    }
    for id in &builder.security_group_ids {
        policy.allows(namespace, Use::SecurityGroup, id).map_err(not_granted)?;
    }
    if let Some(name) = &builder.instance_profile {
        policy
            .allows(namespace, Use::InstanceProfile, name)
            .map_err(not_granted)?;
    }
    for key in builder.volumes.iter().filter_map(|volume| volume.kms_key_id.as_deref()) {
        policy.allows(namespace, Use::KmsKey, key).map_err(not_granted)?;
    }
    Ok(())
}

/// Whether the configuration grants `namespace` anything in the account and region of a spec; `policy` is the account's.
pub fn admits<'a>(
    policy: Option<&'a AccountPolicy>,
    namespace: &str,
    spec: &ImageRecipeSpec,
) -> Result<&'a AccountPolicy, Failure> {
    let Some(policy) = policy else {
        return Err(Failure::new(
            Reason::NotGranted,
            format!(
                "spec.account: the controller's configuration has no account {:?}; create a recipe for one that it has, or add the account there",
                spec.account
            ),
        ));
    };
    policy.admits(namespace, &spec.region).map_err(not_granted)?;
    Ok(policy)
}

fn not_granted(error: NotGranted) -> Failure {
    Failure::new(Reason::NotGranted, error.to_string())
}

/// The architecture that is built.
pub fn architecture(spec: &ImageRecipeSpec) -> Result<Architecture, Failure> {
    spec.build.architectures.first().copied().ok_or_else(|| {
        Failure::new(
            Reason::InvalidSpec,
            "spec.build.architectures: it is empty; name x86_64 or arm64",
        )
    })
}

/// The source image as the spec names it now, if it can be built on.
pub fn source(observed: &Observation) -> Result<&Image, Failure> {
    let source = resolve_source(observed)?;
    source_is_granted(observed, source)?;
    source_can_be_built_on(source, architecture(observed.spec())?)?;
    source_has_an_allowed_owner(observed, source)?;
    Ok(source)
}

fn resolve_source(observed: &Observation) -> Result<&Image, Failure> {
    let spec = observed.spec();
    let architecture = architecture(spec)?;
    let source = &spec.build.source;
    if let Some(ids) = &source.ids {
        let Some(id) = ids.get(architecture.as_str()) else {
            return Err(Failure::new(
                Reason::SourceNotFound,
                format!(
                    "spec.build.source.ids has no image for {}; add one",
                    architecture.as_str()
                ),
            ));
        };
        return observed.view.images_by_id.values().find(|image| image.id.as_str() == id).ok_or_else(|| {
            Failure::new(
                Reason::SourceNotFound,
                format!("spec.build.source.ids: {} does not exist in {}, or is not shared with this account; name one that is", id, spec.region),
            )
        });
    }
    let Some(search) = &source.search else {
        return Err(Failure::new(
            Reason::InvalidSpec,
            "spec.build.source has neither ids nor search; set one",
        ));
    };
    let found = found(observed, &search.for_architecture(architecture));
    let found = found.map_err(|error| {
        Failure::new(
            Reason::SourceSearchRefused,
            format!("spec.build.source.search: {error}; correct the search"),
        )
    })?;
    // One that others have made, and that is newer, changes nothing for whoever may not use it.
    let mut granted = found.iter().filter(|image| source_is_granted(observed, image).is_ok());
    granted.next().or(found.first()).ok_or_else(|| {
        let name = search.for_architecture(architecture).name;
        let is = name.map_or("has all of these tags".to_owned(), |name| format!("is called {name:?}"));
        Failure::new(
            Reason::SourceNotFound,
            format!(
                "spec.build.source.search: no available image of {} in {} {is}; check owners, name and tags with aws ec2 describe-images",
                search.owners.join(", "),
                spec.region,
            ),
        )
    })
}

/// The trusted image that an inspector boots from: never what a recipe has made, whoever's, for it would look at others' images.
pub fn inspector_image(observed: &Observation) -> Result<&Image, Failure> {
    let found = found(observed, &observed.inspector);
    let found = found.map_err(|error| {
        Failure::new(
            Reason::InspectorImageNotFound,
            format!("inspector.search of the controller's configuration: {error}"),
        )
    })?;
    let mut trusted = found.iter().filter(|image| !image.tags.contains_key(MANAGED_BY));
    trusted.next().ok_or_else(|| {
        Failure::new(
            Reason::InspectorImageNotFound,
            format!(
                "no available image of {} that no recipe has made is called {:?}; correct inspector.search in the controller's configuration",
                observed.inspector.owners.join(", "),
                observed.inspector.name.as_deref().unwrap_or_default()
            ),
        )
    })
}

/// The subnets that the spec names, in the order in which they are tried. Of those that it finds by tags the granted ones, and of
/// these the ones in the VPC of its security groups: whoever tags another one of the region changes nothing.
pub fn subnets<'a>(observed: &'a Observation, spec: &ImageRecipeSpec) -> Result<Vec<&'a Subnet>, Failure> {
    let subnets = &spec.build.builder.subnets;
    if let Some(ids) = &subnets.ids {
        return ids
            .iter()
            .map(|id| {
                observed
                    .view
                    .subnets
                    .iter()
                    .find(|subnet| subnet.id.as_str() == id)
                    .ok_or_else(|| {
                        Failure::new(
                            Reason::SubnetNotFound,
                            format!(
                                "spec.build.builder.subnets.ids: {id} does not exist in {}; name one that does",
                                observed.spec().region
                            ),
                        )
                    })
            })
            .collect();
    }
    let wanted = subnets.tags.clone().unwrap_or_default();
    let mut found: Vec<&Subnet> = observed
        .view
        .subnets
        .iter()
        .filter(|subnet| wanted.iter().all(|(key, value)| subnet.tags.get(key) == Some(value)))
        .collect();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    if wanted.is_empty() || found.is_empty() {
        return Err(Failure::new(
            Reason::SubnetNotFound,
            format!(
                "spec.build.builder.subnets.tags: no subnet in {} has all of these tags; correct them, or tag a subnet",
                observed.spec().region
            ),
        ));
    }
    let Some(policy) = &observed.policy else {
        return Ok(found);
    };
    let granted = |subnet: &&Subnet| policy.allows(&observed.owner.namespace, Use::Subnet, subnet.id.as_str());
    let refused = found.first().and_then(|first| granted(first).err());
    found.retain(|subnet| granted(subnet).is_ok());
    if let Some(refused) = refused.filter(|_| found.is_empty()) {
        return Err(not_granted(refused));
    }
    let fits = |subnet: &&Subnet| security_groups(observed, spec).all(|group| group.vpc_id == subnet.vpc_id);
    // If none does, the check of subnets against security groups says so.
    if found.iter().any(fits) {
        found.retain(fits);
    }
    Ok(found)
}

/// The available images that a search finds, the newest first; the error is that of the search itself.
fn found<'a>(observed: &'a Observation, search: &ImageSearch) -> Result<&'a [Image], &'a AwsError> {
    let searches = &observed.view.searches;
    let found = searches.iter().find(|(asked, _)| asked == search);
    found.map_or(Ok(&[]), |(_, found)| found.as_ref().map(Vec::as_slice))
}

/// Whether the recipe's namespace may start from `image`: a public one, one of its own recipes', or one that is granted.
fn source_is_granted(observed: &Observation, image: &Image) -> Result<(), Failure> {
    let namespace = &observed.owner.namespace;
    let own = image.owner_id == observed.view.account_id
        && Claim::read(&image.tags, &observed.installation)
            .is_some_and(|claim| claim.owner.split_once('/').is_some_and(|(of, _)| of == namespace));
    let policy = observed.policy.as_ref().filter(|_| !image.public && !own);
    let granted = policy.map_or(Ok(()), |policy| {
        policy.allows(namespace, Use::SourceImage, image.id.as_str())
    });
    granted.map_err(|error| {
        Failure::new(
            Reason::NotGranted,
            format!("{error}; public images and those of recipes in namespace {namespace} need no grant"),
        )
    })
}

/// Whether a build may still start from the image that was its source when it began. One that nothing finds any more is left to EC2.
pub fn frozen_source_is_granted(observed: &Observation, id: &ImageId) -> Result<(), Failure> {
    let searched = observed
        .view
        .searches
        .iter()
        .filter_map(|(_, found)| found.as_ref().ok());
    let mut known = observed.view.images_by_id.values().chain(searched.flatten());
    let source = known.find(|image| image.id == *id);
    source.map_or(Ok(()), |source| source_is_granted(observed, source))
}

fn source_can_be_built_on(source: &Image, architecture: Architecture) -> Result<(), Failure> {
    let refuse = |reason: Reason, what: &str| {
        Err(Failure::new(
            reason,
            format!(
                "source image {} ({}) {what}; name another in spec.build.source",
                source.id, source.name
            ),
        ))
    };
    if source.state != ImageState::Available {
        return refuse(
            Reason::SourceUnavailable,
            &format!("is {}, not available", source.state),
        );
    }
    if source.architecture == "i386" {
        return refuse(Reason::SourceUnsupported, "is a 32-bit image, which is not supported");
    }
    if source.architecture != architecture.as_str() {
        return refuse(
            Reason::ArchitectureMismatch,
            &format!(
                "is {}, and spec.build.architectures asks for {}; {{{{arch}}}} in the name of a search expands to that",
                source.architecture,
                architecture.as_str()
            ),
        );
    }
    if source.root_device_type != "ebs" {
        return refuse(
            Reason::SourceUnsupported,
            "has its root on instance store; only EBS-backed images can be built on",
        );
    }
    if source.virtualization_type != "hvm" {
        return refuse(
            Reason::SourceUnsupported,
            "is paravirtual, which types on Nitro do not run",
        );
    }
    if source
        .platform
        .as_deref()
        .is_some_and(|platform| platform.eq_ignore_ascii_case("windows"))
    {
        return refuse(
            Reason::SourceUnsupported,
            "is a Windows image, which is not supported yet",
        );
    }
    if !source.product_codes.is_empty() {
        return refuse(
            Reason::ProofUnsupported,
            "carries product codes, so its volumes cannot be attached to a running inspector",
        );
    }
    Ok(())
}

fn source_has_an_allowed_owner(observed: &Observation, source: &Image) -> Result<(), Failure> {
    let allowed = &observed.spec().build.allowed_owners;
    let is_own = source.owner_id == observed.view.account_id;
    let is_owner = |owner: &String| {
        *owner == source.owner_id || source.owner_alias.as_ref() == Some(owner) || (owner == "self" && is_own)
    };
    if allowed.is_empty() || allowed.iter().any(is_owner) {
        return Ok(());
    }
    Err(Failure::new(
        Reason::OwnerNotAllowed,
        format!(
            "source image {} belongs to {}, and spec.build.allowedOwners has only {}; add the owner if you trust it",
            source.id,
            source.owner_alias.as_deref().unwrap_or(&source.owner_id),
            allowed.join(", ")
        ),
    ))
}

fn instance_types_fit(observed: &Observation, architecture: Architecture) -> Result<(), Failure> {
    let spec = observed.spec();
    let mut lists = vec![("spec.build.builder.instanceTypes", &spec.build.builder.instance_types)];
    if spec.test.enabled {
        lists.push(("spec.test.instanceTypes", &spec.test.instance_types));
    }
    for (field, name) in lists
        .into_iter()
        .flat_map(|(field, types)| types.iter().map(move |name| (field, name)))
    {
        let Some(offered) = observed
            .view
            .instance_types
            .iter()
            .find(|offered| offered.name == *name)
        else {
            return Err(Failure::new(
                Reason::InstanceTypeNotFound,
                format!("{field}: {name} does not exist in {}; name one that does", spec.region),
            ));
        };
        if !offered
            .architectures
            .iter()
            .any(|offers| offers == architecture.as_str())
        {
            return Err(Failure::new(
                Reason::ArchitectureMismatch,
                format!(
                    "{field}: {name} is {}, and spec.build.architectures asks for {}; name another type",
                    offered.architectures.join(" and "),
                    architecture.as_str()
                ),
            ));
        }
        if !offered.nitro {
            return Err(Failure::new(
                Reason::InstanceTypeUnsupported,
                format!(
                    "{field}: {name} is not built on Nitro, so its console cannot be read while it runs; name a newer type"
                ),
            ));
        }
    }
    Ok(())
}

/// Whether one of the subnets that a spec finds now by tags is granted and in the VPC of its security groups. Where it finds none, nothing
/// is launched.
pub fn subnets_may_be_used(observed: &Observation, spec: &ImageRecipeSpec) -> Result<(), Failure> {
    match subnets(observed, spec) {
        Err(failure) if failure.reason == Reason::NotGranted => Err(failure),
        Err(_) => Ok(()),
        Ok(subnets) => security_groups(observed, spec).try_for_each(|group| fits(group, &subnets)),
    }
}

/// Those of the spec's security groups that there are.
fn security_groups<'a>(
    observed: &'a Observation,
    spec: &'a ImageRecipeSpec,
) -> impl Iterator<Item = &'a SecurityGroup> {
    let named = &spec.build.builder.security_group_ids;
    let groups = observed.view.security_groups.iter();
    groups.filter(|group| named.iter().any(|id| id == group.id.as_str()))
}

/// Whether all of these subnets are in the VPC of a security group.
fn fits(group: &SecurityGroup, subnets: &[&Subnet]) -> Result<(), Failure> {
    match subnets.iter().find(|subnet| subnet.vpc_id != group.vpc_id) {
        None => Ok(()),
        Some(subnet) => Err(Failure::new(
            Reason::SecurityGroupMismatch,
            format!(
                "spec.build.builder: security group {} is in {} and subnet {} in {}; name ones of the same VPC",
                group.id, group.vpc_id, subnet.id, subnet.vpc_id
            ),
        )),
    }
}

fn subnets_and_security_groups_fit(observed: &Observation) -> Result<(), Failure> {
    let spec = observed.spec();
    let subnets = subnets(observed, spec)?;
    for id in &spec.build.builder.security_group_ids {
        let Some(group) = observed
            .view
            .security_groups
            .iter()
            .find(|group| group.id.as_str() == id)
        else {
            return Err(Failure::new(
                Reason::SecurityGroupNotFound,
                format!(
                    "spec.build.builder.securityGroupIds: {id} does not exist in {}; name one that does",
                    spec.region
                ),
            ));
        };
        fits(group, &subnets)?;
    }
    Ok(())
}
