//! The disk of the data folder: what of it is free, without which no new work is taken, and what a run has taken.

use std::{io, path::Path, process::Stdio, time::Duration};

use nix::sys::statvfs::statvfs;
use tokio::{process::Command, sync::watch};
use tracing::{info, warn};

use crate::settings::Settings;

const CHECK_PAUSE: Duration = Duration::from_secs(5);

/// What a disk has, as far as this user may use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    pub(crate) used_bytes: u64,
    pub(crate) free_bytes: u64,
    /// None where a file system has as many as one likes.
    files: Option<Files>,
}

#[derive(Debug, Clone, Copy)]
struct Files {
    all: u64,
    free: u64,
}

impl Disk {
    /// The one of `folder`.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let stat = statvfs(folder)?;
        let bytes = |blocks: u64| blocks * stat.fragment_size();
        let files = Files { all: stat.files(), free: stat.files_available() };
        Ok(Self {
            used_bytes: bytes(stat.blocks() - stat.blocks_free()),
            free_bytes: bytes(stat.blocks_available()),
            files: (files.all > 0).then_some(files),
        })
    }

    /// Whether nothing more goes onto it.
    pub(crate) fn is_full(&self) -> bool {
        self.free_bytes >> 20 == 0 || self.files.is_some_and(|files| files.free == 0)
    }

    /// Whether it has room for few more files, whatever their size.
    pub(crate) fn is_short_of_files(&self) -> bool {
        self.files.is_some_and(|files| files.free < files.all / 10)
    }
}

/// Whether there is room for new work; the reason where there is none.
pub(crate) fn room(folder: &Path, min_free_mib: u64) -> Result<(), String> {
    match Disk::of(folder) {
        Ok(disk) if disk.free_bytes >> 20 < min_free_mib => Err(format!(
            "the disk of {} has less than {min_free_mib} MiB free (min_free_mib)",
            folder.display()
        )),
        Ok(disk) if disk.is_full() => Err(format!("the disk of {} is full", folder.display())),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("the free space of {} cannot be read: {e}", folder.display())),
    }
}

/// What a work folder takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// All of it.
    pub(crate) all: u64,
    /// The output folder in it.
    pub(crate) output: u64,
}

/// Measures a work folder. None where it cannot be measured, as when a test moves its folders while they are read.
pub(crate) async fn taken(work: &Path, output: &Path, in_namespace: bool) -> Option<Taken> {
    // What is counted in the first folder is not counted again in the second.
    let [output, rest] = du("--block-size=1", [output, work], in_namespace).await?;
    let output = output.unwrap_or(0);
    Some(Taken { all: output + rest?, output })
}

/// How many files and folders a work folder has.
pub(crate) async fn files(work: &Path, in_namespace: bool) -> Option<u64> {
    let [files] = du("--inodes", [work], in_namespace).await?;
    files
}

/// The sums of some folders. What a testbed keeps to users of a namespace (`in_namespace`) is measured from within one.
async fn du<const N: usize>(what: &str, folders: [&Path; N], in_namespace: bool) -> Option<[Option<u64>; N]> {
    let mut command = if in_namespace { Command::new("unshare") } else { Command::new("du") };
    if in_namespace {
        command.args(["--map-auto", "--map-root-user", "--", "du"]);
    }
    command.args(["--summarize", "--one-file-system", what, "--"]).args(folders);
    // Where nobody waits for it any more it ends by itself: an `unshare` that is killed can leave a helper that never does.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    // What vanishes meanwhile makes it fail; its sums stand all the same.
    let sums = command.output().await.ok()?.stdout;
    let sums = std::str::from_utf8(&sums).ok()?;
    let sum = |line: &str, of: &Path| line.strip_suffix(of.to_str()?)?.trim_end().parse().ok();
    Some(folders.map(|folder| sums.lines().find_map(|line| sum(line, folder))))
}

/// True for an error that says that the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Looks every few seconds, and says it once when it changes.
pub(crate) async fn watch_room(settings: &Settings, able: &watch::Sender<Result<(), String>>) {
    let folder = &settings.data;
    loop {
        let now = room(folder, settings.min_free_mib);
        let free = Disk::of(folder).map_or(0, |disk| disk.free_bytes);
        settings.metrics.worker.disk_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        able.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                match &now {
                    Ok(()) => info!("there is room on the disk again: taking work"),
                    Err(reason) => warn!("taking no work: {reason}"),
                }
                before.clone_from(&now);
            }
            changed
        });
        tokio::time::sleep(CHECK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sparse_files_and_links_take_nothing() {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("out");
        let empty = taken(work.path(), &out, false).await.unwrap();
        assert_eq!(empty.output, 0);
        std::fs::create_dir_all(work.path().join("tmp/deep")).unwrap();
        std::fs::create_dir(&out).unwrap();
        std::fs::write(work.path().join("tmp/deep/a"), vec![1; 3 << 20]).unwrap();
        std::fs::write(out.join("log"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(out.join("log"), work.path().join("log")).unwrap();
        std::os::unix::fs::symlink("/usr", out.join("usr")).unwrap();
        std::fs::File::create(out.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let full = taken(work.path(), &out, false).await.unwrap();
        assert_eq!((full.output >> 20, full.all >> 20), (1, 4), "{full:?}");
        // Itself, tmp, deep, a, out, log, usr, sparse.
        assert_eq!(files(work.path(), false).await, Some(8));
    }

    #[test]
    fn a_disk_is_full_without_room_for_bytes_or_for_files() {
        let disk = |free_bytes, files| Disk { used_bytes: 0, free_bytes, files };
        let files = |free| Some(Files { all: 1000, free });
        for (disk, full, short) in [
            (disk(1 << 20, None), false, false),
            (disk((1 << 20) - 1, None), true, false),
            (disk(1 << 30, files(100)), false, false),
            (disk(1 << 30, files(99)), false, true),
            (disk(1 << 30, files(0)), true, true),
        ] {
            assert_eq!((disk.is_full(), disk.is_short_of_files()), (full, short), "{disk:?}");
        }
    }

    #[test]
    fn room_by_the_configured_minimum() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(room(dir.path(), 0), Ok(()));
        assert!(room(dir.path(), u64::MAX).unwrap_err().contains("min_free_mib"));
        assert!(room(&dir.path().join("missing"), 0).is_err());
    }
}
