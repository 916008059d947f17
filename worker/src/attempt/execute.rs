//! The run itself: autopkgtest under its guard, the log as it grows, the evidence at the end.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use proofhouse_core::{
    faults::{self, Step},
    outcome::{Class, ExitCode, Fault, RuleHit, RuleVerdict},
    request::Request,
    rules::{Findings, OUT_OF_MEMORY},
};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::{
    Attempt, Over,
    excess::{Excess, takes_too_much},
    prepare::{Prepared, fault_of},
};
use crate::{
    disk::{self, Disk},
    evidence::{self, Ending, RunInfo},
    files,
    guard::{Order, Report},
    log::{self, Follower, Tail},
    memory::Kills,
    runner::Runner,
    settings::Provider,
    status::{self, Shown},
    testbed,
    workdir::WorkDir,
};

/// How long autopkgtest has to remove its testbed.
const GRACE: Duration = Duration::from_secs(60);
/// The same when this process is to end within seconds.
const HARD_GRACE: Duration = Duration::from_secs(4);
/// What a run that took too much is published with: a test failed.
const TOOK_TOO_MUCH: ExitCode = ExitCode(4);
/// How often it is looked whether the disk is full.
const WATCH: Duration = Duration::from_secs(2);

/// How a run ended, and what is left of it.
pub(super) struct Outcome {
    pub(super) ending: Ending,
    pub(super) version: Option<String>,
    pub(super) fault: Option<Fault>,
    pub(super) detail: String,
    /// The rule of the log that matched.
    pub(super) rule: Option<RuleHit>,
}

/// How the runner's time ended.
struct End {
    report: Report,
    fault: Option<(Fault, String)>,
    excess: Option<Excess>,
}

/// Runs the test. Status messages go on until the guard that is returned with the outcome is dropped.
pub(super) async fn execute(attempt: &Attempt, prepared: &Prepared) -> Result<(Outcome, DropGuard), Over> {
    let work = &prepared.work;
    let rules = attempt.shared.settings.rules.clone();
    let follower = Follower::start(work.out().join("log"), &work.log(), prepared.redactor(), rules)
        .map_err(|error| fault_of(&error))?;
    let tail = follower.tail();
    let private = prepared.request.is_private();
    let _watched = attempt.shared.watched.open(attempt.id(), follower.reader(), private);
    let mut runner = Runner::start(&attempt.shared.guards, order(attempt, prepared), work.path())
        .await
        .map_err(|error| Over::Fault(Fault::Worker, format!("the guard cannot be started: {error}")))?;
    faults::reached(Step::Started);
    let status = tell(attempt, prepared, tail.clone());
    let began = Instant::now();
    let end = watch(attempt, &prepared.work, &mut runner, &follower, began).await;
    let duration = began.elapsed().as_secs();
    delete_testbed(attempt, &end).await;
    let excess = end.as_ref().ok().and_then(|end| end.excess);
    let note = excess.map(|excess| excess.note(attempt.limits()));
    let packed = finish_log(attempt, prepared, follower, note, tail).await;
    let End { report, mut fault, .. } = end?;
    let findings =
        packed.map_err(|error| fault.get_or_insert((log_fault(&error), log::describe(&error)))).ok();
    let exit_code = match report {
        Report::Exited(code) => ExitCode(code),
        Report::Signalled(signal) => ExitCode(-signal),
        Report::TooManyThreads => TOOK_TOO_MUCH,
        Report::NotStarted(reason) => return Err(Over::Fault(Fault::Worker, reason)),
    };
    let exit_code = excess.map_or(exit_code, |_| TOOK_TOO_MUCH);
    attempt.shared.settings.metrics.worker.runs.with_label_values(&[exit_code.class().as_str()]).inc();
    info!(exit_code = exit_code.0, duration_seconds = duration, "attempt {}: the runner ended", attempt.id());
    let ending = Ending { exit_code, duration };
    let rule = match (excess, &fault) {
        (Some(excess), _) => Some(excess.hit()),
        (None, Some((Fault::BrokeTestbed, _))) => {
            Some(RuleHit { name: OUT_OF_MEMORY.to_owned(), verdict: RuleVerdict::Package })
        }
        (None, _) => findings.and_then(|findings| findings.decide(exit_code, &prepared.request.package)),
    };
    Ok((outcome(attempt, prepared, ending, fault, rule).await?, status))
}

