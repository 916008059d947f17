//! Free space under the data folder: without it no new work is taken.

use std::{io, path::Path, time::Duration};

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;
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

    #[test]
    fn room_by_the_configured_minimum() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(room(dir.path(), 0), Ok(()));
        assert!(room(dir.path(), u64::MAX).unwrap_err().contains("min_free_mib"));
        assert!(room(&dir.path().join("missing"), 0).is_err());
    }
}
