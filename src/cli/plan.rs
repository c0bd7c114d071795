//! `goldsmith plan`

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jiff::SignedDuration;
use kube::Api;
use tokio::sync::mpsc;

use crate::api::{ImageRecipe, Readiness, Reason};
use crate::controller::connect::{self, Clients};
use crate::controller::{Clock, Config, Recorder, stop};
use crate::recipe::{self, Context, plan::Plan};
use crate::telemetry::Metrics;
use crate::world::Installation;

/// Which recipe, and by which configuration.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The recipe
    #[arg(value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    recipe: (String, String),
    /// The controller's configuration file
    #[arg(long, env = "GOLDSMITH_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

/// Prints what a pass over the recipe would do now. Kubernetes and AWS are only read.
pub async fn run(arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (namespace, name) = arguments.recipe;
    let config = Config::load(&arguments.config)?;
    let clients = Clients::infer().await?;
    let recipes: Api<ImageRecipe> = Api::namespaced(clients.calls.clone(), &namespace);
    let recipe = recipes
        .get_opt(&name)
        .await
        .map_err(|error| format!("cannot read imagerecipe {namespace}/{name}: {error}"))?
        .ok_or_else(|| format!("there is no imagerecipe {namespace}/{name}"))?;

    let cluster = connect::cluster_uid(&clients.calls).await?;
    let installation = Installation {
        name: config.installation.clone(),
        cluster,
    };
    let regions = connect::regions(&config, &Metrics::new()?).await?;
    let clock = Clock::system();
    // Nobody listens: this looks once.
    let (poke, _) = mpsc::unbounded_channel();
    let inventories = connect::inventories(&regions, &config, &installation, &clock, &poke);
    let recorder = Recorder::new(clients.calls.clone(), clock.clone(), "goldsmith-plan");
    // Nothing is carried out, so there is nothing to stop.
    let (_stopper, stop) = stop::channel();
    let context = Context::new(
        clients.calls,
        clock,
        config,
        installation.cluster,
        recorder,
        inventories,
        stop,
    )?;
    let plan = recipe::plan(recipe, &context).await?;
    Ok(super::print(described(&plan).as_bytes())?)
}

fn described(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String never fails.
    for (number, effect) in plan.effects.iter().enumerate() {
        let _ = writeln!(text, "{:>3}. {effect}", number + 1);
    }
    let nothing = match &plan.draft.readiness {
        _ if !plan.effects.is_empty() => "",
        Readiness::Progressing { .. }
        | Readiness::Ready {
            reason: Reason::Rebuilding,
            ..
        } => "Nothing is to be done now: something in AWS has to happen first.\n",
        Readiness::Ready { .. } => "Nothing is to be done: what is there is what the spec asks for.\n",
        Readiness::Stalled { .. } => "Nothing can be done until what is said below has changed.\n",
        Readiness::Suspended => "Nothing is begun while spec.suspend is true.\n",
    };
    text.push_str(nothing);
    let _ = match &plan.draft.readiness {
        Readiness::Ready { reason, message } => writeln!(text, "Ready, {reason}: {message}"),
        Readiness::Progressing { reason, message } => writeln!(text, "Reconciling, {reason}: {message}"),
        Readiness::Stalled { reason, message } => writeln!(text, "Stalled, {reason}: {message}"),
        Readiness::Suspended => Ok(()),
    };
    let seconds = SignedDuration::from_secs(i64::try_from(plan.look_again.as_secs()).unwrap_or(i64::MAX));
    let _ = match seconds.is_zero() {
        true => writeln!(text, "The next look follows at once."),
        false => writeln!(text, "The next look is in {seconds:#}, or when something changes."),
    };
    text
}

fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write namespace and name, for example platform/web".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::recipe::plan::{Draft, Effect};
    use crate::recipe::record::Failure;

    fn plan(effects: Vec<Effect>, readiness: Readiness, seconds: u64) -> Plan {
        Plan {
            effects,
            draft: Draft {
                readiness,
                source: Err(Failure::new(Reason::SourceNotFound, "none".to_owned())),
                content_hash: None,
                build: None,
                latest: None,
                image_missing_since: None,
            },
            notes: Vec::new(),
            look_again: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_plan_says_what_would_be_done_and_why_nothing_would() {
        let (reason, message) = (Reason::CreatingImage, "half of it".to_owned());
        let progressing = Readiness::Progressing { reason, message };
        let effects = vec![Effect::RequireImdsV2 {
            image: "ami-0a".parse().expect("an id"),
        }];
        let told = described(&plan(effects, progressing.clone(), 0));
        assert!(told.starts_with("  1. "), "{told}");
        assert!(told.contains("ami-0a"), "{told}");
        assert!(told.ends_with("Reconciling, CreatingImage: half of it\nThe next look follows at once.\n"));
        assert_eq!(
            described(&plan(Vec::new(), progressing, 90)),
            "Nothing is to be done now: something in AWS has to happen first.\nReconciling, CreatingImage: half of it\n\
             The next look is in 1m 30s, or when something changes.\n"
        );
        let (reason, message) = (Reason::Rebuilding, "Launching: the builder".to_owned());
        let rebuilding = described(&plan(Vec::new(), Readiness::Ready { reason, message }, 2));
        assert!(rebuilding.starts_with("Nothing is to be done now"), "{rebuilding}");
        assert_eq!(
            described(&plan(Vec::new(), Readiness::Suspended, 600)),
            "Nothing is begun while spec.suspend is true.\nThe next look is in 10m, or when something changes.\n"
        );
    }
}