/// autopkgtest removes its testbed, unless it is killed.
async fn delete_testbed(attempt: &Attempt, end: &Result<End, Over>) {
    let ended_by_itself = matches!(end, Ok(End { report: Report::Exited(_), .. }));
    if let Provider::Lxd(lxd) = &attempt.shared.settings.provider
        && !ended_by_itself
    {
        testbed::lxd::delete_of(lxd, attempt.shared.name.as_str(), attempt.id()).await;
    }
}

fn order(attempt: &Attempt, prepared: &Prepared) -> Order {
    let work = &prepared.work;
    // On this machine itself a test's own user must get at its temporary files: they lie where everybody's do.
    let local = matches!(attempt.shared.settings.provider, Provider::Null { .. });
    let temp = (!local).then(|| ("TMPDIR".to_owned(), work.temp().into()));
    let path = prepared.path.clone().map(|path| ("PATH".to_owned(), path));
    Order {
        program: prepared.line.program.clone(),
        args: prepared.line.args.clone(),
        env: temp.into_iter().chain(path).collect(),
        folder: work.path().to_owned(),
        stderr: work.stderr(),
        threads: Some(attempt.limits().threads),
    }
}

/// Begins to send status messages.
fn tell(attempt: &Attempt, prepared: &Prepared, tail: Arc<Mutex<Tail>>) -> DropGuard {
    let shared = &attempt.shared;
    let shown =
        Shown::new(&attempt.grant, &prepared.request, shared.name.as_str(), shared.settings.provider.name());
    let over = CancellationToken::new();
    shared.tasks.spawn(status::send_until(over.clone(), shared.bus.clone(), shown, tail));
    over.drop_guard()
}

/// Waits for the runner's end, and ends it where it must.
async fn watch(
    attempt: &Attempt,
    work: &WorkDir,
    runner: &mut Runner,
    follower: &Follower,
    began: Instant,
) -> Result<End, Over> {
    let limit = Duration::from_secs(attempt.grant.end_seconds);
    let data = &attempt.shared.settings.data;
    let kills = Kills::now();
    let mut ticks = tokio::time::interval(WATCH);
    let mut takes_too_much = std::pin::pin!(takes_too_much(attempt, work));
    loop {
        let (fault, detail) = tokio::select! {
            report = runner.wait() => {
                let excess = (report == Report::TooManyThreads).then_some(Excess::Threads);
                let has_passed = matches!(report, Report::Exited(0 | 2 | 8));
                let fault = if has_passed || excess.is_some() { None } else { by_want(attempt, kills) };
                return Ok(End { report, fault, excess });
            }
            over = attempt.interrupted() => {
                kill(attempt, runner, GRACE).await;
                return Err(over);
            }
            excess = &mut takes_too_much => {
                // A testbed in the work folder goes with it, and takes more until it is gone.
                let grace = if is_local(attempt) { Duration::ZERO } else { GRACE };
                let report = kill(attempt, runner, grace).await;
                return Ok(End { report, fault: None, excess: Some(excess) });
            }
            () = tokio::time::sleep_until(began + limit) => {
                (Fault::TimedOut, format!("it was killed after {} seconds", limit.as_secs()))
            }
            _ = ticks.tick() => {
                if !follower.has_failed() && !is_full(data) {
                    continue;
                }
                full()
            }
        };
        let report = kill(attempt, runner, GRACE).await;
        return Ok(End { report, fault: Some((fault, detail)), excess: None });
    }
}

/// Whether the testbed is on this machine.
fn is_local(attempt: &Attempt) -> bool {
    !matches!(attempt.shared.settings.provider, Provider::Lxd(_))
}

/// Whether a test may have failed because this machine had no room or memory left, whoever took it. Nobody can tell the one
/// that took the memory from its neighbours but by trying again: it is the one that fails so on every attempt (contract
/// "Whose fault was it", 16).
fn by_want(attempt: &Attempt, before: Option<Kills>) -> Option<(Fault, String)> {
    let ran_out = is_local(attempt) && before.is_some_and(|before| before.until(Kills::now()));
    let broke =
        || (Fault::BrokeTestbed, "the kernel killed processes for want of memory meanwhile".to_owned());
    if is_full(&attempt.shared.settings.data) { Some(full()) } else { ran_out.then(broke) }
}

fn is_full(data: &Path) -> bool {
    !Disk::of(data).is_ok_and(|disk| !disk.is_full())
}

fn full() -> (Fault, String) {
    (Fault::DiskFull, "the disk was full in mid-test".to_owned())
}

