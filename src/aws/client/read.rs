//! Calls that change nothing.

use aws_sdk_ec2::types::Filter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::from_sdk::{self, Malformed};
use super::{Ec2, error};
use crate::api::ImageSearch;
use crate::aws::operation::Operation;
use crate::world::{
    AwsError, CLUSTER, Image, ImageId, Installation, Instance, InstanceId, InstanceType, MANAGED_BY, SecurityGroup,
    Snapshot, Subnet, Volume,
};

/// Results a page; EC2's maximum for most lists.
const PAGE: i32 = 1000;
/// EC2's maximum for DescribeInstanceTypes.
const INSTANCE_TYPE_PAGE: i32 = 100;
/// Images that a search may find. Amazon alone has ten times as many public ones in a region.
const SEARCH_LIMIT: usize = 10_000;
/// EC2 applies filters to what it has put on a page, so that pages may be short, or empty.
const SEARCH_PAGES: usize = 200;
/// Values that one filter may have.
const FILTER_VALUES: usize = 200;

/// Which images are looked for.
#[derive(Clone, Copy, Debug)]
pub enum ImageQuery<'a> {
    /// Those of our own account that carry the installation's tags, disabled ones too.
    Ours(&'a Installation),
    /// Anyone's; ids that EC2 does not know, or does not show us, are left out.
    Ids(&'a [ImageId]),
    /// Those of our own account that have one of these names.
    Names(&'a [String]),
}

impl Ec2 {
    /// Instances that carry the installation's tags; a terminated one for about an hour.
    pub async fn describe_instances(&self, installation: &Installation) -> Result<Vec<Instance>, AwsError> {
        const OPERATION: Operation = Operation::DescribeInstances;
        let filters = &ours(installation);
        self.pages(OPERATION, |token| async move {
            let request = self
                .sdk()
                .describe_instances()
                .set_filters(Some(filters.clone()))
                .max_results(PAGE);
            let answer = self.call(OPERATION, request.set_next_token(token).send()).await?;
            let instances = answer
                .reservations
                .into_iter()
                .flatten()
                .flat_map(|one| one.instances.unwrap_or_default());
            Ok((converted(OPERATION, instances, from_sdk::instance)?, answer.next_token))
        })
        .await
    }

    /// Volumes that carry the installation's tags.
    pub async fn describe_volumes(&self, installation: &Installation) -> Result<Vec<Volume>, AwsError> {
        const OPERATION: Operation = Operation::DescribeVolumes;
        let filters = &ours(installation);
        self.pages(OPERATION, |token| async move {
            let request = self
                .sdk()
                .describe_volumes()
                .set_filters(Some(filters.clone()))
                .max_results(PAGE);
            let answer = self.call(OPERATION, request.set_next_token(token).send()).await?;
            Ok((
                converted(OPERATION, answer.volumes.into_iter().flatten(), from_sdk::volume)?,
                answer.next_token,
            ))
        })
        .await
    }

    /// Snapshots of our own account that carry the installation's tags.
    pub async fn describe_snapshots(&self, installation: &Installation) -> Result<Vec<Snapshot>, AwsError> {
        const OPERATION: Operation = Operation::DescribeSnapshots;
        let filters = &ours(installation);
        self.pages(OPERATION, |token| async move {
            let request = self
                .sdk()
                .describe_snapshots()
                .owner_ids("self")
                .set_filters(Some(filters.clone()));
            let answer = self
                .call(OPERATION, request.max_results(PAGE).set_next_token(token).send())
                .await?;
            Ok((
                converted(OPERATION, answer.snapshots.into_iter().flatten(), from_sdk::snapshot)?,
                answer.next_token,
            ))
        })
        .await
    }

    /// The images that `query` finds, in no order.
    pub async fn describe_images(&self, query: ImageQuery<'_>) -> Result<Vec<Image>, AwsError> {
        let own = &["self".to_owned()];
        match query {
            ImageQuery::Ours(installation) => self.images(own, ours(installation)).await,
            ImageQuery::Ids(ids) => {
                // By filter: one unknown id in the list of ids would fail the call for all of them.
                self.images_by(
                    "image-id",
                    &ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    &[],
                )
                .await
            }
            ImageQuery::Names(names) => self.images_by("name", names, own).await,
        }
    }

    async fn images_by(&self, name: &str, values: &[String], owners: &[String]) -> Result<Vec<Image>, AwsError> {
        let mut images = Vec::new();
        for some in values.chunks(FILTER_VALUES) {
            images.extend(self.images(owners, vec![filter(name, some)]).await?);
        }
        Ok(images)
    }

    async fn images(&self, owners: &[String], filters: Vec<Filter>) -> Result<Vec<Image>, AwsError> {
        const OPERATION: Operation = Operation::DescribeImages;
        let filters = &filters;
        self.pages(OPERATION, |token| async move {
            // Whoever names an image, or made it, wants it whatever its state.
            self.page_of_images(owners, filters.clone(), true, token).await
        })
        .await
    }

    async fn page_of_images(
        &self,
        owners: &[String],
        filters: Vec<Filter>,
        withdrawn_too: bool,
        token: Option<String>,
    ) -> Result<(Vec<Image>, Option<String>), AwsError> {
        const OPERATION: Operation = Operation::DescribeImages;
        let request = self
            .sdk()
            .describe_images()
            .set_owners(Some(owners.to_vec()).filter(|owners| !owners.is_empty()))
            .set_filters(Some(filters))
            .include_deprecated(withdrawn_too)
            .include_disabled(withdrawn_too)
            .max_results(PAGE)
            .set_next_token(token);
        let answer = self.call(OPERATION, request.send()).await?;
        Ok((
            converted(OPERATION, answer.images.into_iter().flatten(), from_sdk::image)?,
            answer.next_token,
        ))
    }

    /// Those of the available images that a search finds, `{{arch}}` filled in already, which `choose` leaves of them. It is asked after
    /// each page, because a search may be as wide as its author likes. Deprecated images of others are left out, as EC2 does.
    ///
    /// # Errors
    /// `TooManyImages`, of class `Invalid`, when it finds more than 10,000 images.
    pub async fn search_images(
        &self,
        search: &ImageSearch,
        choose: impl Fn(Vec<Image>) -> Vec<Image>,
    ) -> Result<Vec<Image>, AwsError> {
        let tags = search.tags.iter();
        let mut filters = vec![filter("state", ["available"])];
        filters.extend(search.name.as_ref().map(|name| filter("name", [name])));
        filters.extend(tags.map(|(key, value)| filter(format!("tag:{key}"), [value])));
        let mut chosen = Vec::new();
        let mut token = None;
        let mut found = 0;
        for _ in 0..SEARCH_PAGES {
            let read = self.page_of_images(&search.owners, filters.clone(), false, token.take());
            let (images, next) = read.await?;
            found += images.len();
            if found > SEARCH_LIMIT {
                break;
            }
            chosen.extend(images);
            chosen = choose(chosen);
            token = next.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(chosen);
            }
        }
        Err(error::too_many_images(SEARCH_LIMIT))
    }

    /// All subnets of the region.
    pub async fn describe_subnets(&self) -> Result<Vec<Subnet>, AwsError> {
        const OPERATION: Operation = Operation::DescribeSubnets;
        self.pages(OPERATION, |token| async move {
            let request = self.sdk().describe_subnets().max_results(PAGE).set_next_token(token);
            let answer = self.call(OPERATION, request.send()).await?;
            Ok((
                converted(OPERATION, answer.subnets.into_iter().flatten(), from_sdk::subnet)?,
                answer.next_token,
            ))
        })
        .await
    }

    /// All security groups of the region.
    pub async fn describe_security_groups(&self) -> Result<Vec<SecurityGroup>, AwsError> {
        const OPERATION: Operation = Operation::DescribeSecurityGroups;
        self.pages(OPERATION, |token| async move {
            let request = self
                .sdk()
                .describe_security_groups()
                .max_results(PAGE)
                .set_next_token(token);
            let answer = self.call(OPERATION, request.send()).await?;
            let groups = answer.security_groups.into_iter().flatten();
            Ok((
                converted(OPERATION, groups, from_sdk::security_group)?,
                answer.next_token,
            ))
        })
        .await
    }

    /// Those of the types called `names` that the region offers.
    pub async fn describe_instance_types(&self, names: &[String]) -> Result<Vec<InstanceType>, AwsError> {
        const OPERATION: Operation = Operation::DescribeInstanceTypes;
        let mut types = Vec::new();
        for some in names.chunks(FILTER_VALUES) {
            // By filter: one unknown name in the list of names would fail the call for all of them.
            let filters = &vec![filter("instance-type", some)];
            let found = self.pages(OPERATION, |token| async move {
                let request = self.sdk().describe_instance_types().set_filters(Some(filters.clone()));
                let request = request.max_results(INSTANCE_TYPE_PAGE).set_next_token(token);
                let answer = self.call(OPERATION, request.send()).await?;
                let types = answer.instance_types.into_iter().flatten();
                Ok((converted(OPERATION, types, from_sdk::instance_type)?, answer.next_token))
            });
            types.extend(found.await?);
        }
        Ok(types)
    }

    /// The end of what the instance has written to its serial console by now, at most 64 KiB; empty before its first word. Nitro
    /// only: others' consoles are read as they were at the last change of the instance's state.
    pub async fn console_output(&self, instance: &InstanceId) -> Result<String, AwsError> {
        const OPERATION: Operation = Operation::GetConsoleOutput;
        let request = self
            .sdk()
            .get_console_output()
            .instance_id(instance.as_str())
            .latest(true);
        let output = self.call(OPERATION, request.send()).await?.output.unwrap_or_default();
        // Guests may write any bytes: what is not text is shown as such.
        let bytes = BASE64_STANDARD
            .decode(output.trim())
            .map_err(|reason| error::malformed(OPERATION, reason))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The number of the account that our credentials belong to.
    pub async fn caller_account(&self) -> Result<String, AwsError> {
        const OPERATION: Operation = Operation::GetCallerIdentity;
        let answer = self
            .call(OPERATION, self.region.sts.get_caller_identity().send())
            .await?;
        answer
            .account
            .ok_or_else(|| error::malformed(OPERATION, Malformed::Missing("Account")))
    }
}

/// What carries the tags of `installation`.
fn ours(installation: &Installation) -> Vec<Filter> {
    vec![
        filter(format!("tag:{MANAGED_BY}"), [&installation.name]),
        filter(format!("tag:{CLUSTER}"), [&installation.cluster]),
    ]
}

fn filter<V: Into<String> + Clone>(name: impl Into<String>, values: impl AsRef<[V]>) -> Filter {
    let values = values.as_ref().iter().map(|value| value.clone().into()).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

fn converted<S, T>(
    operation: Operation,
    items: impl Iterator<Item = S>,
    convert: impl Fn(S) -> Result<T, Malformed>,
) -> Result<Vec<T>, AwsError> {
    items
        .map(convert)
        .collect::<Result<_, _>>()
        .map_err(|reason| error::malformed(operation, reason))
}
