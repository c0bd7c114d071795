//! One look at a region.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::interests::Union;
use crate::api::ImageSearch;
use crate::aws::{Ec2, ImageQuery};
use crate::world::{AwsError, ErrorClass, Image, ImageId, Installation, InstanceType, SecurityGroup, Subnet, View};

/// Source images change every few weeks, and are to be noticed within a minute; searches among a public owner's images
/// are EC2's slowest reads.
const SOURCES_LIFETIME: Duration = Duration::from_secs(29);
/// Someone who has just made the subnet that a condition asks for waits this long at most.
const NETWORK_LIFETIME: Duration = Duration::from_secs(59);
/// EC2 starts to offer a type in a region a few times a year, and practically never stops.
const INSTANCE_TYPES_LIFETIME: Duration = Duration::from_secs(3600);

/// Reads, and remembers when it read what changes rarely.
#[derive(Debug)]
pub(super) struct Reader {
    ec2: Ec2,
    installation: Installation,
    sources_read: Option<(Instant, u64)>,
    network_read: Option<Instant>,
    /// By name; none when the region does not offer the type.
    instance_types: BTreeMap<String, (Instant, Option<InstanceType>)>,
}

type Searches = Vec<(ImageSearch, Result<Vec<Image>, AwsError>)>;
type Sources = (BTreeMap<ImageId, Image>, Searches);
type Network = (Vec<Subnet>, Vec<SecurityGroup>, String);

impl Reader {
    pub(super) fn new(ec2: Ec2, installation: Installation) -> Self {
        Self {
            ec2,
            installation,
            sources_read: None,
            network_read: None,
            instance_types: BTreeMap::new(),
        }
    }

    /// Reads what `asked` wants to know, and all that is ours. What changes rarely is taken over from `before` where it is
    /// young enough. `urgent`: something waits for the answer.
    pub(super) async fn read(
        &mut self,
        asked: &Union,
        before: &View,
        now: Timestamp,
        urgent: bool,
    ) -> Result<View, AwsError> {
        let began = Instant::now();
        let young = |read: Instant, lifetime| began.duration_since(read) < lifetime;
        let sources_young = self
            .sources_read
            .is_some_and(|(at, version)| version >= asked.version && young(at, SOURCES_LIFETIME));
        let network_young = self.network_read.is_some_and(|at| young(at, NETWORK_LIFETIME));
        self.instance_types
            .retain(|_, (at, _)| young(*at, INSTANCE_TYPES_LIFETIME));
        let unknown_types: Vec<String> = asked
            .instance_types
            .iter()
            .filter(|name| !self.instance_types.contains_key(*name))
            .cloned()
            .collect();

        let ec2 = &if urgent { self.ec2.clone() } else { self.ec2.polling() };
        let installation = &self.installation;
        let (instances, volumes, snapshots, images, named_images, sources, network, types) = tokio::try_join!(
            ec2.describe_instances(installation),
            ec2.describe_volumes(installation),
            ec2.describe_snapshots(installation),
            ec2.describe_images(ImageQuery::Ours(installation)),
            ec2.describe_images(ImageQuery::Names(&asked.names)),
            unless(sources_young, sources(ec2, asked)),
            unless(network_young, network(ec2, &before.account_id)),
            ec2.describe_instance_types(&unknown_types),
        )?;

        let (images_by_id, searches) = match sources {
            Some(read) => {
                self.sources_read = Some((began, asked.version));
                read
            }
            None => (before.images_by_id.clone(), before.searches.clone()),
        };
        let (subnets, security_groups, account_id) = match network {
            Some(read) => {
                self.network_read = Some(began);
                read
            }
            None => (
                before.subnets.clone(),
                before.security_groups.clone(),
                before.account_id.clone(),
            ),
        };
        for name in unknown_types {
            let offered = types.iter().find(|one| one.name == name).cloned();
            self.instance_types.insert(name, (began, offered));
        }
        Ok(View {
            taken: Some(now),
            account_id,
            instances,
            volumes,
            snapshots,
            images,
            named_images,
            images_by_id,
            searches,
            subnets,
            security_groups,
            instance_types: self
                .instance_types
                .values()
                .filter_map(|(_, offered)| offered.clone())
                .collect(),
        })
    }
}

async fn unless<T>(known: bool, read: impl Future<Output = Result<T, AwsError>>) -> Result<Option<T>, AwsError> {
    if known { Ok(None) } else { read.await.map(Some) }
}

async fn sources(ec2: &Ec2, asked: &Union) -> Result<Sources, AwsError> {
    let by_id = ec2.describe_images(ImageQuery::Ids(&asked.images)).await?;
    let mut searches = Searches::new();
    for search in &asked.searches {
        let found = match ec2.describe_images(ImageQuery::Search(search)).await {
            // Wrong is this search alone, and whoever wrote it is to hear of it.
            Err(error) if matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound) => Err(error),
            answer => Ok(answer?),
        };
        searches.push((search.clone(), found));
    }
    Ok((
        by_id.into_iter().map(|image| (image.id.clone(), image)).collect(),
        searches,
    ))
}

async fn network(ec2: &Ec2, account_id: &str) -> Result<Network, AwsError> {
    let account_id = async {
        // An account keeps its number.
        if account_id.is_empty() {
            ec2.caller_account().await
        } else {
            Ok(account_id.to_owned())
        }
    };
    tokio::try_join!(ec2.describe_subnets(), ec2.describe_security_groups(), account_id)
}
