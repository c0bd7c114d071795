//! The process: what is started, in which order, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connect::{self, Clients};
use super::leader::{Candidate, LeaseLost, Terms};
use super::pass::Passes;
use super::{Clock, Config, Failure, Recorder, Stop, recipes, stop};
use crate::aws::Ec2;
use crate::recipe::Context;
use crate::telemetry::{Health, Metrics, health};
use crate::world::{Installation, Owner};

/// How often a precondition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long passes have to come to their end once the process is to stop.
const PASS_GRACE: Duration = Duration::from_secs(6);
/// How long giving the Lease back may take then: together less than ten seconds.
const LEASE_GRACE: Duration = Duration::from_secs(3);

/// What readiness and the log call the preconditions, after "waiting for".
const CLUSTER: &str = "the uid of namespace kube-system";
const KINDS: &str = "the kinds of goldsmith.dev at the API server";

/// How the controller was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file, read and checked.
    pub config: Config,
    /// Where health and metrics are answered.
    pub listen: SocketAddr,
    /// Namespace of the Lease by which one of several controllers leads.
    pub lease_namespace: String,
    /// Name of that Lease.
    pub lease_name: String,
    /// Who holds the Lease; also who reports Events.
    pub lease_identity: String,
}

/// Runs the controller until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, when the Lease is lost, or when a part of it ends that should not: the process is to end and be
/// started again.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let stop = on_signal()?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address by --listen",
            settings.listen
        )
    })?;
    let clients = Clients::infer()
        .await
        .map_err(|error| format!("cannot reach Kubernetes: {error}"))?;
    let metrics = Arc::new(Metrics::new()?);
    let regions = connect::regions(&settings.config, &metrics).await?;
    let process = Process {
        settings,
        clients,
        regions,
        metrics,
        clock: Clock::system(),
        health: Health::default(),
        stop,
    };
    let server = process.serve(listener);
    let unanswered = async {
        Failure::from(format!(
            "health and metrics are not answered any more: {:?}",
            server.await
        ))
    };
    process.run(unanswered).await
}

/// Why this process leads no more, and never will again.
async fn lost(leader: &mut JoinHandle<Result<(), LeaseLost>>) -> Failure {
    match leader.await {
        Ok(Ok(())) => "the Lease was given back while passes were running".into(),
        Ok(Err(lost)) => lost.into(),
        Err(panic) => panic.into(),
    }
}

/// What everything in the process shares: all that it knows of the world outside, so that a harness can put another in its place.
pub struct Process {
    /// What it was started with.
    pub settings: Settings,
    /// The API server, for watches and for calls.
    pub clients: Clients,
    /// A client for each region of each account of the configuration.
    pub regions: Vec<Ec2>,
    /// What `/metrics` answers.
    pub metrics: Arc<Metrics>,
    /// Wall time; a harness sets its own.
    pub clock: Clock,
    /// What `/healthz` and `/readyz` answer.
    pub health: Health,
    /// Asked for by SIGTERM and SIGINT, or by a harness.
    pub stop: Stop,
}

impl Process {
    /// Works until it is to stop, or until `broken` says that it cannot go on.
    ///
    /// # Errors
    /// What `broken` says, when the Lease is lost, or when a part ends that should not.
    pub async fn run(&self, broken: impl Future<Output = Failure>) -> Result<(), Failure> {
        let Some(cluster) = self.wait_for_kubernetes().await else {
            return Ok(());
        };
        let (finisher, finished) = stop::channel();
        let (leads, leading) = watch::channel(false);
        let mut leader = tokio::spawn(self.candidate().run(leads, finished));
        let ended = tokio::select! {
            ended = self.work(cluster, leading) => ended,
            lost = lost(&mut leader) => Err(lost),
            failure = broken => Err(failure),
            () = self.grace() => {
                tracing::warn!("some passes have not ended in time and are abandoned");
                Ok(())
            }
        };
        // Nobody acts any more: another may lead.
        finisher.stop();
        if !leader.is_finished() && timeout(LEASE_GRACE, leader).await.is_err() {
            tracing::warn!("the Lease could not be given back in time; it runs out by itself");
        }
        ended
    }

    /// Before anything is answered, so that readiness cannot come too early.
    fn expect_everything(&self) {
        [CLUSTER, KINDS, recipes::WATCH]
            .into_iter()
            .for_each(|what| self.health.wait_for(what));
        self.regions
            .iter()
            .for_each(|ec2| self.health.wait_for(credentials(ec2)));
    }

