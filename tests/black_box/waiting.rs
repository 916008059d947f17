//! Each reason to wait, brought about for real, and shown by `queue show` and on the page.

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    proofhouse::Proofhouse,
    wait::wait_for,
};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

/// A cluster whose only slot is not there yet, its site, and its job table.
struct Place {
    cluster: Cluster,
    site: String,
    table: PgConnection,
    _web: Proofhouse,
}

impl Place {
    async fn new() -> Result<Self> {
        let cluster = Cluster::on_folder().await?;
        let web = cluster.web().start().await?;
        let table = PgConnection::connect(&cluster.database).await?;
        Ok(Self { site: web.site_url()?, cluster, table, _web: web })
    }

    async fn ask(&self, package: &str, env: &[&str]) -> Result<()> {
        let trigger = format!("{package}/1");
        self.cluster
            .client()
            .await?
            .publish("debci-noble-amd64", &body(package, &params(&trigger, env)))
            .await
    }

    async fn sql(&mut self, statement: &'static str) -> Result<()> {
        sqlx::query(statement).execute(&mut self.table).await?;
        Ok(())
    }

    /// Waits until the newest job of a package says that it waits for this, to operators and to everybody.
    async fn waits(&mut self, package: &str, reason: &str) -> Result<Value> {
        let (table, cluster) = (&mut self.table, &self.cluster);
        // What is costly the site keeps for some seconds.
        wait_for(&format!("{package} and its page to say that it waits for {reason}"), PATIENCE, async || {
            let newest = "SELECT uuid FROM jobs WHERE package = $1 ORDER BY id DESC LIMIT 1";
            let uuid: String = sqlx::query_scalar(newest).bind(package).fetch_one(&mut *table).await.ok()?;
            let waits = cluster.json(&["queue", "show", &uuid]).await.ok()?["waits"].clone();
            let sentence = waits["sentence"].as_str()?.replace('\'', "&#39;");
            let page = reqwest::Client::new().get(format!("{}/run/{uuid}", self.site));
            let page = page.header("accept", "text/html").send().await.ok()?.text().await.ok()?;
            (waits["reason"] == reason && page.contains(&sentence)).then_some(waits)
        })
        .await
    }
}

#[tokio::test]
async fn each_reason_is_shown() -> Result<()> {
    let mut place = Place::new().await?;
    let mut dispatcher = place.cluster.dispatcher().arg("--retry-pause-seconds", "3600").start().await?;
    place.ask("green", &[]).await?;
    let waits = place.waits("green", "no-worker").await?;
    assert_eq!((&waits["place"], &waits["pools"][0]), (&0.into(), &"amd64".into()));
    dispatcher.kill9().await?;
    place.sql("UPDATE jobs SET lane = '?' WHERE package = 'green'").await?;
    assert_eq!(place.waits("green", "unsorted").await?["place"], Value::Null);

    place
        .sql(
            "INSERT INTO pauses (arch, person, reason, since_us) VALUES ('amd64', 'ann', 'the lab moves', 1)",
        )
        .await?;
    dispatcher.start_again().await?;
    let waits = place.waits("green", "paused").await?;
    assert_eq!((&waits["by"], &waits["why"]), (&"ann".into(), &"the lab moves".into()));
    assert_eq!((&waits["what"], &waits["place"]), (&"all of amd64".into(), &Value::Null));
    place.sql("DELETE FROM pauses").await?;

    // One runs and holds the only slot.
    let go = place.cluster.folder().join("go");
    let broken = place.cluster.folder().join("broken");
    let hold = format!("HOLD={}", go.display());
    place.sql("UPDATE jobs SET state = 'cancelled' WHERE package = 'green'").await?;
    place.ask("first", &[&hold]).await?;
    let worker = place.cluster.worker("one").arg("--host", "one");
    let _worker = worker.env("STAND_IN_BROKEN", broken.display().to_string()).start().await?;
    place.cluster.started("first", 1).await?;
    place.ask("second", &[]).await?;
    place.waits("second", "slot").await?;
    place
        .sql("INSERT INTO caps (kind, name, most, person, since_us) VALUES ('pool', '*', 1, 'ann', 1)")
        .await?;
    let waits = place.waits("second", "cap").await?;
    assert_eq!((&waits["kind"], &waits["running"], &waits["most"]), (&"pool".into(), &1.into(), &1.into()));
    place.sql("DELETE FROM caps").await?;
    place
        .sql("UPDATE jobs SET lane = '1000 gates ubuntu noble/amd64 - first/1' WHERE package = 'first'")
        .await?;
    place.waits("second", "emergency").await?;
    place
        .sql("UPDATE jobs SET lane = '0 gates ubuntu noble/amd64 - first/1' WHERE package = 'first'")
        .await?;
    place.cluster.output(&["workers", "drain", "one"]).await?;
    place.waits("second", "workers-unable").await?;
    place.cluster.output(&["workers", "resume", "one"]).await?;
    place.waits("second", "slot").await?;

    // What fails for our reasons waits for its next attempt, and then for another host.
    std::fs::write(&broken, "")?;
    std::fs::write(&go, "")?;
    place.cluster.done("first", 1).await?;
    place.waits("second", "next-attempt").await?;
    std::fs::remove_file(&broken)?;
    std::fs::remove_file(&go)?;
    let _other = place.cluster.worker("two").arg("--host", "two").start().await?;
    wait_for("the other worker", PATIENCE, async || {
        let workers = place.cluster.json(&["workers", "ls"]).await.ok()?;
        (workers.as_array()?.len() == 2).then_some(())
    })
    .await?;
    let drained = place.cluster.output(&["workers", "drain", "one", "--wait"]).await?;
    assert!(drained.status.success(), "{drained:?}");
    place.ask("third", &[&hold]).await?;
    place.cluster.started("third", 1).await?;
    place.sql("UPDATE jobs SET not_before_us = 0 WHERE package = 'second'").await?;
    place.cluster.output(&["workers", "resume", "one"]).await?;
    place.waits("second", "hosts-aside").await?;
    std::fs::write(&go, "")?;
    place.cluster.done("second", 1).await
}

