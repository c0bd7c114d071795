//! One account in one region: exactly the calls that Goldsmith makes, from and to [`crate::world`]'s values.
//!
//! Every call waits for its budget, has a deadline, is counted, and is made once: whether it is repeated is decided by
//! whoever knows what it was for, by the error's class.

mod from_sdk;
mod read;
mod write;

use std::pin::Pin;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

pub use read::ImageQuery;
pub use write::{Launch, ShutdownBehavior, SnapshotDeletion};

use super::error;
use super::limiter::{Limiter, Urgency};
use super::metrics::AwsMetrics;
use super::operation::Operation;
use crate::world::{AwsError, ErrorClass};

/// The client of one account and region. Clones share its budgets.
#[derive(Clone, Debug)]
pub struct Ec2 {
    region: Arc<RegionClient>,
    urgency: Urgency,
}

#[derive(Debug)]
struct RegionClient {
    account: String,
    name: String,
    ec2: aws_sdk_ec2::Client,
    sts: aws_sdk_sts::Client,
    limiter: Limiter,
    metrics: AwsMetrics,
}

impl Ec2 {
    pub(super) fn new(account: &str, region: &str, config: &SdkConfig, metrics: AwsMetrics) -> Self {
        let region = RegionClient {
            account: account.to_owned(),
            name: region.to_owned(),
            ec2: aws_sdk_ec2::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            limiter: Limiter::new(),
            metrics,
        };
        Self {
            region: Arc::new(region),
            urgency: Urgency::Effect,
        }
    }

    /// Name of the account in the controller's configuration.
    pub fn account(&self) -> &str {
        &self.region.account
    }

    /// For example `eu-central-1`.
    pub fn region(&self) -> &str {
        &self.region.name
    }

    /// The same client, whose calls give way to those that something waits for.
    pub(super) fn polling(&self) -> Self {
        Self {
            region: Arc::clone(&self.region),
            urgency: Urgency::Polling,
        }
    }

    fn sdk(&self) -> &aws_sdk_ec2::Client {
        &self.region.ec2
    }

    /// Not an `async fn`, which would keep the SDK's future, of several kilobytes, in every future around it.
    fn call<'a, T, E>(
        &'a self,
        operation: Operation,
        request: impl Future<Output = Result<T, SdkError<E>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, AwsError>> + Send + 'a
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let request: Pin<Box<dyn Future<Output = Result<T, SdkError<E>>> + Send + 'a>> = Box::pin(request);
        async move {
            let RegionClient {
                account,
                name,
                limiter,
                metrics,
                ..
            } = &*self.region;
            if let Some(budget) = operation.budget() {
                let left = limiter.take(budget, self.urgency).await;
                metrics.budget_left(account, name, budget, left);
            }
            let measured = metrics.begin(operation);
            let answer = request.await.map_err(|error| error::from_sdk(operation, error));
            measured.end(&answer);
            if let (Err(error), Some(budget)) = (&answer, operation.budget())
                && error.class == ErrorClass::Throttled
            {
                limiter.drain(budget);
                metrics.budget_left(account, name, budget, 0.0);
            }
            answer
        }
    }

    /// Every page of a list. `page` gets the token of the page to read, none for the first, and answers with the page and
    /// the token of the next.
    async fn pages<T, F>(&self, operation: Operation, page: impl Fn(Option<String>) -> F) -> Result<Vec<T>, AwsError>
    where
        F: Future<Output = Result<(Vec<T>, Option<String>), AwsError>>,
    {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let (items, next) = page(token.clone()).await?;
            all.extend(items);
            // EC2 has been seen to end a list with an empty token.
            let next = next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(all);
            }
            if next == token {
                return Err(error::malformed(
                    operation,
                    "the token of the next page is the one of this page",
                ));
            }
            token = next;
        }
    }
}
