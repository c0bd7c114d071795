//! The whole of it: started in order, stopped in the reverse one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{self, Cluster, repository};
use crate::controller::{self, Controller, ControllerOptions};
use crate::directory::Directory;
use crate::simulator::{self, DEBIAN, Guests, Simulator};
use crate::{Error, Result, tools};

/// The region that the simulator's account is seeded in, and the only one that the controller is configured for.
pub const REGION: &str = "eu-central-1";
/// The simulator takes any credentials; AWS's clients insist on having some.
pub const ACCESS_KEY_ID: &str = "AKIDLAB";
pub const SECRET_ACCESS_KEY: &str = "lab";
/// The namespace that the examples live in.
pub const NAMESPACE: &str = "platform";
/// The ClusterRoleBinding that the lab adds to the RBAC of `deploy/`; without it the controller keeps records where that binds
/// its role, in [`NAMESPACE`].
pub const RECORDS_EVERYWHERE: &str = "goldsmith-lab-records";

/// The controller promises to be gone 10 s after SIGTERM; one that is not gets SIGKILL.
const CONTROLLER_STOPS_WITHIN: Duration = Duration::from_secs(12);
const SIMULATOR_STOPS_WITHIN: Duration = Duration::from_secs(5);

/// How a lab differs from the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Durations of AWS's processes are multiplied by it; at 0.02 a boot of 30 s takes 0.6 s.
    pub latency_scale: f64,
    pub guests: Guests,
    pub controller: ControllerOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latency_scale: 0.02,
            guests: Guests::default(),
            controller: ControllerOptions::default(),
        }
    }
}

impl Options {
    /// The usual lab, or one whose machines are all of Debian 12, the inspectors included.
    #[must_use]
    pub fn with(guests: Guests) -> Self {
        let mut options = Self {
            guests,
            ..Self::default()
        };
        if guests == Guests::Real {
            let (owner, name) = DEBIAN;
            options.controller.inspector = Some((owner.into(), name.into()));
        }
        options
    }
}

/// etcd, an API server with Goldsmith's CRDs and RBAC, the simulator and, once started, the controller.
///
/// Dropping it stops all of them and removes what they wrote.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they are to be dropped.
    controller: Mutex<Option<Controller>>,
    simulator: Mutex<Simulator>,
    cluster: Mutex<Cluster>,
    endpoint: String,
    admin: PathBuf,
    controller_kubeconfig: PathBuf,
    config: PathBuf,
    directory: Directory,
}

impl Lab {
    /// Starts everything but the controller, applies `crds/` and the RBAC of `deploy/`, [`NAMESPACE`] included, and lets the
    /// controller keep records in every namespace.
    ///
    /// # Errors
    /// A missing tool or binary, with the command that makes it; a child that ends or does not get ready, with the end of
    /// its log; a manifest that the API server refuses.
    pub fn start(options: &Options) -> Result<Self> {
        let directory = Directory::create()?;
        let simulator = Simulator::start(&directory, options.latency_scale, options.guests)?;
        let cluster = Cluster::start(&directory)?;
        let kubectl = |arguments: &[&str]| cluster::kubectl(cluster.admin(), arguments);
        kubectl(&["apply", "--filename=deploy/namespace.yaml"])?;
        kubectl(&["apply", "--kustomize=crds"])?;
        kubectl(&["apply", "--filename=deploy/rbac.yaml"])?;
        kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        kubectl(&["apply", "--filename=deploy/platform.yaml"])?;
        // Recipes are granted something in every namespace here, those included that people make in `make up`.
        kubectl(&[
            "create",
            "clusterrolebinding",
            RECORDS_EVERYWHERE,
            "--clusterrole=goldsmith-records",
            "--serviceaccount=goldsmith-system:goldsmith",
        ])?;
        Ok(Self {
            controller: Mutex::new(None),
            endpoint: simulator.url.clone(),
            admin: cluster.admin().to_owned(),
            controller_kubeconfig: cluster.service_account(&directory, "goldsmith-system", "goldsmith")?,
            config: controller::configure(&directory, &options.controller)?,
            simulator: Mutex::new(simulator),
            cluster: Mutex::new(cluster),
            directory,
        })
    }

    /// Starts the controller, as its own service account, and waits until it is ready. One that runs already is left alone.
    pub fn start_controller(&self) -> Result<()> {
        let mut controller = lock(&self.controller);
        if controller.as_mut().is_none_or(|controller| !controller.child.running()) {
            // None first: the old one's end is waited for.
            *controller = None;
            let started = Controller::start(
                &self.directory,
                &self.config,
                &self.controller_kubeconfig,
                &self.endpoint,
            )?;
            *controller = Some(started);
        }
        Ok(())
    }

    /// SIGKILL, as a node that fails would do it. Nothing happens if it does not run.
    pub fn kill_controller(&self) {
        if let Some(mut controller) = lock(&self.controller).take() {
            controller.child.kill();
        }
    }

    /// SIGTERM, as a kubelet does it. Returns whether it ended by itself within its 10 s and a margin.
    pub fn stop_controller(&self) -> bool {
        lock(&self.controller)
            .take()
            .is_none_or(|mut controller| controller.child.stop(CONTROLLER_STOPS_WITHIN))
    }

