//! A folder and processes that do not outlive the test process.
//!
//! A small shell script waits for its standard input to close, which the kernel does when the test process is gone:
//! by its end, a panic, Ctrl-C or a kill -9. Then it kills whatever carries the keeper's marker in its environment
//! and deletes the folder. (A death signal from the kernel would not do: it hangs on the thread that forked.)

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Display,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::{wait_for, wait_until_ok};

/// The environment variable that marks the processes of a keeper.
const MARK: &str = "PROOFHOUSE_KEEPER";

/// Owns a temporary folder and the processes that were started for it. Dropping it ends both.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    mark: String,
    script: Child,
    stdin: Option<ChildStdin>,
    children: Mutex<Vec<Process>>,
}

impl Keeper {
    /// A keeper with a new folder in the system's temporary folder.
    pub fn new(name: &str) -> Result<Self> {
        Self::with_hook(name, &std::env::temp_dir(), "")
    }

    /// A keeper with a new folder in `parent`. `hook` is shell text that runs at the end before the processes are
    /// killed; it finds the folder in `$DIR`.
    pub fn with_hook(name: &str, parent: &Path, hook: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("proofhouse-{name}-")).tempdir_in(parent)?.keep();
        let mark = uuid::Uuid::new_v4().to_string();
        let mut script = Command::new("sh")
            .args(["-c", include_str!("keeper.sh"), "keeper"])
            .arg(format!("{MARK}={mark}"))
            .arg(&dir)
            .arg(hook)
            .stdin(Stdio::piped())
            // Ctrl-C on a terminal reaches the test process, not this.
            .process_group(0)
            .spawn()
            .context("starting the keeper")?;
        let stdin = script.stdin.take();
        Ok(Self { dir, mark, script, stdin, children: Mutex::default() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command whose process is this keeper's: marked, in a process group of its own, with nothing to read.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(MARK, &self.mark).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts a long-lived process; what it prints is appended to `{name}.log` in the folder.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let log = self.dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        let process = Process { name: name.to_owned(), log, child: Arc::new(Mutex::new(child)) };
        lock(&self.children).push(process.clone());
        Ok(process)
    }

    /// The living processes that carry the mark: those started here and their children, also daemons.
    pub fn processes(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.mark);
        let marked = |pid: &i32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|v| v == mark.as_bytes()))
        };
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(marked)
            .map(Pid::from_raw)
            .collect()
    }

    /// Kills them all at once, as a power cut does, and waits until they are gone.
    pub async fn kill9(&self) -> Result<()> {
        let mut killed = BTreeSet::new();
        wait_for("the killed processes to be gone", Duration::from_secs(10), async || {
            let alive = self.processes();
            for pid in &alive {
                // One that has just ended needs no signal.
                let _ = kill(*pid, Signal::SIGKILL);
            }
            killed.extend(alive);
            // One that nobody has waited for still holds its process id, and looks alive to its successor.
            lock(&self.children).retain(|child| matches!(child.ended(), Ok(None)));
            killed.iter().all(|pid| is_dead(*pid)).then_some(())
        })
        .await
    }
}

/// True once a killed process has let go of all it held: it loses its environment earlier.
fn is_dead(pid: Pid) -> bool {
    // The state stands behind the name, which is in parentheses and may hold anything.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z")))
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if let Err(e) = self.script.wait() {
            eprintln!("the keeper of {} is lost: {e}", self.dir.display());
        }
        for child in &*lock(&self.children) {
            if let Err(e) = lock(&child.child).wait() {
                eprintln!("{} is lost: {e}", child.name);
            }
        }
    }
}

/// A long-lived process of a [`Keeper`].
#[derive(Debug, Clone)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Arc<Mutex<Child>>,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(lock(&self.child).id())?))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// The status with which it ended; none while it runs.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        lock(&self.child).try_wait()
    }

    /// Waits for its end.
    pub async fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait_for(&what, timeout, async || self.ended().transpose()).await?.map_err(Into::into)
    }

    /// Tries until it works, or until this process ends: then the error has the log's tail.
    pub async fn wait_until_ok<E: Display>(
        &self,
        what: &str,
        timeout: Duration,
        mut attempt: impl AsyncFnMut() -> Result<(), E>,
    ) -> Result<()> {
        let mut dead = None;
        let waited = wait_until_ok(what, timeout, async || {
            dead = self.ended().transpose();
            if dead.is_some() { Ok(()) } else { attempt().await }
        })
        .await;
        match dead {
            None => waited.with_context(|| format!("{} logged:\n{}", self.name, self.tail(40))),
            Some(status) => bail!("{} ended ({}):\n{}", self.name, status?, self.tail(40)),
        }
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of what it printed.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Runs a short command to its end and returns what it printed; an error with its output when it fails.
pub async fn run(command: Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .with_context(|| format!("starting {program}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{program} failed ({}):\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(stdout)
}

/// Nothing is half done when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
