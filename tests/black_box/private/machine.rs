//! What people on the same machine can see: process lists, environments, files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;

use super::{
    addresses::readable,
    words::{Mark, tokens},
};

const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Seen {
    /// What was told, and by whom.
    told: BTreeSet<String>,
    /// Runs whose arguments stand in a file.
    hushed: usize,
    /// Runs with arguments that anyone may see.
    open: usize,
}

/// Looks at all processes of this machine again and again until it is asked.
pub(crate) struct Sampler {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Sampler {
    /// `data`: where the workers' folders are. `secrets`: what no test may find in its environment.
    pub(crate) fn start(mark: Mark, open: Mark, data: PathBuf, secrets: Vec<String>) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let into = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mark, open, data) = (mark.clone(), open.clone(), data.clone());
                let (secrets, into) = (secrets.clone(), into.clone());
                let look = move || {
                    look(
                        &mark,
                        &open,
                        &data,
                        &secrets,
                        &mut into.lock().unwrap_or_else(PoisonError::into_inner),
                    );
                };
                let _ = tokio::task::spawn_blocking(look).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { seen, task }
    }

    /// Nothing was told, though there was something to see.
    pub(crate) fn check(&self) -> Result<()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(seen.told.is_empty(), "processes tell {:?}", seen.told);
        ensure!(seen.hushed > 0 && seen.open > 0, "no runner was seen: {seen:?}");
        Ok(())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look(mark: &Mark, open: &Mark, data: &Path, secrets: &[String], seen: &mut Seen) {
    let of_ours = format!("PROOFHOUSE_WORK={}", data.display());
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten().map(|entry| entry.path()) {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let line = String::from_utf8_lossy(&arguments).replace('\0', " ");
        // An operator says for whom a token is.
        if line.contains(" token add ") {
            continue;
        }
        for told in mark.words(&arguments).into_iter().chain(mark.words(&environment)) {
            seen.told.insert(format!("{told}, by {line}"));
        }
        let is_runner = environment.split(|b| *b == 0).any(|v| v.starts_with(of_ours.as_bytes()));
        if is_runner {
            let environment = String::from_utf8_lossy(&environment);
            let known = secrets.iter().filter(|secret| environment.contains(secret.as_str()));
            seen.told.extend(known.map(|secret| format!("{secret}, in the environment of {line}")));
            seen.hushed += usize::from(line.contains(" @"));
            seen.open += usize::from(!open.words(&arguments).is_empty());
        }
    }
}

/// While a private run goes on: its folder is its worker's alone, and one file of it, of the same mode, holds the token.
pub(crate) fn work_folders(data: &Path, mark: &Mark) -> Result<()> {
    let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
    let mut held = 0;
    for file in files(data) {
        if tokens(mark, &fs::read(&file).unwrap_or_default()).is_empty() {
            continue;
        }
        let mut folders = file.ancestors().skip(1).take_while(|folder| *folder != data);
        let closed = folders.any(|folder| mode(folder).is_ok_and(|mode| mode == 0o700));
        ensure!(closed, "anyone can reach {}", file.display());
        // What the test itself prints is its own.
        if !file.ends_with("out/log") {
            ensure!(file.ends_with("arguments") && mode(&file)? == 0o600, "{} holds a token", file.display());
            held += 1;
        }
    }
    ensure!(held > 0, "no file holds the token of the run that goes on");
    Ok(())
}

/// Nothing of a private run is left in a folder.
pub(crate) fn nothing_left(folder: &Path, mark: &Mark) -> Result<()> {
    for file in files(folder) {
        let text = readable(&fs::read(&file).unwrap_or_default());
        let told = mark.words(format!("{} {text}", file.display()).as_bytes());
        ensure!(told.is_empty(), "{} tells {told:?}", file.display());
    }
    Ok(())
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