#[tokio::test]
async fn what_is_answered_without_a_run_says_so() -> Result<()> {
    let mut place = Place::new().await?;
    let mut dispatcher = place.cluster.dispatcher().start().await?;
    place.ask("green", &[]).await?;
    place.waits("green", "no-worker").await?;
    // No dispatcher is there to answer it.
    dispatcher.kill9().await?;
    place
        .sql("UPDATE jobs SET lane = '!', answer_code = 99, answer_log = 'off' WHERE package = 'green'")
        .await?;
    place.waits("green", "answer").await?;
    dispatcher.start_again().await?;
    place.cluster.done("green", 1).await
}

#[tokio::test]
async fn what_gates_wait_for_is_listed_by_age() -> Result<()> {
    let place = Place::new().await?;
    let _dispatcher = place.cluster.dispatcher().start().await?;
    for package in ["green", "blue"] {
        place.ask(package, &[]).await?;
    }
    let list = wait_for("two", PATIENCE, async || {
        let list = place.cluster.json(&["queue", "gates"]).await.ok()?;
        (list.as_array()?.len() == 2).then_some(list)
    })
    .await?;
    assert_eq!((&list[0]["trigger"], &list[1]["waiting"]), (&"green/1".into(), &1.into()));
    let older = place.cluster.json(&["queue", "gates", "--older-than", "1h"]).await?;
    assert_eq!(older.as_array().map(Vec::len), Some(0));
    let page = reqwest::get(format!("{}/waiting", place.site)).await?.text().await?;
    let (_, jobs) = page.split_once("One by one").context("the list")?;
    assert!(jobs.find("green/1").context("green")? < jobs.find("blue/1").context("blue")?, "{page}");
    Ok(())
}

#[tokio::test]
async fn it_is_explained_by_the_rules_that_the_dispatcher_has() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let rules = cluster.folder().join("pools.toml");
    std::fs::write(&rules, "[special]\narches = ['amd64']\n[amd64]\nlabels = ['private']\n")?;
    let rules = rules.display().to_string();
    let _dispatcher = cluster.dispatcher().arg("--pool-rules", &rules).start().await?;
    cluster.client().await?.publish("debci-noble-amd64", &body("green", &params("green/1", &[]))).await?;
    let shown = wait_for("the job", PATIENCE, async || {
        let shown = cluster.json(&["queue", "show", "1", "--pool-rules", &rules]).await.ok()?;
        (shown["waits"]["reason"] == "no-worker").then_some(shown)
    })
    .await?;
    assert_eq!(shown["waits"]["pools"], serde_json::json!(["special"]));
    Ok(())
}
