//! Calls to AWS, counted and timed.

use std::time::Duration;

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use super::limiter::Budget;
use super::operation::Operation;
use crate::world::{AwsError, ErrorClass};

/// The series about AWS.
#[derive(Clone, Debug)]
pub struct AwsMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    throttles: IntCounterVec,
    tokens: GaugeVec,
}

impl AwsMetrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When `registry` has series of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("goldsmith_aws_requests_total", "Calls to AWS, by what became of them."),
                &["service", "operation", "outcome"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new(
                    "goldsmith_aws_request_duration_seconds",
                    "Time from the sending of a call to AWS to its answer, without the wait for its budget.",
                )
                .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
                &["service", "operation"],
            )?,
            throttles: IntCounterVec::new(
                Opts::new(
                    "goldsmith_aws_throttles_total",
                    "Calls that AWS refused because there were too many.",
                ),
                &["service", "operation"],
            )?,
            tokens: GaugeVec::new(
                Opts::new(
                    "goldsmith_aws_budget_tokens",
                    "Calls left in a bucket when the last one was taken.",
                ),
                &["account", "region", "class"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.throttles.clone()))?;
        registry.register(Box::new(metrics.tokens.clone()))?;
        Ok(metrics)
    }

    pub(super) fn budget_left(&self, account: &str, region: &str, budget: Budget, left: f64) {
        self.tokens
            .with_label_values(&[account, region, budget.as_str()])
            .set(left);
    }

    /// A call is sent now. One that is dropped before its end counts as abandoned.
    pub(super) fn begin(&self, operation: Operation) -> Measured<'_> {
        Measured {
            metrics: self,
            operation,
            began: Instant::now(),
            outcome: "abandoned",
        }
    }
}

/// A call that is under way.
pub(super) struct Measured<'a> {
    metrics: &'a AwsMetrics,
    operation: Operation,
    began: Instant,
    outcome: &'static str,
}

impl Measured<'_> {
    pub(super) fn end<T>(mut self, answer: &Result<T, AwsError>) {
        self.outcome = match answer {
            Ok(_) => "success",
            Err(error) => error.class.as_str(),
        };
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let (service, operation) = (self.operation.service(), self.operation.name());
        let took: Duration = self.began.elapsed();
        self.metrics
            .requests
            .with_label_values(&[service, operation, self.outcome])
            .inc();
        self.metrics
            .duration
            .with_label_values(&[service, operation])
            .observe(took.as_secs_f64());
        if self.outcome == ErrorClass::Throttled.as_str() {
            self.metrics.throttles.with_label_values(&[service, operation]).inc();
        }
    }
}