/// Ends the runner: it may clean its testbed up, for a shorter time once the worker is stopped hard.
async fn kill(attempt: &Attempt, runner: &mut Runner, grace: Duration) -> Report {
    runner.stop(grace).await;
    tokio::select! {
        report = runner.wait() => return report,
        () = attempt.shared.stop.hard.cancelled() => {}
    }
    runner.stop(HARD_GRACE).await;
    runner.wait().await
}

/// Closes the packed log. Where autopkgtest made no log, its last words take that place.
async fn finish_log(
    attempt: &Attempt,
    prepared: &Prepared,
    follower: Follower,
    note: Option<String>,
    tail: Arc<Mutex<Tail>>,
) -> io::Result<Findings> {
    let findings = follower.finish(note.clone()).await?;
    let log = prepared.work.out().join("log");
    if files::open_regular(&log).and_then(|file| file.metadata()).is_ok_and(|meta| meta.len() > 0) {
        return Ok(findings);
    }
    let (work, redactor) = (prepared.work.clone(), prepared.redactor());
    let rules = attempt.shared.settings.rules.clone();
    tokio::task::spawn_blocking(move || log::pack(&work.stderr(), &work.log(), redactor, rules, tail, note))
        .await
        .map_err(io::Error::other)?
}

fn log_fault(error: &io::Error) -> Fault {
    if disk::is_full(error) { Fault::DiskFull } else { Fault::Worker }
}

/// Packs the artifacts, and reads what was tested.
async fn outcome(
    attempt: &Attempt,
    prepared: &Prepared,
    ending: Ending,
    mut fault: Option<(Fault, String)>,
    rule: Option<RuleHit>,
) -> Result<Outcome, Over> {
    let work = prepared.work.clone();
    let limit = attempt.limits().output_bytes;
    let packing =
        tokio::task::spawn_blocking(move || evidence::collect(&work.out(), &work.artifacts(), limit));
    let collected = attempt.unless_interrupted(packing).await?.unwrap_or_else(|e| Err(io::Error::other(e)));
    let version = collected.unwrap_or_else(|error| {
        fault.get_or_insert(unpacked(&error));
        None
    });
    let fault = fault.or_else(|| old_version(&prepared.request, ending.exit_code, version.as_deref()?));
    let (fault, detail) = fault.map_or((None, String::new()), |(fault, detail)| (Some(fault), detail));
    Ok(Outcome { ending, version, fault, detail, rule })
}

/// A result is about nothing that was asked for when what was tested is older than the run's own trigger. What comes from
/// a repository has versions of its own.
fn old_version(request: &Request, exit_code: ExitCode, tested: &str) -> Option<(Fault, String)> {
    let is_result = matches!(exit_code.class(), Class::Pass | Class::Neutral | Class::Fail);
    let from_archive =
        request.test_git.is_none() && request.build_git.is_none() && request.test_bzr.is_none();
    if !is_result || !from_archive {
        return None;
    }
    let trigger = evidence::newer_trigger(tested, &request.triggers)?;
    let detail =
        if request.is_private() { String::new() } else { format!("{tested} was tested, not {trigger}") };
    Some((Fault::OldVersion, detail))
}

/// The kind alone: the whole error can name a private run's files.
fn unpacked(error: &io::Error) -> (Fault, String) {
    (log_fault(error), format!("the evidence cannot be packed: {}", error.kind()))
}

/// `result.tar`, with what the leader made of the end.
pub(super) async fn result_tar(
    attempt: &Attempt,
    prepared: &Prepared,
    ending: Ending,
    exit_code: Option<ExitCode>,
    rule: Option<String>,
) -> Result<Vec<u8>, Over> {
    let (work, request) = (prepared.work.clone(), prepared.request.clone());
    let run = RunInfo {
        uuid: attempt.grant.uuid,
        worker: attempt.shared.name.to_string(),
        attempt: attempt.id().attempt,
        rule,
        runner_exit_code: ending.exit_code,
    };
    let ending = Ending { exit_code: exit_code.unwrap_or(ending.exit_code), ..ending };
    let packing =
        tokio::task::spawn_blocking(move || evidence::result_tar(&work.out(), &request, &run, ending));
    let packed = attempt.unless_interrupted(packing).await?.unwrap_or_else(|e| Err(io::Error::other(e)));
    packed.map_err(|error| {
        let (fault, detail) = unpacked(&error);
        Over::Fault(fault, detail)
    })
}
