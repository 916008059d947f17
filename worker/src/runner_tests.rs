//! The guard with real processes.

use std::{ffi::OsString, fs, time::Instant};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::*;

/// The example `guard`, built beside the tests.
fn guard() -> Vec<OsString> {
    let deps = std::env::current_exe().unwrap();
    let guard = deps.ancestors().nth(2).unwrap().join("examples/guard");
    assert!(guard.exists(), "{} is missing: cargo test builds it", guard.display());
    vec![guard.into_os_string()]
}

struct Lab {
    folder: tempfile::TempDir,
    guards: Guards,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), guards: Guards::new(guard()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, program: &str, args: &[&str]) -> Runner {
        self.start_with(None, program, args).await
    }

    async fn start_with(&self, threads: Option<usize>, program: &str, args: &[&str]) -> Runner {
        let order = Order {
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            env: Vec::new(),
            folder: self.folder.path().to_owned(),
            stderr: self.path("stderr"),
            threads,
        };
        Runner::start(&self.guards, order, self.folder.path()).await.unwrap()
    }

    async fn script(&self, text: &str) -> Runner {
        self.start("sh", &["-c", text]).await
    }

    /// The whole line that a script wrote to a file.
    async fn line(&self, name: &str) -> String {
        loop {
            match fs::read_to_string(self.path(name)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn pid(&self, name: &str) -> Pid {
        Pid::from_raw(self.line(name).await.parse().unwrap())
    }
}

/// A runner's parent is its guard, whose parent is the process that forks them all.
fn parent(pid: Pid) -> Pid {
    Pid::from_raw(processes::all()[&pid.as_raw()].parent)
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

async fn until_gone(pid: Pid) {
    while !is_gone(pid) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two that ignore SIGTERM: the runner, and a child that left its group, its session and its parent.
const STUBBORN: &str =
    "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ > far; while :; do sleep 1; done' &)
    echo $$ > near; while :; do sleep 1; done";

#[tokio::test]
async fn ends_are_reported() {
    let lab = Lab::new();
    assert_eq!(lab.script("echo out; echo err >&2; exit 14").await.wait().await, Report::Exited(14));
    assert_eq!(lab.line("stderr").await, "err");
    assert_eq!(lab.script("kill -9 $$").await.wait().await, Report::Signalled(9));
    let missing = lab.start("/does/not/exist", &[]).await.wait().await;
    assert!(matches!(&missing, Report::NotStarted(why) if why.contains("/does/not/exist")), "{missing:?}");
}

#[tokio::test]
async fn a_runner_may_clean_up() {
    let lab = Lab::new();
    let mut runner =
        lab.script("trap 'echo yes > clean; exit 3' TERM; echo > up; while :; do sleep 0.01; done").await;
    lab.line("up").await;
    runner.stop(Duration::from_secs(60)).await;
    assert_eq!(runner.wait().await, Report::Exited(3));
    assert_eq!(lab.line("clean").await, "yes");
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_wherever_it_went() {
    let lab = Lab::new();
    let mut runner = lab.script(STUBBORN).await;
    let (near, far) = (lab.pid("near").await, lab.pid("far").await);
    runner.stop(Duration::from_secs(60)).await;
    // A second, shorter grace counts.
    runner.stop(Duration::from_millis(50)).await;
    assert_eq!(runner.wait().await, Report::Signalled(9));
    assert!(is_gone(near) && is_gone(far));
}

/// Each forks two more. It ends by itself before the machine is lost.
const FORKS: &str =
    "fork() { set -- /proc/[0-9]*; [ $# -lt 2000 ] || exit; fork & fork & wait; sleep 100; }; fork";

#[tokio::test]
async fn who_forks_without_end_is_killed_with_all_that_it_forked() {
    let lab = Lab::new();
    let mut runner = lab.start_with(Some(200), "sh", &["-c", FORKS]).await;
    assert_eq!(runner.wait().await, Report::TooManyThreads);
    let here = lab.folder.path().canonicalize().unwrap();
    let works_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == here);
    assert_eq!(processes::all().into_keys().filter(works_here).count(), 0);
}

#[tokio::test]
async fn what_a_runner_leaves_behind_is_killed() {
    let lab = Lab::new();
    let mut runner = lab.script("(setsid sh -c 'echo $$ > far; exec sleep 1000' &) ; exit 4").await;
    let far = lab.pid("far").await;
    let began = Instant::now();
    assert_eq!(runner.wait().await, Report::Exited(4));
    assert!(is_gone(far) && began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn the_runner_dies_with_its_worker() {
    let lab = Lab::new();
    let runner = lab
        .script("trap 'echo yes > clean; exit 3' TERM; echo $$ > near; while :; do sleep 0.01; done")
        .await;
    let near = lab.pid("near").await;
    // All that a worker's death does, in whatever way it dies: its end of the pipe closes.
    drop(runner);
    assert_eq!(lab.line("clean").await, "yes");
    until_gone(near).await;
}

#[tokio::test]
async fn a_guard_that_is_killed_leaves_nobody_behind() {
    let lab = Lab::new();
    let mut runner = lab.script(STUBBORN).await;
    let (near, far) = (lab.pid("near").await, lab.pid("far").await);
    kill(parent(near), Signal::SIGKILL).unwrap();
    assert_eq!(runner.wait().await, Report::Signalled(9));
    until_gone(near).await;
    until_gone(far).await;
}

/// Writes its process to the file that stands behind it, and ends with 3 when it is asked to.
fn waits(name: &str) -> String {
    format!("trap 'exit 3' TERM; echo $$ > {name}; while :; do sleep 0.01; done")
}

#[tokio::test]
async fn a_runner_hears_all_signals() {
    let lab = Lab::new();
    // A shell would unblock them by itself.
    let mut runner =
        lab.start("sed", &["-n", "s/^SigBlk:[[:blank:]]*//w blocked", "/proc/self/status"]).await;
    assert_eq!(runner.wait().await, Report::Exited(0));
    assert_eq!(lab.line("blocked").await, "0000000000000000");
}

#[tokio::test]
async fn the_process_that_forks_is_replaced_when_it_is_gone() {
    let lab = Lab::new();
    let mut before = lab.script(&waits("before")).await;
    let server = parent(parent(lab.pid("before").await));
    kill(server, Signal::SIGKILL).unwrap();
    until_gone(server).await;
    let mut after = lab.script(&waits("after")).await;
    assert_ne!(parent(parent(lab.pid("after").await)), server);
    for runner in [&mut before, &mut after] {
        runner.stop(Duration::from_secs(60)).await;
        assert_eq!(runner.wait().await, Report::Exited(3));
    }
}

#[tokio::test]
async fn the_process_that_forks_dies_with_its_worker_and_the_guards_with_their_runners() {
    let lab = Lab::new();
    let runner = lab.script(&waits("near")).await;
    let near = lab.pid("near").await;
    let guard = parent(near);
    let server = parent(guard);
    let Lab { folder, guards } = lab;
    drop(guards);
    until_gone(server).await;
    assert!(!is_gone(guard) && !is_gone(near));
    drop(runner);
    until_gone(guard).await;
    assert!(is_gone(near));
    drop(folder);
}

#[tokio::test]
async fn each_line_is_held_by_its_two_ends_alone() {
    let lab = Lab::new();
    let dropped = lab.script(&waits("dropped")).await;
    let mut killed = lab.script(&waits("killed")).await;
    let mut last = lab.script(&waits("last")).await;
    let [first, second, third] = [lab.pid("dropped").await, lab.pid("killed").await, lab.pid("last").await];
    // A line that anybody else held would not close with its end.
    drop(dropped);
    until_gone(first).await;
    assert!(!is_gone(second) && !is_gone(third));
    kill(parent(second), Signal::SIGKILL).unwrap();
    assert_eq!(killed.wait().await, Report::Signalled(9));
    // It carries the same mark here; its guard lives and says so.
    assert_eq!(last.wait().await, Report::Signalled(9));
}

#[tokio::test]
async fn many_start_at_once() {
    let lab = Lab::new();
    let runs = (0..100).map(|n| {
        let lab = &lab;
        async move { lab.script(&format!("exit {n}")).await.wait().await }
    });
    let ends = futures::future::join_all(runs).await;
    assert!(ends.into_iter().eq((0..100).map(Report::Exited)));
}
