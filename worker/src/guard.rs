//! The guard: a small process between the worker and a runner, so that the runner and all its children die with the worker.
//!
//! It is [forked](crate::guards) for this runner alone, and a socket is its line to the worker. It reads one line of JSON,
//! an [`Order`], and starts what that says. When the worker's end closes (the worker is gone, in whatever way) or a
//! [`Stop`] comes, the guard asks the runner to end, so that it cleans its testbed up, and after a grace period kills every
//! process below itself. As a subreaper it inherits those whose parents died. Its last line to the worker is a [`Report`].

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, setsid},
};
use serde::{Deserialize, Serialize};

use crate::{
    guards::{self, Children},
    pace::Pace,
    processes,
};

/// How long the runner has to clean up when its worker is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(60);
/// How long the runner's helpers may live on after it, before they are killed.
const HELPERS_GRACE: Duration = Duration::from_secs(5);
/// The pause between two rounds of killing.
const KILL_PAUSE: Duration = Duration::from_millis(100);
/// What survives SIGKILL for so long hangs in the kernel; waiting longer would hold up the worker.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two looks at what runs. What forks without end makes some thousand processes meanwhile.
const COUNT_PAUSE: Duration = Duration::from_millis(200);
/// Counting takes at most one part in so many of a processor's time, unless the machine's threads grow by what is left.
const COUNT_SHARE: u32 = 20;
/// The kernel kills a test before anything else when the machine has no memory left.
const OOM_SCORE: &str = "500";

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
    /// With more threads than this, all processes taken together, it is killed.
    pub(crate) threads: Option<usize>,
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
    /// It was killed, for it had more threads than the order allows.
    TooManyThreads,
}

impl Report {
    /// Says it to the worker. That may be gone: then nobody needs the report.
    pub(crate) fn tell(&self, mut worker: &UnixStream) {
        if let Ok(line) = json_line(self) {
            let _ = worker.write_all(&line);
        }
    }
}

