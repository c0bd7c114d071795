//! What Prometheus reads. Label sets are closed: no ids, no error text, no object's name but on the gauges that are
//! about one object, and those go with it.

use jiff::Timestamp;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::recipes::Recipes;

/// Bounds of the time that a pass takes: AWS answers in tens to hundreds of milliseconds, and waits for its budget.
const PASS_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Every series that the controller offers, and the one registry that they are in.
pub struct Metrics {
    registry: Registry,
    passes: IntCounterVec,
    errors: IntCounterVec,
    panics: IntCounterVec,
    seconds: HistogramVec,
    active: IntGaugeVec,
    leader: IntGaugeVec,
    leaked: IntGaugeVec,
    /// What is known of recipes.
    pub recipes: Recipes,
}

impl Metrics {
    /// All series, registered.
    ///
    /// # Errors
    /// Only when two series have one name, which the first test finds.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        Ok(Self {
            passes: counters(
                &registry,
                "controller_runtime_reconcile_total",
                "Passes over objects, by how they ended.",
                &["controller", "result"],
            )?,
            errors: counters(
                &registry,
                "controller_runtime_reconcile_errors_total",
                "Passes that ended with an error.",
                &["controller"],
            )?,
            panics: counters(
                &registry,
                "controller_runtime_reconcile_panics_total",
                "Passes that ended with a panic.",
                &["controller"],
            )?,
            seconds: histograms(
                &registry,
                "controller_runtime_reconcile_time_seconds",
                "How long passes took.",
                &["controller"],
                PASS_SECONDS,
            )?,
            active: gauges(
                &registry,
                "controller_runtime_active_workers",
                "Passes that are running.",
                &["controller"],
            )?,
            leader: gauges(
                &registry,
                "leader_election_master_status",
                "1 while this process holds the Lease of that name, else 0.",
                &["name"],
            )?,
            leaked: gauges(
                &registry,
                "goldsmith_leaked_resources",
                "Resources in AWS that carry this installation's tags and that no object claims, when the sweep last looked.",
                &["kind"],
            )?,
            recipes: Recipes::new(&registry)?,
            registry,
        })
    }

    /// Where others (the AWS client) register series of their own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A pass of `controller` begins; it is counted when the answer is dropped.
    pub fn pass<'a>(&'a self, controller: &'static str) -> Pass<'a> {
        self.active.with_label_values(&[controller]).inc();
        Pass {
            metrics: self,
            controller,
            began: tokio::time::Instant::now(),
            result: PassResult::Abandoned,
        }
    }

    /// Whether this process leads by the Lease of that name.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.leader.with_label_values(&[lease]).set(leads.into());
    }

    /// How many resources of a kind (`instance`, `volume`, `image`, `snapshot`) the sweep found unclaimed.
    pub fn leaked(&self, kind: &'static str, count: usize) {
        self.leaked
            .with_label_values(&[kind])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// All series at `now`, in Prometheus' text format.
    ///
    /// # Errors
    /// When a series cannot be written, which is a defect.
    pub fn text(&self, now: Timestamp) -> prometheus::Result<String> {
        self.recipes.age(now);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassResult {
    /// Carried through; the object is looked at again in its time.
    Success,
    /// Ended early, with nothing wrong: the object has changed meanwhile, or the process is to stop.
    Requeue,
    /// Failed; tried again after the object's backoff.
    Error,
    /// Also counted as an error.
    Panic,
    /// Dropped half-way, as the process ended.
    Abandoned,
}

/// A pass that is running. Dropping it counts it, so that one that is cancelled counts too.
#[must_use]
pub struct Pass<'a> {
    metrics: &'a Metrics,
    controller: &'static str,
    began: tokio::time::Instant,
    result: PassResult,
}

impl Pass<'_> {
    /// It has ended by itself.
    pub fn ended(mut self, result: PassResult) {
        self.result = result;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let Self {
            metrics,
            controller,
            began,
            result,
        } = &*self;
        metrics.active.with_label_values(&[controller]).dec();
        metrics
            .seconds
            .with_label_values(&[controller])
            .observe(began.elapsed().as_secs_f64());
        let label = match result {
            PassResult::Success => "success",
            PassResult::Requeue => "requeue",
            PassResult::Error | PassResult::Panic => "error",
            PassResult::Abandoned => "abandoned",
        };
        metrics.passes.with_label_values(&[*controller, label]).inc();
        if label == "error" {
            metrics.errors.with_label_values(&[controller]).inc();
        }
        if *result == PassResult::Panic {
            metrics.panics.with_label_values(&[controller]).inc();
        }
    }
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

/// Gauges that hold fractions.
pub(super) fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

pub(super) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    bounds: &[f64],
) -> prometheus::Result<HistogramVec> {
    registered(
        registry,
        HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?,
    )
}

fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::super::recipes::tests::{complete, in_phase, recipe};
    use super::*;

    /// Name, type and labels of every metric that the reference promises, but for AWS's, which others register.
    fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
        let table = include_str!("../../docs/reference/metrics.md")
            .lines()
            .filter(|line| line.starts_with("| `"));
        let metrics = table.map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let labels = cells[3]
                .split(", ")
                .map(|label| label.trim_matches('`').to_owned())
                .collect();
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        });
        metrics
            .filter(|(name, _)| !name.starts_with("goldsmith_aws_"))
            .collect()
    }

    #[test]
    fn what_is_scraped_is_what_the_reference_promises() {
        let metrics = Metrics::new().unwrap();
        metrics.pass("imagerecipe").ended(PassResult::Panic);
        metrics.leads("goldsmith", true);
        metrics.leaked("instance", 1);
        let now = Timestamp::UNIX_EPOCH;
        for status in [json!({}), in_phase("Launching"), complete()] {
            metrics.recipes.seen(&recipe("1", status), true, now);
        }
        metrics.text(now).unwrap();
        let scraped = metrics.registry().gather().into_iter().map(|family| {
            let labels = family.get_metric()[0]
                .get_label()
                .iter()
                .map(|label| label.name().to_owned())
                .collect();
            (
                family.name().to_owned(),
                (format!("{:?}", family.get_field_type()).to_lowercase(), labels),
            )
        });
        assert_eq!(scraped.collect::<BTreeMap<_, _>>(), documented());
    }
}
