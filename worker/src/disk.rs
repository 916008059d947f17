//! Free space under the data folder: without it no new work is taken.

use std::{io, path::Path, process::Stdio, time::Duration};

use nix::sys::statvfs::statvfs;
use tokio::{process::Command, sync::watch};
use tracing::{info, warn};

use crate::settings::Settings;

const CHECK_PAUSE: Duration = Duration::from_secs(5);

/// Free space in MiB, as far as this user may use it.
pub(crate) fn free_mib(folder: &Path) -> io::Result<u64> {
    let stat = statvfs(folder)?;
    Ok(stat.blocks_available() * stat.fragment_size() / (1 << 20))
}

/// Whether there is room for new work; the reason where there is none.
pub(crate) fn room(folder: &Path, min_free_mib: u64) -> Result<(), String> {
    match free_mib(folder) {
        Ok(free) if free < min_free_mib => Err(format!(
            "the disk of {} has less than {min_free_mib} MiB free (min_free_mib)",
            folder.display()
        )),
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

/// Measures a work folder. What its testbed keeps to users of a namespace (`in_namespace`) is measured from within one.
/// None where it cannot be measured, as when a test ties its folders up while they are read.
pub(crate) async fn taken(work: &Path, output: &Path, in_namespace: bool) -> Option<Taken> {
    let mut command = if in_namespace { Command::new("unshare") } else { Command::new("du") };
    if in_namespace {
        command.args(["--map-auto", "--map-root-user", "--", "du"]);
    }
    // What is counted in the first folder is not counted again in the second.
    command.args(["--summarize", "--one-file-system", "--block-size=1", "--"]).arg(output).arg(work);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // What vanishes meanwhile makes it fail; its sums stand all the same.
    let sums = command.output().await.ok()?.stdout;
    let sum = |line: &str, of: &Path| line.strip_suffix(of.to_str()?)?.trim_end().parse::<u64>().ok();
    let lines: Vec<&str> = std::str::from_utf8(&sums).ok()?.lines().collect();
    let output = lines.iter().find_map(|line| sum(line, output)).unwrap_or(0);
    let rest = lines.iter().find_map(|line| sum(line, work))?;
    Some(Taken { all: output + rest, output })
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
        let free = free_mib(folder).unwrap_or(0).saturating_mul(1 << 20);
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
    }

    #[test]
    fn room_by_the_configured_minimum() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(room(dir.path(), 0), Ok(()));
        assert!(room(dir.path(), u64::MAX).unwrap_err().contains("min_free_mib"));
        assert!(room(&dir.path().join("missing"), 0).is_err());
    }
}
