//! etcd and a kube-apiserver, and the identities to use it with.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::child::Child;
use crate::directory::Directory;
use crate::{Error, Result, tools};

/// Ten times what a start takes on two idle cores.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// A free port can be taken by another process before the child listens on it; that it happens thrice is no accident.
const PORT_TRIES: usize = 3;

/// Dropping it stops the API server first: with etcd gone it would hang in its shutdown.
#[derive(Debug)]
pub struct Cluster {
    api_server: Child,
    etcd: Child,
    server: String,
    certificate: Vec<u8>,
    admin: PathBuf,
}

impl Cluster {
    pub fn start(directory: &Directory) -> Result<Self> {
        let (etcd, etcd_url) = on_free_port(|port| start_etcd(directory, port))?;
        let (signing_key, public_key) = service_account_keys()?;
        let signing_key = directory.write("service-account.key", signing_key)?;
        let public_key = directory.write("service-account.pub", public_key)?;
        let token = random_token()?;
        let tokens = directory.write("tokens.csv", format!("{token},admin,admin,system:masters\n"))?;
        let (api_server, server) = on_free_port(|port| {
            let arguments = [
                format!("--etcd-servers={etcd_url}"),
                format!("--cert-dir={}", directory.path().join("certificates").display()),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".into(),
                // Otherwise it looks for a default route, which a machine without a network does not have.
                "--advertise-address=127.0.0.1".into(),
                "--endpoint-reconciler-type=none".into(),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                format!("--service-account-key-file={}", public_key.display()),
                format!("--service-account-signing-key-file={}", signing_key.display()),
                format!("--token-auth-file={}", tokens.display()),
                "--authorization-mode=RBAC".into(),
                "--service-cluster-ip-range=10.0.0.0/24".into(),
                // No controller manager makes the default service accounts that this plugin wants.
                "--disable-admission-plugins=ServiceAccount".into(),
            ];
            let log = directory.path().join("kube-apiserver.log");
            let mut child = Child::spawn(
                "kube-apiserver",
                &tools::kube_apiserver()?,
                arguments,
                NO_ENVIRONMENT,
                &log,
            )?;
            let url = format!("https://127.0.0.1:{port}");
            child.ready(READY_WITHIN, || listening(port))?;
            Ok((child, url))
        })?;
        let path = directory.path().join("certificates/apiserver.crt");
        let certificate = std::fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
        let admin = directory.write("admin.kubeconfig", kubeconfig(&server, &certificate, "admin", &token))?;
        let mut cluster = Self {
            api_server,
            etcd,
            server,
            certificate,
            admin,
        };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let admin = self.admin.clone();
        self.api_server.ready(READY_WITHIN, || {
            kubectl(&admin, &["get", "--raw=/readyz"])?;
            // Made by a controller of the API server's own, shortly after it calls itself ready.
            kubectl(&admin, &["get", "namespace", "kube-system", "default"]).map(drop)
        })
    }

    /// Path of a kubeconfig that may do everything.
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// Writes a kubeconfig for a service account, with a token from the TokenRequest API that lasts a day.
    pub fn service_account(&self, directory: &Directory, namespace: &str, name: &str) -> Result<PathBuf> {
        let arguments = ["create", "token", name, "--namespace", namespace, "--duration=24h"];
        let token = kubectl(&self.admin, &arguments)?;
        directory.write(
            &format!("{name}.kubeconfig"),
            kubeconfig(&self.server, &self.certificate, name, token.trim()),
        )
    }

    /// The end of the one that has ended, if one has.
    pub fn ended(&mut self) -> Option<Error> {
        self.etcd.ended().or_else(|| self.api_server.ended())
    }

    pub fn stop(&mut self) {
        self.api_server.stop(STOP_WITHIN);
        self.etcd.stop(STOP_WITHIN);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs kubectl and returns what it prints; an error carries what it complained of.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tools::kubectl()?);
    command
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .current_dir(repository());
    output(command, &format!("kubectl {}", arguments.join(" ")))
}

/// Runs a command to its end; `shown` is how an error calls it.
pub fn output(mut command: Command, shown: &str) -> Result<String> {
    let output = command.output().map_err(Error::io(format!("run `{shown}`")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: shown.into(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().into(),
    })
}

/// The clone that this crate was built from: paths in commands are relative to it.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

pub const NO_ENVIRONMENT: [(&str, &str); 0] = [];

/// Starts something on a port that was free a moment ago, on another one if that fails.
pub fn on_free_port<T>(mut start: impl FnMut(u16) -> Result<T>) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        match free_port().and_then(&mut start) {
            Err(Error::Ended { .. }) if tries < PORT_TRIES => {}
            outcome => return outcome,
        }
    }
}

fn free_port() -> Result<u16> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(address.map_err(Error::io("find a free port"))?.port())
}

/// Whether somebody listens there.
pub fn listening(port: u16) -> std::io::Result<()> {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop)
}

fn start_etcd(directory: &Directory, port: u16) -> Result<(Child, String)> {
    let url = format!("http://127.0.0.1:{port}");
    // No other member will ever use it, but etcd insists on one, and its default may be another etcd's.
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let arguments = [
        format!("--data-dir={}", directory.path().join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // What it stores dies with it.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ];
    let log = directory.path().join("etcd.log");
    let mut child = Child::spawn("etcd", &tools::etcd()?, arguments, NO_ENVIRONMENT, &log)?;
    child.ready(READY_WITHIN, || ureq::get(format!("{url}/health")).call().map(drop))?;
    Ok((child, url))
}

/// The private and the public key, as PEM, by which the API server signs and verifies service accounts' tokens.
fn service_account_keys() -> Result<(String, String)> {
    let failed = |_| Error::Unexpected("cannot generate the service account key".into());
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let private = key.to_pkcs8v1().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(failed)?;
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref())))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Unexpected("cannot generate a token".into()))?;
    Ok(hex::encode(bytes))
}

/// JSON, which is YAML. The certificate carries the authority that the API server made for itself.
fn kubeconfig(server: &str, certificate: &[u8], user: &str, token: &str) -> String {
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "lab",
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(certificate)},
        }],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user, "namespace": "platform"}}],
        "current-context": "lab",
    });
    config.to_string()
}
