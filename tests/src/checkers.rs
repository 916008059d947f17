//! Programs that look at the site as others do, as `tests/setup/install.sh` installed them.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::keeper::run;

/// Runs a program of `tests/setup/checkers.txt`, or a script (a path) with its libraries, and returns what it printed; an
/// error with that where it fails.
pub async fn check(program: &str, args: &[&str]) -> Result<String> {
    let folder = installed("checkers", include_bytes!("../setup/checkers.txt"))?;
    let mut command = Command::new(folder.join("bin/python"));
    // They keep what they found where they stand.
    let scratch = tempfile::tempdir()?;
    // A path that is whole stays as it is.
    command.arg(folder.join("bin").join(program)).args(args).env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(scratch.path());
    run(command).await
}

/// The script of axe, a checker of accessibility.
pub fn axe() -> Result<String> {
    let folder = installed("axe", include_bytes!("../setup/axe/package-lock.json"))?;
    Ok(std::fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js"))?)
}

/// The folder that belongs to a lock.
fn installed(name: &str, lock: &[u8]) -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).context("no home folder")?;
    let digest = format!("{:x}", Sha256::digest(lock));
    let folder = cache.join("proofhouse").join(format!("{name}-{}", &digest[..12]));
    ensure!(folder.exists(), "{} is missing: run tests/setup/install.sh verify", folder.display());
    Ok(folder)
}
