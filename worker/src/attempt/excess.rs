//! What a run may take of this machine, and when it takes more.

use std::time::{Duration, Instant};

use proofhouse_core::outcome::{RuleHit, RuleVerdict, decided_by};

use super::Attempt;
use crate::{
    disk::{self, Disk, Taken},
    pace::Pace,
    settings::{Limits, Provider},
    workdir::WorkDir,
};

/// How often one looks whether the work folder is to be measured.
const LOOK: Duration = Duration::from_secs(2);
/// Measuring takes one part in so many of the time, unless the disk loses as much as the run may still take.
const SHARE: u32 = 10;
/// While the disk has little room, a folder that cannot be measured so often in a row is taken for too large. A test that
/// moves its folders about all the time makes it so; one that builds something does once.
const UNMEASURED: u32 = 3;

/// What a run had too much of. That is its own doing, whatever autopkgtest made of being killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Threads,
    Disk,
    /// The disk had room for few more, and this run had more than its part of them.
    Files,
    Output,
}

impl Excess {
    /// What decided, as a rule of the log would say it: no other rule decides then.
    pub(super) fn hit(self) -> RuleHit {
        let name = match self {
            Self::Threads => decided_by::RUN_THREADS,
            Self::Disk | Self::Files => decided_by::RUN_DISK,
            Self::Output => decided_by::RUN_OUTPUT,
        };
        RuleHit { name: name.to_owned(), verdict: RuleVerdict::Package }
    }

    /// In words.
    pub(super) fn words(self, limits: Limits) -> String {
        let (disk, output) = (limits.disk_bytes >> 20, limits.output_bytes >> 20);
        match self {
            Self::Threads => format!("it had more than {} threads (run_threads)", limits.threads),
            Self::Disk => format!("it took more than {disk} MiB of the disk (run_disk_mib)"),
            Self::Files => {
                let files = limits.files();
                format!("it had more than {files} files while the disk had room for few more (run_disk_mib)")
            }
            Self::Output => {
                format!("its log and artifacts took more than {output} MiB of the disk (run_output_mib)")
            }
        }
    }

    /// The log's last line. A test can print the same: nothing but people read it.
    pub(super) fn note(self, limits: Limits) -> String {
        format!("proofhouse: the run was killed: {}", self.words(limits))
    }
}

/// Returns when the work folder takes more than it may.
pub(super) async fn takes_too_much(attempt: &Attempt, work: &WorkDir) -> Excess {
    let settings = &attempt.shared.settings;
    let in_namespace = matches!(settings.provider, Provider::Unshare(_));
    let mut gauge = Gauge::new(attempt.limits(), settings.min_free_mib << 20);
    loop {
        tokio::time::sleep(LOOK).await;
        // Where nobody knows what the disk has, nothing is known of its part either.
        let Ok(disk) = Disk::of(&settings.data) else { continue };
        let began = Instant::now();
        if !gauge.pace.is_due(began, disk.used_bytes) {
            continue;
        }
        let taken = disk::taken(work.path(), &work.out(), in_namespace).await;
        let files =
            if disk.is_short_of_files() { disk::files(work.path(), in_namespace).await } else { None };
        if let Some(excess) = gauge.read(&disk, taken, files, began, Instant::now()) {
            return excess;
        }
    }
}

/// What is known of a work folder from one measurement to the next.
struct Gauge {
    limits: Limits,
    min_free_bytes: u64,
    pace: Pace,
    /// How often in a row it could not be measured while the disk had little room.
    unmeasured: u32,
}

impl Gauge {
    fn new(limits: Limits, min_free_bytes: u64) -> Self {
        Self { limits, min_free_bytes, pace: Pace::new(Instant::now(), 0), unmeasured: 0 }
    }

    /// A measurement that lasted from `began` to `ended`, with the disk as it was before.
    fn read(
        &mut self,
        disk: &Disk,
        taken: Option<Taken>,
        files: Option<u64>,
        began: Instant,
        ended: Instant,
    ) -> Option<Excess> {
        let Limits { disk_bytes, output_bytes, .. } = self.limits;
        let is_scarce = disk.free_bytes < self.min_free_bytes;
        self.unmeasured = if taken.is_none() && is_scarce { self.unmeasured + 1 } else { 0 };
        let rest = match taken {
            Some(taken) => {
                disk_bytes.saturating_sub(taken.all).min(output_bytes.saturating_sub(taken.output))
            }
            None if is_scarce => 0,
            None => disk_bytes,
        };
        self.pace = Pace::new(ended + (ended - began) * (SHARE - 1), disk.used_bytes.saturating_add(rest));
        match taken {
            Some(taken) if taken.output > output_bytes => Some(Excess::Output),
            Some(taken) if taken.all > disk_bytes => Some(Excess::Disk),
            None if self.unmeasured >= UNMEASURED => Some(Excess::Disk),
            _ => files.filter(|files| *files > self.limits.files()).map(|_| Excess::Files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { threads: 100, disk_bytes: 1000 << 14, output_bytes: 100 << 14 };
    const NONE: Option<Taken> = None;

    fn disk(used_bytes: u64, free_bytes: u64) -> Disk {
        let mut disk = Disk::of(std::path::Path::new("/")).unwrap();
        (disk.used_bytes, disk.free_bytes) = (used_bytes, free_bytes);
        disk
    }

    fn pages(all: u64, output: u64) -> Taken {
        Taken { all: all << 14, output: output << 14 }
    }

    #[test]
    fn what_is_more_than_a_limit_is_too_much() {
        let now = Instant::now();
        let read = |taken, files| Gauge::new(LIMITS, 0).read(&disk(0, 1), taken, files, now, now);
        assert_eq!(read(Some(pages(1000, 100)), None), None);
        assert_eq!(read(Some(pages(1001, 100)), None), Some(Excess::Disk));
        assert_eq!(read(Some(pages(101, 101)), None), Some(Excess::Output));
        assert_eq!(read(Some(pages(10, 1)), Some(1000)), None);
        assert_eq!(read(Some(pages(10, 1)), Some(1001)), Some(Excess::Files));
        assert_eq!(read(NONE, None), None);
    }

    #[test]
    fn it_is_measured_early_where_the_disk_loses_what_it_may_still_take() {
        let (now, mut gauge) = (Instant::now(), Gauge::new(LIMITS, 0));
        let ended = now + Duration::from_secs(10);
        gauge.read(&disk(5, 1), Some(pages(990, 1)), None, now, ended);
        let later = now + Duration::from_secs(99);
        assert!(!gauge.pace.is_due(later, 5 + (10 << 14)) && gauge.pace.is_due(later, 6 + (10 << 14)));
        assert!(gauge.pace.is_due(now + Duration::from_secs(100), 0));
        gauge.read(&disk(5, 1), Some(pages(100, 99)), None, now, ended);
        assert!(gauge.pace.is_due(later, 6 + (1 << 14)), "the output has less left");
    }

    #[test]
    fn what_cannot_be_measured_is_too_much_once_the_disk_has_little_room() {
        let (now, mut gauge) = (Instant::now(), Gauge::new(LIMITS, 100));
        let mut read = |free, taken| gauge.read(&disk(0, free), taken, None, now, now);
        for _ in 0..9 {
            assert_eq!(read(100, NONE), None);
        }
        assert_eq!([read(99, NONE), read(99, NONE), read(99, Some(pages(1, 1)))], [None; 3]);
        assert_eq!([read(99, NONE), read(99, NONE)], [None; 2]);
        assert_eq!(read(99, NONE), Some(Excess::Disk));
    }
}
