//! The work folder of one attempt, `<data>/work/<worker>/<job>.<attempt>/`: removed always, and swept after a crash.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use proofhouse_core::{names::WorkerName, protocol::AttemptId};
use tracing::{info, warn};

use crate::processes;

/// A work folder; dropping it removes it.
#[derive(Debug)]
pub(crate) struct WorkDir(PathBuf);

impl WorkDir {
    /// Makes an empty folder that nobody else may look into.
    pub(crate) fn new(data: &Path, worker: &WorkerName, id: AttemptId) -> io::Result<Self> {
        let path = folder_of(data, worker).join(id.to_string());
        if path.exists() {
            remove(&path)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let dir = Self(path);
        fs::create_dir(dir.temp())?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// autopkgtest's output folder.
    pub(crate) fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// Temporary files of the runner and of testbeds that live on this machine.
    pub(crate) fn temp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// What the runner wrote to its standard error.
    pub(crate) fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    /// The log as it is stored.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log.gz")
    }

    /// The artifacts as they are stored.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts.tar.gz")
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            warn!(%error, "the work folder {} cannot be removed", self.0.display());
        }
    }
}

fn folder_of(data: &Path, worker: &WorkerName) -> PathBuf {
    data.join("work").join(worker.as_str())
}

/// Ends and removes what an earlier life of this worker left behind. The worker's name must be locked.
pub(crate) fn sweep(data: &Path, worker: &WorkerName) -> io::Result<()> {
    let folder = folder_of(data, worker);
    processes::kill_marked(&folder);
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        info!("removing {}, left by an earlier life of this worker", entry.path().display());
        if let Err(error) = remove(&entry.path()) {
            warn!(%error, "{} cannot be removed", entry.path().display());
        }
    }
    Ok(())
}

/// Removes a folder; what belongs to users of a namespace is removed from within such a namespace. `rm` does it, for a test
/// can leave folders many thousands deep: std goes down on a stack, with an open file for each.
fn remove(path: &Path) -> io::Result<()> {
    let done = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).arg(path).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if done("rm", &["-rf", "--"])
        || done("unshare", &["--map-auto", "--map-root-user", "--", "rm", "-rf", "--"])
    {
        return Ok(());
    }
    Err(io::Error::other("rm fails"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: AttemptId = AttemptId { job: 7, attempt: 2 };

    #[test]
    fn a_folder_lives_as_long_as_its_attempt() {
        let data = tempfile::tempdir().unwrap();
        let worker = "w".parse().unwrap();
        let dir = WorkDir::new(data.path(), &worker, ID).unwrap();
        assert_eq!(dir.path(), data.path().join("work/w/7.2"));
        fs::write(dir.stderr(), "x").unwrap();
        drop(dir);
        assert!(!data.path().join("work/w/7.2").exists());
    }

    #[test]
    fn a_folder_that_is_deeper_than_files_can_be_open_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let dir = WorkDir::new(data.path(), &"w".parse().unwrap(), ID).unwrap();
        let deep = "for (1 .. 3000) { mkdir 'd' and chdir 'd' or die $! }";
        assert!(Command::new("perl").args(["-e", deep]).current_dir(dir.path()).status().unwrap().success());
        drop(dir);
        assert!(!data.path().join("work/w/7.2").exists());
    }

    #[test]
    fn what_a_crash_left_is_swept_for_this_worker_alone() {
        let data = tempfile::tempdir().unwrap();
        let (one, two) = ("w".parse().unwrap(), "w-2".parse().unwrap());
        for worker in [&one, &two] {
            std::mem::forget(WorkDir::new(data.path(), worker, ID).unwrap());
        }
        sweep(data.path(), &one).unwrap();
        assert!(!data.path().join("work/w/7.2").exists());
        assert!(data.path().join("work/w-2/7.2").exists());
        sweep(data.path(), &"never-seen".parse().unwrap()).unwrap();
    }
}
