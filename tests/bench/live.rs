//! Logs while they run: many people follow some of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures::StreamExt;
use proofhouse_tests::{cluster::body, wait::wait_for};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    bed::{Bed, PATIENCE, ms_between},
    fleet::seconds,
    numbers::{median, quantile},
    report::{Figure, Goal, Report},
};

static LAG: Figure = Figure {
    what: "500 people follow 50 running logs: a line is written -> they have it, 99th percentile",
    unit: "ms",
    goal: Goal::AtMost(2000.0),
    limit: "the median of them",
};

/// How many people follow each log.
const EACH: usize = 10;
/// What the stand-in writes each second, before the time.
const TICK: &str = "tick ";

pub(crate) async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let site = bed.site().await?;
    let logs = bed.form.pick(50, 3);
    let _dispatcher = site.dispatcher("amd64").start().await?;
    let web = site.cluster.web().quiet().start().await?;
    let gate = site.gate().display().to_string();
    let worker = site.worker("one", logs).env("STAND_IN_GATE", gate).env("STAND_IN_TICK", "1");
    let _worker = worker.start().await?;
    let mut urls = Vec::new();
    for n in 0..logs {
        let (package, uuid) = (format!("pkg{n}"), Uuid::new_v4().to_string());
        let request = json!({"triggers": [format!("{package}/1")], "uuid": uuid});
        site.publish("debci-noble-amd64", &body(&package, &request)).await?;
        urls.push(format!("{}/run/{uuid}/log/events", web.site_url()?));
    }
    wait_for("all to run", PATIENCE, async || (site.starts().len() == logs).then_some(())).await?;
    let mut people = JoinSet::new();
    let (warm, lasts) = (Duration::from_secs(bed.form.pick(5, 2)), Duration::from_secs(bed.form.pick(20, 4)));
    for url in &urls {
        for _ in 0..EACH {
            people.spawn(follow(url.clone(), warm, lasts));
        }
    }
    let process = web.process().pid()?;
    let (start, before) = (Instant::now(), seconds(process)?);
    let mut waits = Vec::new();
    while let Some(seen) = people.join_next().await {
        let seen = seen??;
        anyhow::ensure!(!seen.is_empty(), "somebody saw nothing");
        waits.extend(seen);
    }
    let cores = (seconds(process)? - before) / start.elapsed().as_secs_f64();
    let notes = [("slowest, ms", quantile(&waits, 1.0)), ("cores that the site takes", cores)];
    report.add(&LAG, quantile(&waits, 0.99), median(&waits), &notes);
    Ok(())
}

/// How long after they were written the lines came, in milliseconds; those of the beginning do not count.
async fn follow(url: String, warm: Duration, lasts: Duration) -> Result<Vec<f64>> {
    let client = Client::builder().no_proxy().build()?;
    let mut stream = events(&client, &url).await?.bytes_stream();
    let (begin, mut lags, mut rest) = (Instant::now(), Vec::new(), String::new());
    while begin.elapsed() < lasts {
        let Ok(piece) = tokio::time::timeout(lasts, stream.next()).await else { break };
        rest += &String::from_utf8_lossy(&piece.context("the events ended")??);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // The last line may not be whole yet.
        let Some((whole, last)) = rest.rsplit_once('\n') else { continue };
        if begin.elapsed() > warm {
            lags.extend(whole.split(TICK).skip(1).filter_map(written).map(|at| ms_between(at, now)));
        }
        rest = last.to_owned();
    }
    Ok(lags)
}

/// The dispatcher may note that it runs after its process has started.
async fn events(client: &Client, url: &str) -> Result<Response> {
    let start = Instant::now();
    loop {
        let answer = client.get(url).header("accept", "text/event-stream").send().await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        anyhow::ensure!(start.elapsed() < Duration::from_secs(10), "{url}: {}", answer.status());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// When a line was written, behind the word before it.
fn written(text: &str) -> Option<Duration> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Duration::from_micros(digits.parse().ok()?))
}
