//! A burst of requests: how fast it is in the table; and a person's request behind it.

use std::{fs, time::Instant};

use anyhow::Result;
use proofhouse_tests::{
    cluster::{body, params},
    wait::wait_for,
};
use serde_json::json;

use crate::{
    bed::{Bed, PATIENCE, Site, ms_between},
    flood::{self, Letter},
    numbers::{median, quantile},
    report::{Figure, Goal, Report},
};

static BURST: Figure = Figure {
    what: "burst of 175,000 requests (25,000 x 7 arches) -> committed to the table",
    unit: "/s",
    goal: Goal::Share(0.25),
    limit: "the broker's best confirmed rate",
};
static PERSON: Figure = Figure {
    what: "a person's request behind that burst: a slot falls free -> it starts, slowest of them",
    unit: "s",
    goal: Goal::AtMost(2.0),
    limit: "the median of them",
};

const ARCHES: [&str; 7] = ["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"];
const SLOTS: usize = 4;

/// As a gate writes them when one source that many depend on was uploaded.
fn letters(packages: usize) -> Vec<Letter> {
    let letter = |package: usize, arch: &str| {
        let params = params("perl/5.40.1-6", &[]);
        (format!("debci-noble-{arch}"), format!("pkg{package}\n{params}"))
    };
    (0..packages).flat_map(|package| ARCHES.map(|arch| letter(package, arch))).collect()
}

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let letters = letters(bed.form.pick(25_000, 300));
    let rates = flood::best_rate(&site.cluster.bus, &letters[..bed.form.pick(100_000, 1000)]).await?;
    let best = rates.into_iter().fold(0.0, f64::max);
    let dispatcher = site.dispatcher(&ARCHES.join(",")).start().await?;
    let total = letters.len();
    let start = Instant::now();
    flood::publish(&site.cluster.bus, letters, 2).await?;
    let published = start.elapsed().as_secs_f64();
    // Numbers are given one after the other, and the greatest costs nothing to ask for.
    let committed = site.reaches("SELECT coalesce(max(id), 0) FROM jobs", i64::try_from(total)?).await?;
    let seconds = committed.duration_since(start).as_secs_f64();
    let settled = wait_for("the acknowledgements", PATIENCE, async || {
        site.number("SELECT count(*) FROM unsettled WHERE NOT settled")
            .await
            .is_ok_and(|n| n == 0)
            .then(Instant::now)
    });
    let settled = settled.await?.duration_since(start).as_secs_f64();
    let counted =
        site.number("SELECT count(DISTINCT (package, arch)) FROM jobs WHERE state = 'waiting'").await?;
    let jobs = site.number("SELECT count(*) FROM jobs").await?;
    anyhow::ensure!((counted, jobs) == (i64::try_from(total)?, counted), "{counted} of {total}, {jobs} jobs");
    let client = site.cluster.client().await?;
    for arch in ARCHES {
        anyhow::ensure!(
            client.depth(&format!("debci-noble-{arch}")).await? == Some(0),
            "{arch} is not empty"
        );
    }
    let rate = f64::from(u32::try_from(total)?) / seconds;
    let notes = [
        ("share of the limit", rate / best),
        ("by 1 connection, /s", rates[0]),
        ("by 2 connections, /s", rates[1]),
        ("by 4 connections, /s", rates[2]),
        ("published and confirmed after, s", published),
        ("in the table after, s", seconds),
        ("acknowledged after, s", settled),
    ];
    report.add(&BURST, rate, best, &notes);
    person(&site, report).await?;
    drop(dispatcher);
    Ok(())
}

/// All slots are taken by the burst; one falls free, once and again.
async fn person(site: &Site, report: &mut Report) -> Result<()> {
    let gate = site.gate().display().to_string();
    let _worker = site.worker("one", SLOTS).env("STAND_IN_GATE", gate).start().await?;
    wait_for("full slots", PATIENCE, async || (site.starts().len() >= SLOTS).then_some(())).await?;
    let mut waits = Vec::new();
    for n in 0..site.form.pick(20, 3) {
        let package = format!("person{n}");
        let request = json!({"triggers": [format!("{package}/1")], "requester": format!("ann{n}")});
        site.publish("debci-noble-amd64", &body(&package, &request)).await?;
        let known = "SELECT count(*) FROM jobs WHERE requesters <> ''";
        site.reaches(known, n + 1).await?;
        let (starts, ends) = (site.starts(), site.ends());
        let held = starts.keys().find(|held| !ends.contains_key(*held) && held.starts_with("pkg"));
        let Some(held) = held.cloned() else { anyhow::bail!("nothing of the burst runs: {starts:?}") };
        fs::write(site.gate().join(&held), "")?;
        let started = site.started(&package).await?;
        let free = site.ends().remove(&held).unwrap_or(started);
        waits.push(ms_between(free, started) / 1000.0);
        // Its slot goes back to the burst.
        fs::write(site.gate().join(&package), "")?;
        let (before, wanted) = (site.ends().len(), site.starts().len());
        wait_for("the burst's turn", PATIENCE, async || {
            (site.starts().len() > wanted.max(before)).then_some(())
        })
        .await?;
    }
    report.add(&PERSON, quantile(&waits, 1.0), median(&waits), &[]);
    Ok(())
}
