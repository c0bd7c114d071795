//! The lab's own directory, and the cache that all labs of a user share.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, Result};

/// `${XDG_CACHE_HOME:-~/.cache}/goldsmith`, where `tools/install` puts its binaries too.
pub fn cache() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(base), _) if !base.is_empty() => PathBuf::from(base),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => {
            return Err(Error::Unexpected(
                "neither XDG_CACHE_HOME nor HOME is set, so there is no place for a cache; set one of them".into(),
            ));
        }
    };
    Ok(base.join("goldsmith"))
}

/// Opens `path` for locking, made if absent.
pub fn lock_file(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(format!("open the lock {}", path.display())))
}

/// A directory that is removed with the value. What a lab that was killed has left behind is removed by the next one: its
/// lock is free then, because the kernel drops a dead process's locks.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes one in the cache.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let labs = cache()?.join("labs");
        // For the owner alone: the kubeconfigs in it are an administrator's.
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private
            .create(&labs)
            .map_err(Error::io(format!("create {}", labs.display())))?;
        // Held while directories come and go, so that none is taken for left behind before its own lock is held.
        let turn = lock_file(&labs.join("lock"))?;
        turn.lock().map_err(Error::io(format!("lock {}", labs.display())))?;
        sweep(&labs)?;
        let path = labs.join(format!("{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        private
            .create(&path)
            .map_err(Error::io(format!("create {}", path.display())))?;
        let lock = lock_file(&path.join("lock"))?;
        lock.lock().map_err(Error::io(format!("lock {}", path.display())))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if it is still there.
    pub fn remove(&self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                eprintln!("cannot remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }

    /// Writes a file of the lab's own and returns its path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}

fn sweep(labs: &Path) -> Result<()> {
    let entries = fs::read_dir(labs).map_err(Error::io(format!("list {}", labs.display())))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if lock_file(&path.join("lock"))?.try_lock().is_ok() {
            fs::remove_dir_all(&path).map_err(Error::io(format!("remove {}", path.display())))?;
        }
    }
    Ok(())
}
