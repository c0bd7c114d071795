//! Where the machines of this process keep their disks and sockets.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The cache that everything of Goldsmith on this computer shares.
pub fn cache() -> Result<PathBuf, String> {
    let named = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let base =
        base.ok_or("neither XDG_CACHE_HOME nor HOME is set, so there is no place for a cache; set one of them")?;
    Ok(base.join("goldsmith"))
}

/// A directory that is removed with the value, and by the next one that is made if this process has been killed: the kernel
/// drops a dead process's locks.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    pub fn create() -> Result<Self, String> {
        let all = cache()?.join("machines");
        let wrong = |what: &Path, error: std::io::Error| format!("can't use {}: {error}", what.display());
        let lock_file = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|error| wrong(path, error))
        };
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&all).map_err(|error| wrong(&all, error))?;
        // Held while directories come and go, so that none is taken for left behind before its own lock is held.
        let turn = lock_file(&all.join("lock"))?;
        turn.lock().map_err(|error| wrong(&all, error))?;
        let others = fs::read_dir(&all).map_err(|error| wrong(&all, error))?;
        for other in others.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            if lock_file(&other.join("lock"))?.try_lock().is_ok() {
                fs::remove_dir_all(&other).map_err(|error| wrong(&other, error))?;
            }
        }
        let mut path = all.join(std::process::id().to_string());
        let mut number = 0;
        // Who is alive and has the same number is in another container that shares the cache.
        while path.exists() {
            number += 1;
            path = all.join(format!("{}-{number}", std::process::id()));
        }
        private.create(&path).map_err(|error| wrong(&path, error))?;
        let lock = lock_file(&path.join("lock"))?;
        lock.lock().map_err(|error| wrong(&path, error))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        let _ = fs::remove_dir_all(&self.path);
    }
}
