//! One pass over one object: whether it may run, how it is counted, and when the next one is.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;
use tracing::Instrument;

use super::backoff::Backoff;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::PassResult;

/// What the passes over one kind share.
pub struct Passes {
    /// The kind's name in metrics, for example `imagerecipe`.
    pub controller: &'static str,
    pub metrics: Arc<Metrics>,
    pub backoff: Backoff,
    pub leads: watch::Receiver<bool>,
}

impl Passes {
    /// Runs `pass` over `object`, if this process leads. A pass says when to look again; for one that ended early,
    /// without anything being wrong, `retry_after` does. The others have failed: the object's own backoff decides.
    pub async fn run<K, E>(
        &self,
        object: &K,
        pass: impl Future<Output = Result<Duration, E>>,
        retry_after: impl Fn(&E) -> Option<Duration>,
    ) -> Action
    where
        K: Resource<DynamicType = ()>,
        E: std::error::Error,
    {
        if !*self.leads.borrow() {
            // All objects are looked at when this process begins to lead.
            return Action::await_change();
        }
        let uid = object.uid().unwrap_or_default();
        let counted = self.metrics.pass(self.controller);
        let namespace = object.namespace().unwrap_or_default();
        let span = tracing::info_span!("pass", kind = %K::kind(&()), namespace, object = object.name_any());
        // A panic would end the stream of all objects. What it left half-done, the next pass sees.
        let outcome = AssertUnwindSafe(pass).catch_unwind().instrument(span.clone()).await;
        let _entered = span.enter();
        match outcome {
            Ok(Ok(again)) => {
                counted.ended(PassResult::Success);
                self.backoff.reset(&uid);
                Action::requeue(again)
            }
            Ok(Err(error)) => {
                if let Some(delay) = retry_after(&error) {
                    counted.ended(PassResult::Requeue);
                    tracing::debug!(reason = %error, again_in = ?delay, "pass ended early");
                    return Action::requeue(delay);
                }
                counted.ended(PassResult::Error);
                let delay = self.backoff.failed(&uid);
                tracing::warn!(error = chain(&error), again_in = ?delay, "pass failed");
                Action::requeue(delay)
            }
            Err(panic) => {
                counted.ended(PassResult::Panic);
                let delay = self.backoff.failed(&uid);
                tracing::error!(panic = message(&*panic), again_in = ?delay, "pass panicked; this is a defect");
                Action::requeue(delay)
            }
        }
    }
}

/// `error` and what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Many errors repeat their source's words.
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use futures::future::{pending, ready};
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("AWS refuses")]
    struct Refused(Option<Duration>);

    fn passes(leads: bool) -> Passes {
        // The receiver keeps the last value when nobody is left to change it.
        let (_, leads) = watch::channel(leads);
        Passes {
            controller: "imagerecipe",
            metrics: Arc::new(Metrics::new().unwrap()),
            backoff: Backoff::default(),
            leads,
        }
    }

    fn object() -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some("web".into()),
                uid: Some("uid".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    async fn run(passes: &Passes, pass: impl Future<Output = Result<Duration, Refused>>) -> Action {
        passes.run(&object(), pass, |error: &Refused| error.0).await
    }

    fn counted(passes: &Passes, line: &str) -> bool {
        passes
            .metrics
            .text(Timestamp::UNIX_EPOCH)
            .unwrap()
            .lines()
            .any(|found| found == line)
    }

    #[tokio::test]
    async fn a_pass_says_when_the_next_one_is() {
        let passes = passes(true);
        let hour = Duration::from_secs(3600);
        assert_eq!(run(&passes, ready(Ok(hour))).await, Action::requeue(hour));
        assert_eq!(
            run(&passes, ready(Err(Refused(Some(hour))))).await,
            Action::requeue(hour)
        );
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_total{controller="imagerecipe",result="success"} 1"#
        ));
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_total{controller="imagerecipe",result="requeue"} 1"#
        ));
        assert_ne!(run(&passes, ready(Err(Refused(None)))).await, Action::await_change());
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_total{controller="imagerecipe",result="error"} 1"#
        ));
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_errors_total{controller="imagerecipe"} 1"#
        ));
    }

    #[tokio::test]
    async fn a_panic_harms_no_other_object_and_is_tried_again_later() {
        let passes = passes(true);
        assert_ne!(
            run(&passes, async { panic!("not in the table") }).await,
            Action::await_change()
        );
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_panics_total{controller="imagerecipe"} 1"#
        ));
        assert!(counted(
            &passes,
            r#"controller_runtime_active_workers{controller="imagerecipe"} 0"#
        ));
    }

    #[tokio::test]
    async fn a_pass_that_is_cut_off_is_counted_too() {
        let passes = passes(true);
        assert!(run(&passes, pending()).now_or_never().is_none());
        assert!(counted(
            &passes,
            r#"controller_runtime_reconcile_total{controller="imagerecipe",result="abandoned"} 1"#
        ));
    }

    #[tokio::test]
    async fn a_standby_does_nothing() {
        let passes = passes(false);
        assert_eq!(
            run(&passes, async { panic!("a standby must not act") }).await,
            Action::await_change()
        );
    }
}
