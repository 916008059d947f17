//! The old system's database writer, publisher and collectors beside Proofhouse, on one broker: they follow it, and what
//! they write is what Proofhouse publishes.
//!
//! `make upstream OPERATORS_DIR=…` runs it; `OPERATORS_DIR` is a checkout of ubuntu-autopkgtest-operators, of which nothing
//! is changed. `shim.py` tells the programs the broker's port.

mod archive;
mod programs;
mod tables;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use proofhouse_tests::{
    amqp::AmqpClient,
    cluster::{PATIENCE, SEAL_KEY, body, stand_in},
    keeper::Keeper,
    postgres::Postgres,
    proofhouse::{Proofhouse, Role},
    rabbit::Rabbit,
    wait::wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{archive::Archive, programs::Programs, tables::Tables};

const QUEUE: &str = "debci-noble-amd64";
/// How far apart the durations may be that two readers of the same messages show, in seconds.
const SECONDS_APART: i64 = 30;

struct Servers {
    rabbit: Rabbit,
    archive: Archive,
    database: String,
    folder: TempDir,
    _postgres: Postgres,
}

impl Servers {
    async fn start() -> Result<Self> {
        let postgres = Postgres::start().await?;
        let database = postgres.database("proofhouse").await?;
        let (rabbit, archive) = (Rabbit::start().await?, Archive::start().await?);
        Ok(Self { rabbit, archive, database, folder: tempfile::tempdir()?, _postgres: postgres })
    }

    fn role(&self, name: &str) -> Role {
        let store = format!("file://{}", self.folder.path().join("store").display());
        let role = Proofhouse::role(name).arg("--bus", self.rabbit.url()).arg("--store", store);
        role.arg("--releases", "noble").arg("--arches", "amd64").env("PROOFHOUSE_SEAL_KEY", SEAL_KEY)
    }

    fn dispatcher(&self) -> Role {
        let dispatcher = self.role("dispatcher").arg("--database", &self.database);
        dispatcher.arg("--archive", &self.archive.url).arg("--archive-components", "main,universe")
    }

