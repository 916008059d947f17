//! Thousands of slots in twenty worker processes, and days of runs in fast motion: every job once, and what dispatcher and
//! broker need for it.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use proofhouse_tests::{
    cluster::{body, params},
    keeper::run,
};

use crate::{
    bed::{Bed, Site},
    report::{Figure, Goal, Report},
};

/// A day's runs, by the second.
const PACE: f64 = 100_000.0 / 86_400.0;

/// The kernel's clock as programs see it, on every architecture of today.
const TICKS: f64 = 100.0;

static DISPATCHER: Figure = Figure {
    what: "5,000 slots in 20 workers: the dispatcher's share of a core at 100,000 runs a day",
    unit: "cores",
    goal: Goal::AtMost(0.5),
    limit: "the stand-in for autopkgtest alone, at that pace",
};
static BROKER: Figure = Figure {
    what: "5,000 slots in 20 workers: the broker's share of a core at 100,000 runs a day",
    ..DISPATCHER
};

/// `BENCH_RUNS` says how many runs there are, where it is set.
fn runs(bed: &Bed) -> Result<usize> {
    std::env::var("BENCH_RUNS").map_or(Ok(bed.form.pick(5000, 60)), |n| n.parse().context("BENCH_RUNS"))
}

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let (workers, slots) = bed.form.pick((20, 250), (3, 5));
    let dispatcher = site.dispatcher("amd64").start().await?;
    let mut fleet = Vec::new();
    for n in 0..workers {
        fleet.push(site.worker(&format!("w{n}"), slots).start().await?);
    }
    for worker in &fleet {
        worker.becomes_ready().await?;
    }
    let (dispatchers, brokers) = (dispatcher.process().pid()?, bed.broker().await?);
    let before = (seconds(dispatchers)?, seconds(brokers)?);
    let began = Instant::now();
    let runs = runs(bed)?;
    for n in 0..runs {
        let package = format!("pkg{n}");
        site.publish("debci-noble-amd64", &body(&package, &params(&format!("{package}/1"), &[]))).await?;
    }
    let done = "SELECT count(*) FROM jobs WHERE state = 'done'";
    // Seldom: to count a day's runs takes a while by itself.
    while site.number(done).await? < i64::try_from(runs)? {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let after = (seconds(dispatchers)?, seconds(brokers)?);
    each_once(&site, runs).await?;
    drop(fleet);
    let runs = f64::from(u32::try_from(runs)?);
    let alone = alone(&site).await? * PACE;
    let notes = [("runs a second, all on one machine", runs / took), ("runs", runs)];
    report.add(&DISPATCHER, (after.0 - before.0) / runs * PACE, alone, &notes);
    report.add(&BROKER, (after.1 - before.1) / runs * PACE, alone, &[]);
    Ok(())
}

/// Each job has one attempt, one start and one result.
async fn each_once(site: &Site, runs: usize) -> Result<()> {
    let runs = i64::try_from(runs)?;
    let starts = fs::read_to_string(site.cluster.folder().join("starts"))?;
    anyhow::ensure!(i64::try_from(starts.lines().count())? == runs, "started more than once");
    anyhow::ensure!(i64::try_from(site.starts().len())? == runs, "not all were started");
    for table in ["SELECT count(*) FROM attempts", "SELECT count(*) FROM results WHERE stored"] {
        let found = site.number(table).await?;
        anyhow::ensure!(found == runs, "{table}: {found} of {runs}");
    }
    Ok(())
}

/// What a process has used of the processor, in seconds.
pub(crate) fn seconds(process: Pid) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in brackets and may hold anything.
    let rest = text.rsplit_once(')').context("a process's account")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS)
}

/// What the stand-in alone uses, in seconds of a core for one run.
async fn alone(site: &Site) -> Result<f64> {
    const TIMES: u32 = 100;
    let folder = site.cluster.folder().join("alone");
    let script = format!(
        "for n in $(seq {TIMES}); do {} --output-dir {1}/$n pkg$n --timeout-short=300; done >/dev/null; times",
        concat!(env!("CARGO_MANIFEST_DIR"), "/bench/autopkgtest.sh"),
        folder.display(),
    );
    let mut command = Command::new("bash");
    command.arg("-c").arg(script);
    command.env("STAND_IN_STARTS", "/dev/null").env("STAND_IN_ENDS", "/dev/null");
    let printed = run(command).await?;
    // The last line: user and system time of the shell's children, as 0m1.234s.
    let children = printed.lines().last().context("times")?;
    let used: f64 =
        children.split_whitespace().map(minutes_and_seconds).sum::<Option<f64>>().context("times")?;
    Ok(used / f64::from(TIMES))
}

fn minutes_and_seconds(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}
