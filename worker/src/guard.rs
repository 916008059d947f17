//! The guard: a small process between the worker and a runner, so that the runner and all its children die with the worker.
//!
//! It reads one line of JSON, an [`Order`], from its standard input, and starts what that says. The worker holds the other
//! end of that pipe: when it closes (the worker is gone, in whatever way) or a [`Stop`] comes by it, the guard asks the
//! runner to end, so that it cleans its testbed up, and after a grace period kills every process below itself. As a
//! subreaper it inherits those whose parents died. Its last line on standard output is a [`Report`].

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitStatus, wait},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::processes;

/// How long the runner has to clean up when its worker is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(60);
/// How long the runner's helpers may live on after it, before they are killed.
const HELPERS_GRACE: Duration = Duration::from_secs(5);
/// The pause between two rounds of killing.
const KILL_PAUSE: Duration = Duration::from_millis(100);
/// What survives SIGKILL for so long hangs in the kernel; waiting longer would hold up the worker.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// What the guard is to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, OsString)>,
    /// The folder to start it in.
    pub(crate) folder: PathBuf,
    /// Its standard error is appended here; its standard output goes nowhere.
    pub(crate) stderr: PathBuf,
}

/// Asks the guard to end the runner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// How long the runner has to clean up before all is killed.
    pub(crate) grace_ms: u64,
}

/// How the runner ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It could not be started.
    NotStarted(String),
}

enum Event {
    Stop(Duration),
    RunnerEnded(Report),
    AllGone,
}

/// The guard's whole life. The program that holds a worker calls this from a subcommand of its own, before it starts
/// anything else: no thread and no runtime may be there yet.
pub fn guard_main() -> ExitCode {
    let report = match start() {
        Ok((runner, events)) => watch(runner, &events),
        Err(error) => Report::NotStarted(error.to_string()),
    };
    match serde_json::to_string(&report) {
        // The worker may be gone: then nobody needs the report.
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn start() -> io::Result<(Pid, Receiver<Event>)> {
    // A signal to the whole group or service is the worker's to answer. Children start with a clean mask: std sees to that.
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect::<SigSet>().thread_block()?;
    prctl::set_child_subreaper(true)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let runner = spawn(&serde_json::from_str(&line)?)?;
    let (send, events) = mpsc::channel();
    let to_watch = send.clone();
    std::thread::spawn(move || hear_worker(&to_watch));
    std::thread::spawn(move || reap(runner, &send));
    Ok((runner, events))
}

fn spawn(order: &Order) -> io::Result<Pid> {
    let stderr = OpenOptions::new().create(true).append(true).open(&order.stderr)?;
    let child = Command::new(&order.program)
        .args(&order.args)
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&order.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(|e| {
            io::Error::new(e.kind(), format!("{} cannot be started: {e}", order.program.display()))
        })?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

/// Turns what comes from the worker, or that nothing can come any more, into events.
fn hear_worker(events: &Sender<Event>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if let Ok(Stop { grace_ms }) = serde_json::from_str(&line) {
            let _ = events.send(Event::Stop(Duration::from_millis(grace_ms)));
        }
    }
    let _ = events.send(Event::Stop(ORPHAN_GRACE));
}

/// Waits for the runner and for all who were left to this process, until there is nobody.
fn reap(runner: Pid, events: &Sender<Event>) {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == runner => {
                let _ = events.send(Event::RunnerEnded(Report::Exited(code)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == runner => {
                let _ = events.send(Event::RunnerEnded(Report::Signalled(signal as i32)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => {
                let _ = events.send(Event::AllGone);
                return;
            }
        }
    }
}

/// Waits until nobody is left, and kills when it is time to.
fn watch(runner: Pid, events: &Receiver<Event>) -> Report {
    let mut ended = None;
    let mut kill_at: Option<Instant> = None;
    let mut killing_since = None;
    loop {
        let event = match kill_at {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Stop(grace)) => {
                if ended.is_none() && killing_since.is_none() {
                    let _ = kill(runner, Signal::SIGTERM);
                }
                kill_at = Some(sooner(kill_at, grace));
            }
            Ok(Event::RunnerEnded(report)) => {
                ended = Some(report);
                kill_at = Some(sooner(kill_at, HELPERS_GRACE));
            }
            Err(RecvTimeoutError::Timeout) => {
                let since = *killing_since.get_or_insert_with(Instant::now);
                if since.elapsed() > KILL_LIMIT {
                    break;
                }
                processes::kill_descendants();
                kill_at = Some(Instant::now() + KILL_PAUSE);
            }
            Ok(Event::AllGone) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    ended.unwrap_or(Report::Signalled(Signal::SIGKILL as i32))
}

fn sooner(at: Option<Instant>, grace: Duration) -> Instant {
    let new = Instant::now() + grace;
    at.map_or(new, |old| old.min(new))
}
