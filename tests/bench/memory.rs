//! What a worker's slots need.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use proofhouse_tests::{
    cluster::{body, params},
    proofhouse::Proofhouse,
    wait::wait_for,
};

use crate::{
    bed::{Bed, PATIENCE},
    report::{Figure, Goal, Report},
};

static IDLE: Figure = Figure {
    what: "memory of a worker with 1,000 idle slots, per slot beyond the first",
    unit: "MB",
    goal: Goal::AtMost(0.1),
    limit: "the whole worker with one slot",
};
static RUNNING: Figure = Figure {
    what: "memory of a worker with 200 running slots, per slot, without tests and guards",
    goal: Goal::AtMost(0.4),
    ..IDLE
};
static GUARDED: Figure = Figure {
    what: "memory of a worker with 200 running slots, per slot, with the tests' guards",
    goal: Goal::AtMost(0.4),
    ..IDLE
};

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let _dispatcher = site.dispatcher("amd64").start().await?;
    let one = {
        let worker = site.worker("one", 1).start().await?;
        worker.becomes_ready().await?;
        megabytes(worker.process().pid()?, "Rss:")?
    };
    let (idle, running) = bed.form.pick((1000, 200), (100, 5));
    let many = {
        let worker = site.worker("idle", idle).start().await?;
        worker.becomes_ready().await?;
        megabytes(worker.process().pid()?, "Rss:")?
    };
    report.add(&IDLE, (many - one) / (count(idle) - 1.0), one, &[("whole, MB", many)]);
    let gate = site.gate().display().to_string();
    let worker = site.worker("busy", running).env("STAND_IN_GATE", gate).start().await?;
    for n in 0..running {
        let package = format!("pkg{n}");
        site.publish("debci-noble-amd64", &body(&package, &params(&format!("{package}/1"), &[]))).await?;
    }
    wait_for("all to run", PATIENCE, async || (site.starts().len() == running).then_some(())).await?;
    let busy = megabytes(worker.process().pid()?, "Rss:")?;
    let guards = guards(&worker)?;
    let per_slot = |whole: f64| (whole - one) / count(running);
    report.add(&RUNNING, per_slot(busy), one, &[("whole, MB", busy)]);
    report.add(&GUARDED, per_slot(busy + guards), one, &[("guards, MB", guards)]);
    for n in 0..running {
        fs::write(site.gate().join(format!("pkg{n}")), "")?;
    }
    let done = "SELECT count(*) FROM jobs WHERE state = 'done'";
    site.reaches(done, i64::try_from(running)?).await?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred slots")]
fn count(slots: usize) -> f64 {
    slots as f64
}

/// A line of the kernel's account of a process's memory, in MB.
fn megabytes(process: Pid, name: &str) -> Result<f64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("its memory")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1000.0 * 1.024)
}

/// What the guards and the process that forks them need, in MB: its children of the same program. What they have in common
/// counts once.
fn guards(worker: &Proofhouse) -> Result<f64> {
    let own = worker.process().pid()?;
    let program = |pid: Pid| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let ours = program(own);
    let guards = worker.processes().into_iter().filter(|pid| *pid != own && program(*pid) == ours);
    guards.map(|guard| megabytes(guard, "Pss:")).sum()
}
