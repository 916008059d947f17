//! From a request on an idle queue to the start of autopkgtest's process.

use std::time::Instant;

use anyhow::{Context, Result};
use proofhouse_tests::cluster::{body, params};

use crate::{
    bed::{Bed, Site, ms_between},
    numbers::{median, quantile},
    report::{Figure, Goal, Report},
};

static MEDIAN: Figure = Figure {
    what: "publish on one of 24 idle queues -> autopkgtest's process starts, median",
    unit: "ms",
    goal: Goal::AtMost(25.0),
    limit: "a message through the broker and back",
};
static P99: Figure = Figure {
    what: "publish on one of 24 idle queues -> autopkgtest's process starts, 99th percentile",
    goal: Goal::AtMost(100.0),
    ..MEDIAN
};

const ARCHES: [&str; 6] = ["amd64", "arm64", "armhf", "i386", "ppc64el", "s390x"];
const CONTEXTS: [&str; 4] = ["", "huge-", "ppa-", "upstream-"];

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let arches = ARCHES.join(",");
    let _dispatcher = site.dispatcher(&arches).start().await?;
    let _worker = site.worker("one", 4).arg("--arches", &arches).start().await?;
    let queues: Vec<String> = ARCHES
        .iter()
        .flat_map(|arch| CONTEXTS.map(|context| format!("debci-{context}noble-{arch}")))
        .collect();
    let runs = bed.form.pick(300, 24);
    let mut waits = Vec::new();
    // The first ones warm connections and caches up.
    for n in 0..queues.len() + runs {
        let package = format!("pkg{n}");
        let request = body(&package, &params(&format!("{package}/1"), &[]));
        let asked = site.publish(&queues[n % queues.len()], &request).await?;
        let started = site.started(&package).await?;
        // Idle again before the next one.
        site.reaches("SELECT count(*) FROM jobs WHERE state = 'done'", i64::try_from(n + 1)?).await?;
        if n >= queues.len() {
            waits.push(ms_between(asked, started));
        }
    }
    let trips = round_trips(&site, runs).await?;
    let process = bare_processes(runs.min(50))?;
    let notes = [("a bare process, ms", median(&process)), ("slowest, ms", quantile(&waits, 1.0))];
    report.add(&MEDIAN, median(&waits), median(&trips), &notes);
    report.add(&P99, quantile(&waits, 0.99), quantile(&trips, 0.99), &[]);
    Ok(())
}

async fn round_trips(site: &Site, runs: usize) -> Result<Vec<f64>> {
    let client = site.cluster.client().await?;
    client.declare("trip").await?;
    let mut trips = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        site.publish("trip", b"x").await?;
        while client.take("trip").await?.is_none() {}
        trips.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(trips)
}

/// What a process costs that does nothing but note the time.
fn bare_processes(runs: usize) -> Result<Vec<f64>> {
    let one = || {
        let start = Instant::now();
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", "echo $EPOCHREALTIME"]).output().context("bash")?;
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    };
    (0..runs).map(|_| one()).collect()
}
