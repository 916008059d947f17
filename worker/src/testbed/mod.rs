//! Testbeds. Root tarballs for the provider `unshare`: `<data>/testbeds/<release>-<arch>.tar`, built with mmdebstrap when one is
//! missing or old.

pub(crate) mod lxd;
pub(crate) mod session;
mod sources;

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use proofhouse_core::{arguments::image_arch, names::Pair};
use tracing::{info, warn};

use crate::{
    attempt::Shared,
    command::for_pair,
    files,
    guard::{Order, Report},
    runner::Runner,
    settings::Unshare,
    workdir::WorkDir,
};

/// What a testbed needs beyond the smallest system: sources are unpacked in it, and archives may speak https.
const PACKAGES: &str = "dpkg-dev,ca-certificates";
/// Makes the pocket of the triggers work.
const POCKETS: &str = include_str!("pockets.sh");
const LOCK_PAUSE: Duration = Duration::from_millis(500);
/// As much of mmdebstrap's words as an operator needs.
const LAST_WORDS: usize = 600;

/// Why there is no testbed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestbedError {
    #[error("the folder of the testbeds cannot be used")]
    Folder(#[source] io::Error),
    #[error("the root tarball {0} does not exist")]
    Missing(PathBuf),
    #[error("no archive is known for {0}: this machine's apt names none, so set unshare_mirror")]
    NoArchive(Pair),
    #[error("mmdebstrap cannot be run: {0}")]
    Start(String),
    #[error("mmdebstrap failed ({how}): {words}")]
    Build { how: String, words: String },
}

impl TestbedError {
    /// The error that says that the disk is full, if it is one.
    pub(crate) const fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Folder(error) => Some(error),
            _ => None,
        }
    }
}

/// The tarball for a pair; built first where it is missing or older than the settings allow.
pub(crate) async fn tarball(
    shared: &Shared,
    unshare: &Unshare,
    pair: &Pair,
    work: &WorkDir,
) -> Result<PathBuf, TestbedError> {
    if let Some(template) = &unshare.tarball {
        let path = PathBuf::from(for_pair(template, pair));
        return if path.is_file() { Ok(path) } else { Err(TestbedError::Missing(path)) };
    }
    let folder = shared.settings.data.join("testbeds");
    fs::create_dir_all(&folder).map_err(TestbedError::Folder)?;
    let name = format!("{}-{}.tar", pair.release, image_arch(pair));
    let path = folder.join(&name);
    if is_fresh(&path, unshare.refresh) {
        return Ok(path);
    }
    let _lock = lock(&folder.join(format!("{name}.lock"))).await.map_err(TestbedError::Folder)?;
    // Another slot may have built it meanwhile.
    if is_fresh(&path, unshare.refresh) {
        return Ok(path);
    }
    match build(shared, unshare, pair, work, &path).await {
        Ok(()) => Ok(path),
        Err(error) if path.is_file() => {
            warn!(%error, "the testbed of {pair} is not renewed; the old one is used");
            Ok(path)
        }
        Err(error) => Err(error),
    }
}

fn is_fresh(path: &Path, refresh: Duration) -> bool {
    let age = fs::metadata(path).and_then(|meta| meta.modified()).map(|time| time.elapsed());
    // A file from the future is as good as new.
    age.is_ok_and(|age| age.unwrap_or_default() < refresh)
}

/// Waits for a lock that other processes of the data folder may hold.
async fn lock(path: &Path) -> io::Result<Flock<File>> {
    let mut file = File::create(path)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Builds beside the place and moves it there whole. The lock must be held.
async fn build(
    shared: &Shared,
    unshare: &Unshare,
    pair: &Pair,
    work: &WorkDir,
    path: &Path,
) -> Result<(), TestbedError> {
    let part = path.with_extension("tar.part");
    let _ = fs::remove_file(&part);
    let list = work.path().join("sources.list");
    let text = sources::for_release(unshare.mirror.as_deref(), pair.release.as_str(), &sources::of_host());
    if text.is_empty() {
        return Err(TestbedError::NoArchive(pair.clone()));
    }
    files::write_new(&list, text.as_bytes(), 0o644).map_err(TestbedError::Folder)?;
    let proxy = work.path().join("proxy.conf");
    files::write_new(&proxy, sources::proxies().as_bytes(), 0o644).map_err(TestbedError::Folder)?;

    info!("building the testbed of {pair} with mmdebstrap");
    let began = Instant::now();
    let stderr = work.path().join("mmdebstrap");
    let order = Order {
        program: "mmdebstrap".into(),
        args: arguments(pair, &part, &list, &proxy),
        env: Vec::new(),
        folder: work.path().to_owned(),
        stderr: stderr.clone(),
        threads: None,
    };
    let mut runner = Runner::start(&shared.guards, order, work.path())
        .await
        .map_err(|error| TestbedError::Start(error.to_string()))?;
    match runner.wait().await {
        Report::Exited(0) => fs::rename(&part, path).map_err(TestbedError::Folder)?,
        Report::NotStarted(reason) => return Err(TestbedError::Start(reason)),
        Report::Exited(code) => return Err(failed(format!("exit code {code}"), &stderr)),
        Report::TooManyThreads => return Err(failed("killed".to_owned(), &stderr)),
        Report::Signalled(signal) => return Err(failed(format!("signal {signal}"), &stderr)),
    }
    info!(duration_seconds = began.elapsed().as_secs(), "the testbed of {pair} is built");
    Ok(())
}

fn arguments(pair: &Pair, part: &Path, list: &Path, proxy: &Path) -> Vec<OsString> {
    let mut aptopt = OsString::from("--aptopt=");
    aptopt.push(proxy);
    let mut args: Vec<OsString> = vec![
        "--variant=minbase".into(),
        format!("--include={PACKAGES}").into(),
        format!("--architectures={}", image_arch(pair)).into(),
        "--format=tar".into(),
        format!("--customize-hook={POCKETS}").into(),
        // autopkgtest looks the triggers' packages up before it updates the lists.
        "--skip=cleanup/apt/lists".into(),
        aptopt,
    ];
    args.extend([pair.release.as_str().into(), part.into(), list.into()]);
    args
}

fn failed(how: String, stderr: &Path) -> TestbedError {
    let bytes = files::read_regular(stderr, 1 << 20).unwrap_or_default();
    let last = &bytes[bytes.len().saturating_sub(LAST_WORDS)..];
    TestbedError::Build { how, words: String::from_utf8_lossy(last).trim().replace('\n', " | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.tar");
        assert!(!is_fresh(&path, Duration::MAX));
        fs::write(&path, "x").unwrap();
        assert!(is_fresh(&path, Duration::from_secs(3600)));
        assert!(!is_fresh(&path, Duration::ZERO));
    }

    #[tokio::test]
    async fn one_builds_and_the_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path).await.unwrap();
        let mut second = Box::pin(lock(&path));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        second.await.unwrap();
    }
}
