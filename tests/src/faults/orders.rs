//! Orders to the processes under test: to stop at a step until something was done to them, or around them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use nix::unistd::Pid;
use proofhouse_core::faults::Step;
use tokio::time::sleep;

use crate::wait::wait_for;

/// Before one who found a place taken looks elsewhere.
const SOON: Duration = Duration::from_millis(100);

/// The folder that orders are in.
pub(super) struct Orders {
    folder: PathBuf,
    taken: Arc<Mutex<BTreeSet<Step>>>,
}

/// A step at which one striker alone waits for somebody, or has him. Two would take each other's for their own, and one process
/// would be left waiting.
struct Place {
    step: Step,
    taken: Arc<Mutex<BTreeSet<Step>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.step);
    }
}

/// A process that waits at a step. Dropping it lets it go on.
pub(super) struct Caught {
    /// Where.
    pub(super) step: Step,
    /// Which.
    pub(super) pid: Pid,
    file: PathBuf,
    _place: Place,
}

impl Drop for Caught {
    fn drop(&mut self) {
        // A process that died at its step left it.
        let _ = fs::remove_file(&self.file);
    }
}

impl Orders {
    /// In this folder.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("orders");
        fs::create_dir(&folder)?;
        Ok(Self { folder, taken: Arc::default() })
    }

    /// For the processes' environment.
    pub(super) fn env(&self) -> (&'static str, String) {
        ("PROOFHOUSE_FAULTS", self.folder.display().to_string())
    }

    /// Waits until a process comes to this step, and keeps it there; none where none does in time, or another striker is there.
    pub(super) async fn catch(&self, step: Step, patience: Duration) -> Result<Option<Caught>> {
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(step) {
            // Somebody else's turn.
            sleep(SOON).await;
            return Ok(None);
        }
        let place = Place { step, taken: self.taken.clone() };
        let name = step.as_str();
        let order = self.folder.join(name);
        fs::write(&order, "")?;
        let mut found = wait_for(name, patience, async || self.waiting(step)).await.ok();
        if found.is_none() && fs::remove_file(&order).is_err() {
            // It was taken in the last moment.
            found = wait_for(name, Duration::from_secs(1), async || self.waiting(step)).await.ok();
        }
        Ok(found.map(|(pid, file)| Caught { step, pid, file, _place: place }))
    }

    fn waiting(&self, step: Step) -> Option<(Pid, PathBuf)> {
        let prefix = format!("{}.", step.as_str());
        let entries = fs::read_dir(&self.folder).ok()?;
        entries.flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((Pid::from_raw(pid), entry.path()))
        })
    }
}

/// How often each fault struck at each step.
#[derive(Debug, Default)]
pub struct Tally {
    hits: BTreeMap<(&'static str, &'static str), usize>,
}

/// Of faults that strike whenever.
pub(super) const WHENEVER: &str = "whenever";

impl Tally {
    /// One more.
    pub(super) fn add(&mut self, fault: &'static str, step: &'static str) {
        *self.hits.entry((fault, step)).or_default() += 1;
    }

    /// What another counted, too.
    pub fn merge(&mut self, other: Self) {
        for (what, hits) in other.hits {
            *self.hits.entry(what).or_default() += hits;
        }
    }

    /// All.
    pub fn total(&self) -> usize {
        self.hits.values().sum()
    }

    /// Of a fault.
    pub(super) fn of_fault(&self, fault: &str) -> usize {
        self.hits.iter().filter(|((name, _), _)| *name == fault).map(|(_, n)| n).sum()
    }

    /// At a step.
    pub(super) fn of_step(&self, step: &str) -> usize {
        self.hits.iter().filter(|((_, name), _)| *name == step).map(|(_, n)| n).sum()
    }

    /// A table: a line for each fault, a column for each step, and sums.
    pub(super) fn table(&self, faults: &[&'static str]) -> String {
        let steps: Vec<&str> = Step::ALL.iter().map(|step| step.as_str()).chain([WHENEVER]).collect();
        let numbered = steps.iter().enumerate();
        let sums = numbered.map(|(n, step)| format!("  {:>2}  {step}: {}", n + 1, self.of_step(step)));
        let head: Vec<String> = (1..=steps.len()).map(|n| format!("{n:>4}")).collect();
        let lines = faults.iter().map(|fault| {
            let cells: String = steps.iter().map(|step| self.cell(fault, step)).collect();
            format!("{fault:<32}{:>4}{cells}", self.of_fault(fault))
        });
        let title = "steps, as numbered in the columns below:".to_owned();
        let all = [title]
            .into_iter()
            .chain(sums)
            .chain([format!("{:<32}{:>4}{}", "fault", "all", head.concat())])
            .chain(lines);
        all.map(|line| line + "\n").collect()
    }

    fn cell(&self, fault: &str, step: &str) -> String {
        let hits = self.hits.iter().find(|((f, s), _)| *f == fault && *s == step);
        hits.map_or_else(|| "   .".to_owned(), |(_, hits)| format!("{hits:>4}"))
    }
}