    /// Answers health and metrics to the very end, whatever else has stopped.
    fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        self.expect_everything();
        tokio::spawn(health::serve(
            listener,
            self.health.clone(),
            Arc::clone(&self.metrics),
            self.clock.clone(),
        ))
    }

    /// The cluster's uid, once the API server knows our kinds; none when the process is to stop before.
    async fn wait_for_kubernetes(&self) -> Option<String> {
        let cluster = self
            .until(CLUSTER, async || connect::cluster_uid(&self.clients.calls).await)
            .await?;
        self.until(KINDS, async || connect::kinds_are_served(&self.clients.calls).await)
            .await?;
        Some(cluster)
    }

    fn candidate(&self) -> Candidate {
        let Settings {
            lease_namespace,
            lease_name,
            lease_identity,
            ..
        } = &self.settings;
        let leases = Api::namespaced(self.clients.calls.clone(), lease_namespace);
        Candidate::new(
            leases,
            lease_name,
            lease_identity,
            self.clock.clone(),
            Arc::clone(&self.metrics),
            Terms::default(),
        )
    }

    /// Everything that acts, until the process is to stop and the last pass has ended.
    async fn work(&self, cluster: String, leads: watch::Receiver<bool>) -> Result<(), Failure> {
        let installation = Installation {
            name: self.settings.config.installation.clone(),
            cluster,
        };
        let (poke, poked) = mpsc::unbounded_channel();
        let inventories = connect::inventories(&self.regions, &self.settings.config, &installation, &self.clock, &poke);
        let mut pollers = JoinSet::new();
        for inventory in inventories.values() {
            let inventory = inventory.clone();
            pollers.spawn(async move { inventory.run().await });
        }
        let recorder = Recorder::new(
            self.clients.calls.clone(),
            self.clock.clone(),
            &self.settings.lease_identity,
        );
        let context = Arc::new(Context::new(
            self.clients.calls.clone(),
            self.clock.clone(),
            self.settings.config.clone(),
            installation.cluster,
            recorder,
            inventories,
            self.stop.clone(),
        )?);
        let passes = Arc::new(Passes {
            controller: recipes::CONTROLLER,
            metrics: Arc::clone(&self.metrics),
            backoff: Backoff::default(),
            leads,
        });
        let reconciling = recipes::run(
            self.clients.watches.clone(),
            Arc::clone(&context),
            Arc::clone(&passes),
            recipes_of(poked),
            self.health.clone(),
            self.clock.clone(),
            self.stop.clone(),
        );
        let sweeping = recipes::sweep(context, passes, self.settings.config.sweep_after, self.stop.clone());
        tokio::select! {
            ended = async { tokio::try_join!(self.lasts("reconciling", reconciling), self.lasts("sweeping", sweeping), self.ask_aws()) } => ended.map(drop),
            ended = pollers.join_next() => Err(format!("looking at AWS has ended: {ended:?}").into()),
        }
    }

    /// Asks AWS in every region who we are, until it answers.
    async fn ask_aws(&self) -> Result<(), Failure> {
        join_all(self.regions.iter().map(async |ec2| {
            let asked = async || ec2.caller_account().await.map_err(|error| error.to_string());
            if let Some(number) = self.until(&credentials(ec2), asked).await {
                tracing::info!(account = ec2.account(), region = ec2.region(), number, "AWS answers");
            }
        }))
        .await;
        Ok(())
    }

    /// Asks `attempt` until it answers; none once the process is to stop. What it waits for shows in the log and in readiness.
    async fn until<T>(&self, what: &str, attempt: impl AsyncFn() -> Result<T, String>) -> Option<T> {
        let mut told = String::new();
        loop {
            let answer = tokio::select! {
                answer = attempt() => answer,
                () = self.stop.clone().wait() => return None,
            };
            match answer {
                Ok(answer) => {
                    self.health.arrived(what);
                    return Some(answer);
                }
                Err(problem) if problem != told => {
                    tracing::warn!(problem, "waiting for {what}");
                    told = problem;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(LOOK_AGAIN) => {}
                () = self.stop.clone().wait() => return None,
            }
        }
    }

    /// An end of `work` is an error unless the process is to stop.
    async fn lasts(&self, what: &str, work: impl Future<Output = ()>) -> Result<(), Failure> {
        work.await;
        if self.stop.requested() {
            Ok(())
        } else {
            Err(format!("{what} has ended by itself").into())
        }
    }

    /// Ends when passes have had all the time that they get.
    async fn grace(&self) {
        self.stop.clone().wait().await;
        sleep(PASS_GRACE).await;
    }
}

/// What readiness calls the answer of a region.
fn credentials(ec2: &Ec2) -> String {
    format!(
        "AWS to accept the credentials of account {} in {}",
        ec2.account(),
        ec2.region()
    )
}

fn recipes_of(mut poked: mpsc::UnboundedReceiver<Owner>) -> impl stream::Stream<Item = ObjectRef<recipes::Kept>> {
    stream::poll_fn(move |context| poked.poll_recv(context))
        .map(|owner| ObjectRef::new(&owner.name).within(&owner.namespace))
}

/// Stops on SIGTERM and SIGINT.
fn on_signal() -> io::Result<Stop> {
    let (stopper, stop) = stop::channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: passes come to their end, then the Lease is given back");
        stopper.stop();
    });
    Ok(stop)
}
