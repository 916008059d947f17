//! The data folder belongs to one `up`: a lock on a file that also says what that one serves.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use proofhouse_core::names::Pair;
use serde::{Deserialize, Serialize};

/// What an `up` says of itself to the commands that work with the same data folder. It stays there when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Where its site is.
    pub(crate) site: String,
    /// What it serves.
    pub(crate) pairs: Vec<Pair>,
}

impl UpFile {
    /// What the last `up` of a data folder said.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path(data)).ok()?).ok()
    }

    /// The same, where that one is alive.
    pub(crate) fn running(data: &Path) -> Option<Self> {
        let name = |up: &Self| std::fs::read_to_string(format!("/proc/{}/comm", up.pid)).unwrap_or_default();
        Self::read(data).filter(|up| name(up).trim_end() == env!("CARGO_PKG_NAME"))
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("up.lock")
}

/// Holds the data folder until it is dropped, or the process is gone.
pub(super) struct DataLock(Flock<File>);

impl DataLock {
    /// Takes the folder, which is made where it is missing.
    pub(super) fn take(data: &Path) -> Result<Self> {
        super::process::make_folder(data)?;
        let path = path(data);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        let mut said = String::new();
        // What an earlier one said serves the message alone.
        let _ = file.read_to_string(&mut said);
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EWOULDBLOCK)) => {
                let other = serde_json::from_str::<UpFile>(&said).ok();
                let who = other.map(|o| format!(" (process {}, {})", o.pid, o.site)).unwrap_or_default();
                bail!(
                    "another `proofhouse up` works in {}{who}: stop it, or give this one another --data",
                    data.display()
                )
            }
            Err((_, errno)) => Err(errno).with_context(|| format!("{} cannot be locked", path.display())),
        }
    }

    /// Writes down what this one serves.
    pub(super) fn say(&mut self, said: &UpFile) -> Result<()> {
        let text = serde_json::to_vec(said)?;
        let file: &mut File = &mut self.0;
        let written = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(&text));
        written.context("the data folder cannot be written to")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_says_who_is_there_and_a_later_one_takes_over() {
        let data = tempfile::tempdir().unwrap();
        let said =
            UpFile { pid: 7, site: "http://127.0.0.1:8080/".to_owned(), pairs: vec!["a/b".parse().unwrap()] };
        let mut lock = DataLock::take(data.path()).unwrap();
        lock.say(&said).unwrap();
        let Err(error) = DataLock::take(data.path()) else { panic!("two at once") };
        assert!(error.to_string().contains("(process 7, http://127.0.0.1:8080/)"), "{error}");
        drop(lock);
        assert_eq!(UpFile::read(data.path()), Some(said));
        DataLock::take(data.path()).unwrap();
    }
}
