//! How an account is reached.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::retry::RetryConfig;

use super::{AwsMetrics, Ec2};

/// No call lasts longer; what it was to do may then have been done or not.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// An account of the controller's configuration.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    config: SdkConfig,
    metrics: AwsMetrics,
}

impl Account {
    /// The account that the SDK's default chain leads to (environment, profile, web identity, Pod Identity, instance profile),
    /// known as `name` in the controller's configuration. `AWS_ENDPOINT_URL` is honoured; regions are always explicit.
    pub async fn load(name: &str, metrics: AwsMetrics) -> Self {
        // The chain itself must not ask anyone which region this is: any stands in until `ec2` names one.
        let region = Region::from_static("us-east-1");
        Self::new(
            name,
            &aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .load()
                .await,
            metrics,
        )
    }

    /// The account that `config` leads to, with our own rules about retries and deadlines. Tests pass an HTTP client of theirs.
    pub fn new(name: &str, config: &SdkConfig, metrics: AwsMetrics) -> Self {
        let deadlines = TimeoutConfig::builder()
            .operation_timeout(CALL_DEADLINE)
            .connect_timeout(CONNECT_DEADLINE)
            .build();
        // What to do after an error is decided by its class, and what is repeated shows in the limiter.
        let mut config = config
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(deadlines);
        // What AWS's logs say who called; the name is well-formed, or the logs do without it.
        config.set_app_name(AppName::new(concat!("goldsmith-", env!("CARGO_PKG_VERSION"))).ok());
        Self {
            name: name.to_owned(),
            config: config.build(),
            metrics,
        }
    }

    /// The client of one region. Make one per account and region and share it: it holds the budgets.
    pub fn ec2(&self, region: &str) -> Ec2 {
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        Ec2::new(&self.name, region, &config, self.metrics.clone())
    }
}