    /// Base URL of `/healthz`, `/readyz` and `/metrics` of the running controller.
    pub fn controller_url(&self) -> Option<String> {
        lock(&self.controller).as_ref().map(|controller| controller.url.clone())
    }

    /// The command that started the running controller, for a shell: the environment that is its own, program, arguments.
    pub fn controller_command(&self) -> Option<String> {
        let controller = lock(&self.controller);
        let arguments = shlex::try_join(controller.as_ref()?.arguments.iter().map(String::as_str)).ok()?;
        let kubeconfig = self.controller_kubeconfig.to_string_lossy();
        let kubeconfig = shlex::try_quote(&kubeconfig).ok()?;
        Some(format!("KUBECONFIG={kubeconfig} goldsmith {arguments}"))
    }

    /// Process id of the running controller.
    pub fn controller_id(&self) -> Option<u32> {
        lock(&self.controller).as_ref().map(|controller| controller.child.id())
    }

    /// Whether the controller was started and has not ended, been killed or been stopped since.
    pub fn controller_runs(&self) -> bool {
        lock(&self.controller)
            .as_mut()
            .is_some_and(|controller| controller.child.running())
    }

    /// The end of what the controller and everyone else stand on, simulator, API server or etcd, if one has ended.
    pub fn ended(&self) -> Option<Error> {
        let simulator = lock(&self.simulator).child.ended();
        simulator.or_else(|| lock(&self.cluster).ended())
    }

    /// Id and name of the image of Debian 12 that recipes are built of where guests are real.
    ///
    /// # Errors
    /// Its disk is not there.
    pub fn debian(&self) -> Result<String> {
        let (owner, name) = DEBIAN;
        let filter = format!("Name=name,Values={name}");
        let ask = ["ec2", "describe-images", "--owners", owner, "--filters", &filter];
        let answer = ["--query", "Images[].[ImageId,Name]", "--output", "text"];
        let found = self.aws(&[&ask[..], &answer].concat())?;
        match found.trim() {
            "" => Err(Error::Unexpected(
                "the disk of Debian 12 is not there: make tools GUESTS=real".into(),
            )),
            image => Ok(image.replace('\t', " ")),
        }
    }

    /// The log of all the controller's runs in this lab.
    pub fn controller_log(&self) -> PathBuf {
        controller::log(&self.directory)
    }

    /// Runs kubectl as an administrator in the clone's root and returns what it prints on standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        cluster::kubectl(&self.admin, arguments)
    }

    /// Applies manifests given as text, as an administrator.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        let path = self.directory.write("manifests.yaml", manifests)?;
        self.kubectl(&["apply", "--filename", &path.to_string_lossy()])
    }

    /// An object as JSON, for example `("imagerecipe/web", "platform")`.
    pub fn object(&self, object: &str, namespace: &str) -> Result<Value> {
        let text = self.kubectl(&["get", object, "--namespace", namespace, "--output=json"])?;
        serde_json::from_str(&text).map_err(|error| Error::Unexpected(format!("kubectl get {object}: {error}")))
    }

    /// Runs the aws CLI of the tools against the simulator and returns what it prints on standard output.
    pub fn aws(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::python("aws")?);
        command
            .args(arguments)
            .envs(self.environment())
            .env_remove("AWS_PROFILE")
            .current_dir(repository());
        cluster::output(command, &format!("aws {}", arguments.join(" ")))
    }

    /// Base URL of the simulator, for `AWS_ENDPOINT_URL` and `/_simulator/`.
    pub fn simulator_url(&self) -> &str {
        &self.endpoint
    }

    /// JSON from the simulator's own interface, for example `state`, `journal`.
    pub fn simulator_get(&self, what: &str) -> Result<Value> {
        lock(&self.simulator).get(what)
    }

    /// Text from the simulator's own interface, for example `inventory?format=text`.
    pub fn simulator_text(&self, what: &str) -> Result<String> {
        simulator::text(&format!("{}/_simulator/{what}", self.endpoint))
    }

    /// Posts to the simulator's own interface, for example to `faults`.
    pub fn simulator_post(&self, what: &str, body: &Value) -> Result<String> {
        simulator::post(&format!("{}/_simulator/{what}", self.endpoint), body)
    }

    /// Deletes from the simulator's own interface: ends all `faults` or `guests`.
    pub fn simulator_delete(&self, what: &str) -> Result<()> {
        simulator::delete(&format!("{}/_simulator/{what}", self.endpoint))
    }

    /// Path of a kubeconfig that may do everything.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// Path of the kubeconfig that the controller has: what it may not do, this one may not do.
    pub fn controller_kubeconfig(&self) -> &Path {
        &self.controller_kubeconfig
    }

    /// Where the lab keeps its files and its children's logs; gone with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What kubectl, the aws CLI and boto3 need to work with this lab.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let kubeconfig = ("KUBECONFIG", self.admin.to_string_lossy().into_owned());
        let aws = lock(&self.simulator).environment();
        std::iter::once(kubeconfig).chain(aws).collect()
    }

    /// Stops the controller, the simulator, the API server and etcd, in this order, waits for each, and removes what they
    /// wrote.
    pub fn stop(&self) {
        self.stop_controller();
        lock(&self.simulator).child.stop(SIMULATOR_STOPS_WITHIN);
        lock(&self.cluster).stop();
        self.directory.remove();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a panicking thread leaves here is whole: every change is a single assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