/// What goes over the line between worker and guard.
pub(crate) fn json_line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// The whole life of the process that forks the guards, and of each guard. The program that holds a worker calls this from
/// a subcommand of its own, before it starts anything else: no thread and no runtime may be there yet.
pub fn guard_main() -> ExitCode {
    match guards::serve() {
        Ok(Some((worker, children))) => {
            guard(worker, children);
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("no guard can be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guard(worker: UnixStream, children: Children) {
    let mut worker = BufReader::new(worker);
    let (worker, report) = match start(&mut worker) {
        Ok((runner, limit)) => {
            let mut events = Events { runner, worker: Some(worker), children };
            let report = watch(&mut events, limit.map(Count::new));
            (events.worker, report)
        }
        Err(error) => (Some(worker), Report::NotStarted(error.to_string())),
    };
    if let Some(worker) = worker {
        report.tell(worker.get_ref());
    }
}

fn start(worker: &mut BufReader<UnixStream>) -> io::Result<(Pid, Option<usize>)> {
    prctl::set_child_subreaper(true)?;
    let order = Order::deserialize(&mut serde_json::Deserializer::from_reader(worker))?;
    Ok((spawn(&order)?, order.threads))
}

fn spawn(order: &Order) -> io::Result<Pid> {
    let stderr = OpenOptions::new().create(true).append(true).open(&order.stderr)?;
    let mut command = Command::new(&order.program);
    command
        .args(&order.args)
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&order.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    detach(&mut command);
    let child = command.spawn().map_err(|e| {
        io::Error::new(e.kind(), format!("{} cannot be started: {e}", order.program.display()))
    })?;
    // Where that is not allowed the kernel chooses as ever.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), OOM_SCORE);
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

/// The program does not inherit that this process hears no signals. It gets a session of its own: the kernel shares the
/// processors out among sessions, so that a test with a thousand processes gets no more of them than its neighbour.
#[expect(unsafe_code, reason = "std has no other way to give a program its signal mask, nor its session")]
fn detach(command: &mut Command) {
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(SigSet::empty().thread_set_mask()?)
        });
    }
}

/// Looks from time to time how much runs.
struct Count {
    limit: usize,
    /// When it looks next.
    at: Instant,
    /// When it counts next.
    pace: Pace,
}

impl Count {
    fn new(limit: usize) -> Self {
        let at = Instant::now() + COUNT_PAUSE;
        Self { limit, at, pace: Pace::new(at, 0) }
    }

    /// Whether it is time, and there is too much.
    fn is_exceeded(&mut self) -> bool {
        let began = Instant::now();
        if began < self.at {
            return false;
        }
        self.at = began + COUNT_PAUSE;
        let machine = processes::threads_of_machine().unwrap_or(usize::MAX);
        // Mostly the whole machine has fewer.
        if machine <= self.limit || !self.pace.is_due(began, machine as u64) {
            return false;
        }
        let threads = processes::threads_below();
        let ended = Instant::now();
        self.at = ended + COUNT_PAUSE;
        let rest = self.limit.saturating_sub(threads);
        self.pace = Pace::new(ended + (ended - began) * COUNT_SHARE, machine.saturating_add(rest) as u64);
        threads > self.limit
    }
}

enum Event {
    Stop(Duration),
    RunnerEnded(Report),
    AllGone,
}

/// What a guard hears.
struct Events {
    runner: Pid,
    /// None when it is gone.
    worker: Option<BufReader<UnixStream>>,
    children: Children,
}

impl Events {
    /// The next one; none when there is none `until` then.
    fn next(&mut self, until: Option<Instant>) -> Option<Event> {
        loop {
            if let Some(event) = self.reap() {
                return Some(event);
            }
            let line = self.worker.as_ref();
            let is_heard = line.is_some_and(|line| !line.buffer().is_empty())
                || self.children.wait(line.map(|line| line.get_ref().as_fd()), until);
            if is_heard && let Some(event) = self.hear() {
                return Some(event);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return None;
            }
        }
    }

    /// Reaps the runner and all who were left to this process.
    fn reap(&self) -> Option<Event> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return None,
                Ok(WaitStatus::Exited(pid, code)) if pid == self.runner => {
                    return Some(Event::RunnerEnded(Report::Exited(code)));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.runner => {
                    return Some(Event::RunnerEnded(Report::Signalled(signal as i32)));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Some(Event::AllGone),
            }
        }
    }

    /// Turns what comes from the worker, or that nothing can come any more, into an event.
    fn hear(&mut self) -> Option<Event> {
        let mut line = String::new();
        if let Ok(1..) = self.worker.as_mut()?.read_line(&mut line) {
            let Stop { grace_ms } = serde_json::from_str(&line).ok()?;
            Some(Event::Stop(Duration::from_millis(grace_ms)))
        } else {
            self.worker = None;
            Some(Event::Stop(ORPHAN_GRACE))
        }
    }
}

/// Waits until nobody is left, and kills when it is time to.
fn watch(events: &mut Events, mut count: Option<Count>) -> Report {
    let mut ended = None;
    let mut kill_at: Option<Instant> = None;
    let mut killing_since = None;
    loop {
        let wake = [kill_at, count.as_ref().map(|count| count.at)].into_iter().flatten().min();
        match events.next(wake) {
            Some(Event::Stop(grace)) => {
                if ended.is_none() && killing_since.is_none() {
                    let _ = kill(events.runner, Signal::SIGTERM);
                }
                kill_at = Some(sooner(kill_at, grace));
            }
            Some(Event::RunnerEnded(report)) => {
                ended.get_or_insert(report);
                kill_at = Some(sooner(kill_at, HELPERS_GRACE));
            }
            None if count.as_mut().is_some_and(Count::is_exceeded) => {
                ended.get_or_insert(Report::TooManyThreads);
                // Not to be asked: it, or the testbed's cleaning up, could not even fork.
                kill_at = Some(Instant::now());
                count = None;
            }
            None if kill_at.is_none_or(|at| Instant::now() < at) => {}
            None => {
                let since = *killing_since.get_or_insert_with(Instant::now);
                if since.elapsed() > KILL_LIMIT {
                    break;
                }
                processes::kill_descendants();
                kill_at = Some(Instant::now() + KILL_PAUSE);
            }
            Some(Event::AllGone) => break,
        }
    }
    ended.unwrap_or(Report::Signalled(Signal::SIGKILL as i32))
}

fn sooner(at: Option<Instant>, grace: Duration) -> Instant {
    let new = Instant::now() + grace;
    at.map_or(new, |old| old.min(new))
}
