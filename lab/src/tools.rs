//! Where `tools/install` has put what the lab runs. Versions are read from the very files that it builds from.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::directory::cache;
use crate::{Error, Result};

const KUBERNETES: &str = include_str!("../../tools/kubernetes/go.mod");
const ETCD: &str = include_str!("../../tools/etcd/go.mod");
const REQUIREMENTS: &[u8] = include_bytes!("../../tools/python/requirements.txt");

/// The etcd server.
pub fn etcd() -> Result<PathBuf> {
    asset("etcd", "go.etcd.io/etcd/server/v3", ETCD, "etcd")
}

/// The API server.
pub fn kube_apiserver() -> Result<PathBuf> {
    asset("kube-apiserver", "k8s.io/kubernetes", KUBERNETES, "kubernetes")
}

/// A kubectl of the API server's version; the one on the PATH, if any, may be years older.
pub fn kubectl() -> Result<PathBuf> {
    asset("kubectl", "k8s.io/kubernetes", KUBERNETES, "kubernetes")
}

/// A program of the virtual environment with `tools/python/requirements.txt`: `python`, `aws`.
pub fn python(program: &str) -> Result<PathBuf> {
    let hash = hex::encode(Sha256::digest(REQUIREMENTS));
    let environment = cache()?.join(format!("python-{}", &hash[..12]));
    existing(environment.join("complete"))?;
    existing(environment.join("bin").join(program))
}

/// A binary of this workspace, from the profile that the running executable was built with.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let executable = std::env::current_exe().map_err(Error::io("find the running executable"))?;
    let directory = executable.parent().unwrap_or(Path::new("/"));
    // Tests are built one level down.
    let profile = match directory.file_name() {
        Some(last) if last == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let path = profile.join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::Missing {
            path,
            remedy: "cargo build --workspace --bins",
        })
    }
}

fn asset(binary: &str, module: &str, go_mod: &str, directory: &str) -> Result<PathBuf> {
    if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty()) {
        return existing(Path::new(&assets).join(binary));
    }
    let version = required(go_mod, module)
        .ok_or_else(|| Error::Unexpected(format!("tools/{directory}/go.mod does not require {module}")))?;
    existing(cache()?.join(format!("{directory}-{version}")).join(binary))
}

/// The version that a go.mod requires of a module, without its `v`.
fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split(' ');
        (words.next() == Some(module))
            .then(|| words.next()?.strip_prefix('v'))
            .flatten()
    })
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::Missing {
            path,
            remedy: "make tools",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_files_that_the_tools_are_built_from() {
        for (go_mod, module) in [(KUBERNETES, "k8s.io/kubernetes"), (ETCD, "go.etcd.io/etcd/server/v3")] {
            let version = required(go_mod, module).unwrap_or_default();
            assert_eq!(version.split('.').count(), 3, "{module}: {version:?}");
        }
        assert_eq!(
            required(
                "require (\n\tk8s.io/kubernetes-csi v1.0.0 // indirect\n)",
                "k8s.io/kubernetes"
            ),
            None
        );
    }
}
