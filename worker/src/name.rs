//! The worker's name: stable over restarts, and different for each process that shares a data folder.

use std::{
    fs::{self, File},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use proofhouse_core::names::WorkerName;

use crate::Error;

/// Holds a name for this process; dropping it frees the name.
#[derive(Debug)]
pub struct NameLock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] Flock<File>);

/// Takes the first free name of `base`, `base-2`, `base-3`, … for this process.
pub fn claim_name(data: &Path, base: &WorkerName) -> Result<(WorkerName, NameLock), Error> {
    let folder = data.join("workers");
    fs::create_dir_all(&folder).map_err(|source| Error::Data { path: folder.clone(), source })?;
    for n in 1..1000 {
        let text = if n == 1 { base.to_string() } else { format!("{base}-{n}") };
        let name: WorkerName = text.parse().map_err(|_| Error::NoName(base.to_string()))?;
        let path = folder.join(format!("{name}.lock"));
        let locked = File::create(&path)
            .and_then(|file| match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Ok(Some(lock)),
                Err((_, Errno::EWOULDBLOCK)) => Ok(None),
                Err((_, errno)) => Err(errno.into()),
            })
            .map_err(|source| Error::Data { path, source })?;
        if let Some(lock) = locked {
            return Ok((name, NameLock(lock)));
        }
    }
    Err(Error::NoName(base.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worker_gets_a_name_of_its_own_and_a_restart_the_old_one() {
        let data = tempfile::tempdir().unwrap();
        let base: WorkerName = "host".parse().unwrap();
        let claim = || claim_name(data.path(), &base).unwrap();
        let (first, lock) = claim();
        let (second, _lock2) = claim();
        assert_eq!((first.as_str(), second.as_str()), ("host", "host-2"));
        drop(lock);
        assert_eq!(claim().0.as_str(), "host");
    }
}