    fn worker(&self) -> Role {
        let worker = self.role("worker").arg("--provider", "null").arg("--slots", "3");
        let starts = self.folder.path().join("starts").display().to_string();
        worker.arg("--autopkgtest", stand_in()).arg("--min-free-mib", "1").env("STAND_IN_STARTS", starts)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn upstreams_programs_follow_proofhouse() -> Result<()> {
    let servers = Servers::start().await?;
    let programs = Programs::new(&servers.rabbit.url(), &servers.archive.url)?;
    let dispatcher = servers.dispatcher().start().await?;
    let web = servers.role("web").arg("--database", &servers.database).start().await?;
    let worker = servers.worker().start().await?;
    let site = web.site_url()?;
    let _following =
        (programs.start("autopkgtest-db-writer")?, programs.start("autopkgtest-running-collector")?);
    let client = AmqpClient::connect(&servers.rabbit.url()).await?;
    for queue in ["complete-listener", "running-listener"] {
        let bound = async || client.depth(queue).await.ok().flatten().map(drop);
        wait_for(&format!("the queue {queue}"), PATIENCE, bound).await?;
    }
    collectors_agree_on_what_runs(&servers, &programs, &client, &site).await?;
    databases_hold_the_same(&programs, &client, &site).await?;
    drop(worker);
    dispatcher.sigterm()?;
    dispatcher.wait(Duration::from_secs(30)).await?;
    collectors_agree_on_what_waits(&servers, &programs, &client, &site).await
}

/// The running-collector's file is `/static/running.json`, while tests run and once they are over.
async fn collectors_agree_on_what_runs(
    servers: &Servers,
    programs: &Programs,
    client: &AmqpClient,
    site: &str,
) -> Result<()> {
    let go = servers.file("go");
    let hold = format!("HOLD={}", go.display());
    let asked =
        json!({"triggers": ["green/2", "a/1"], "env": [hold], "all-proposed": "1", "requester": "joe"});
    client.publish(QUEUE, &body("green", &asked)).await?;
    client
        .publish("debci-huge-noble-amd64", &body("blue", &json!({"triggers": ["b/1"], "env": [hold]})))
        .await?;
    let private = json!({"triggers": ["c/1"], "env": [hold], "swiftuser": "reader", "readable-by": ["ann"]});
    client.publish(QUEUE, &body("secret", &private)).await?;
    let same = async || {
        let theirs = programs.json("running.json").ok()?;
        let ours: Value =
            reqwest::get(format!("{site}/static/running.json")).await.ok()?.json().await.ok()?;
        let all = ["green", "blue", "private-test"].iter().all(|package| theirs[package].is_object());
        (all && runs(&theirs) == runs(&ours) && durations_agree(&theirs, &ours)).then_some(theirs)
    };
    let running = wait_for("two equal running.json", PATIENCE, same).await?;
    assert!(!running.to_string().contains("secret"));
    fs::write(go, "")?;
    let over = async || (programs.json("running.json").ok()? == json!({})).then_some(());
    wait_for("an empty running.json", PATIENCE, over).await
}

/// Each run by package, hash, release and arch: its parameters and the log's tail.
fn runs(running: &Value) -> Vec<String> {
    leaves(running, 4, "").into_iter().map(|(path, run)| format!("{path} {} {}", run[0], run[2])).collect()
}

fn durations_agree(one: &Value, other: &Value) -> bool {
    let durations =
        |running| leaves(running, 4, "").into_iter().map(|(_, run)| run[1].as_i64().unwrap_or(-1));
    durations(one).zip(durations(other)).all(|(a, b)| a >= 0 && b >= 0 && (a - b).abs() <= SECONDS_APART)
}

/// What lies so deep in nested objects, sorted by its path.
fn leaves(value: &Value, depth: usize, path: &str) -> Vec<(String, Value)> {
    if depth == 0 {
        return vec![(path.to_owned(), value.clone())];
    }
    let mut all: Vec<_> = value
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(key, value)| leaves(value, depth - 1, &format!("{path}/{key}")))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The writer's database and the publisher's copy of it hold what `/static/autopkgtest.db` holds.
async fn databases_hold_the_same(programs: &Programs, client: &AmqpClient, site: &str) -> Result<()> {
    for (queue, package, params) in [
        (QUEUE, "fails", json!({"triggers": ["a/1", "b/2"], "env": ["EXIT=4"], "requester": "joe"})),
        (QUEUE, "neutral", json!({"triggers": ["a/1"], "env": ["EXIT=8"]})),
        (QUEUE, "green", json!({"triggers": ["migration-reference/0"]})),
        (QUEUE, "one", json!({"triggers": ["a/1"], "all-proposed": "1", "testname": "smoke"})),
        (
            "debci-huge-noble-amd64",
            "libgreen",
            json!({"triggers": ["linux/6.8.0-1~24.04"], "env": ["EXIT=2"]}),
        ),
        ("debci-upstream-noble-amd64", "branch", json!({"build-git": "https://example.org/x#main"})),
        ("debci-ppa-noble-amd64", "fromppa", json!({"triggers": ["a/1"], "ppas": ["own/foo"]})),
        (QUEUE, "secret", json!({"triggers": ["a/1"], "swiftuser": "reader"})),
        (QUEUE, "last", json!({"triggers": ["a/1"]})),
    ] {
        client.publish(queue, &body(package, &params)).await?;
    }
    // With the two of before; without the upstream run, the one with a PPA and the private ones.
    let written = wait_for("all rows of the writer", PATIENCE, async || {
        let rows = Tables::open(&programs.database()).await.ok()?.results().await.ok()?;
        (rows.len() == 8).then_some(rows)
    })
    .await?;
    let keeper = Keeper::new("fetched")?;
    let path = keeper.dir().join("autopkgtest.db");
    wait_for("the same rows in /static/autopkgtest.db", PATIENCE, async || {
        let file =
            reqwest::get(format!("{site}/static/autopkgtest.db")).await.ok()?.error_for_status().ok()?;
        fs::write(&path, file.bytes().await.ok()?).ok()?;
        (Tables::open(&path).await.ok()?.results().await.ok()? == written).then_some(())
    })
    .await?;
    programs.run("autopkgtest-db-publisher").await?;
    let (mut theirs, mut ours) =
        (Tables::open(&programs.public_database()).await?, Tables::open(&path).await?);
    assert_eq!(ours.schema().await?, theirs.schema().await?);
    assert_eq!(ours.results().await?, theirs.results().await?);
    assert_eq!(ours.versions().await?, theirs.versions().await?);
    assert_eq!(ours.versions().await?.len(), 3 + 4);
    Ok(())
}

/// What the queue-collector sees in the broker's queues is what `/queued.json` shows once a dispatcher has taken it.
async fn collectors_agree_on_what_waits(
    servers: &Servers,
    programs: &Programs,
    client: &AmqpClient,
    site: &str,
) -> Result<()> {
    for (queue, package, params) in [
        (QUEUE, "green", json!({"triggers": ["green/3"], "submit-time": "2026-11-21 05:36:34"})),
        (QUEUE, "secret", json!({"triggers": ["a/1"], "swiftuser": "reader"})),
        (QUEUE, "blue", json!({"triggers": ["green/3"], "all-proposed": "1"})),
        ("debci-huge-noble-amd64", "red", json!({"triggers": ["green/3"]})),
        ("debci-ppa-noble-amd64", "red", json!({"triggers": ["green/3"], "ppas": ["own/foo"]})),
        ("debci-upstream-noble-amd64", "red", json!({"build-git": "https://example.org/x"})),
    ] {
        client.publish(queue, &body(package, &params)).await?;
    }
    programs.run("autopkgtest-queue-collector").await?;
    let theirs = programs.json("queued.json")?;
    assert_eq!(theirs["queues"]["ubuntu"]["noble"]["amd64"]["size"], 3);
    assert_eq!(theirs["queues"]["ubuntu"]["noble"]["amd64"]["requests"][1], "private job");
    let _dispatcher = servers.dispatcher().start().await?;
    let mut ours = Value::Null;
    let same = async || {
        ours = reqwest::get(format!("{site}/queued.json")).await.ok()?.json().await.ok()?;
        (ours == theirs).then_some(())
    };
    wait_for("the same queued.json", PATIENCE, same).await.with_context(|| format!("theirs: {theirs}"))
}
