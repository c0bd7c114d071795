//! Reaching what the controller stands on: the API server, and AWS in every region that it serves.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::client::ClientBuilder;
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use tokio::sync::mpsc;
use tower::timeout::TimeoutLayer;

use super::{Clock, Config, Failure};
use crate::api::ImageRecipe;
use crate::aws::{Account, AwsMetrics, Ec2, Inventory};
use crate::telemetry::Metrics;
use crate::world::{Installation, Owner};

/// No call lasts longer; whether it was carried out is then unknown.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The two clients of the API server: watches last, calls must not.
#[derive(Clone)]
pub struct Clients {
    /// Waits for the next event as long as that takes.
    pub watches: Client,
    /// For everything else: with a deadline, and without retries of its own, for a failed pass is followed by another.
    pub calls: Client,
}

impl Clients {
    /// Clients as the kubeconfig (`KUBECONFIG`, `~/.kube/config`) or else the pod's service account says. Whether the
    /// server answers is not asked yet.
    ///
    /// # Errors
    /// When there is no configuration, or one that cannot be used.
    pub async fn infer() -> Result<Self, Failure> {
        let config = kube::Config::infer().await;
        let mut config = config.map_err(|error| {
            format!(
                "which cluster? Set KUBECONFIG, write ~/.kube/config, or run in a pod with a service account: {error}"
            )
        })?;
        config.default_retry = false;
        let watches = Client::try_from(config.clone())?;
        // The layer bounds the wait for the head of the answer, the configuration that for its body.
        config.read_timeout = Some(CALL_DEADLINE);
        config.reset_reader_on_write = true;
        let calls = ClientBuilder::try_from(config)?
            .with_layer(&TimeoutLayer::new(CALL_DEADLINE))
            .build();
        Ok(Self { watches, calls })
    }
}

/// Which cluster this is, for all time: the uid of `kube-system`.
pub async fn cluster_uid(client: &Client) -> Result<String, String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = namespaces.get("kube-system").await.map_err(words)?;
    namespace
        .uid()
        .ok_or_else(|| "namespace kube-system has no uid".to_owned())
}

/// Whether the API server serves every kind of ours. Asked by discovery, which everyone may read.
pub async fn kinds_are_served(client: &Client) -> Result<(), String> {
    let kind = ImageRecipe::api_resource();
    let missing = || {
        format!(
            "the API server does not know {}.{}; apply what `goldsmith crds` prints",
            kind.plural, kind.group
        )
    };
    match client.list_api_group_resources(&kind.api_version).await {
        Ok(served) if served.resources.iter().any(|served| served.name == kind.plural) => Ok(()),
        Ok(_) => Err(missing()),
        // The server's 404 for an unknown group is no Status, so it has no reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Err(missing()),
        Err(error) => Err(words(error)),
    }
}

/// What the server said, without the rest of its answer.
fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

/// A client for each region of each account.
///
/// # Errors
/// When the series of the AWS client are registered already.
pub async fn regions(config: &Config, metrics: &Metrics) -> prometheus::Result<Vec<Ec2>> {
    let metrics = AwsMetrics::register(metrics.registry())?;
    let mut regions = Vec::new();
    for policy in &config.accounts {
        let account = Account::load(&policy.name, metrics.clone()).await;
        regions.extend(policy.regions.iter().map(|region| account.ec2(region)));
    }
    Ok(regions)
}

/// An inventory for each region that the configuration names, by account and region.
pub fn inventories(
    regions: &[Ec2],
    config: &Config,
    installation: &Installation,
    clock: &Clock,
    pokes: &mpsc::UnboundedSender<Owner>,
) -> HashMap<(String, String), Inventory> {
    let inventory = |ec2: &Ec2| {
        let policy = config.account(ec2.account())?;
        let inventory = Inventory::new(
            ec2,
            installation,
            policy,
            &config.inspector,
            clock.clone(),
            pokes.clone(),
        );
        Some(((ec2.account().to_owned(), ec2.region().to_owned()), inventory))
    };
    regions.iter().filter_map(inventory).collect()
}
