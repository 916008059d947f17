//! "We failed" is not "the test failed": tried again elsewhere, parked, retried by an operator, and no gate hears of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, Results, body, params},
    proofhouse::{Proofhouse, Role},
    wait::wait_for,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

/// A worker on a host of this name, whose testbeds fail while `broken` exists.
fn worker_on(cluster: &Cluster, host: &str, broken: &Path) -> Role {
    cluster.worker(host).arg("--host", host).env("STAND_IN_BROKEN", broken.display().to_string())
}

/// All files of this name below a container of the cluster's folder.
fn files(cluster: &Cluster, container: &str, name: &str) -> Vec<PathBuf> {
    let Results::Folder(store) = &cluster.results else { return vec![] };
    let (mut found, mut open) = (Vec::new(), vec![store.join(container)]);
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                found.push(path);
            }
        }
    }
    found
}

async fn parked(cluster: &Cluster, reason: &str) -> Result<Vec<Value>> {
    let list = cluster.json(&["parked", "ls", "--reason", reason]).await?;
    Ok(list.as_array().context("a list")?.clone())
}

/// Waits until so many are parked for this reason.
async fn are_parked(cluster: &Cluster, reason: &str, n: usize) -> Result<Vec<Value>> {
    wait_for(&format!("{n} parked: {reason}"), PATIENCE, async || {
        parked(cluster, reason).await.ok().filter(|list| list.len() == n)
    })
    .await
}

/// The value of a metric without labels.
async fn metric(role: &Proofhouse, name: &str) -> Option<String> {
    let metrics = role.metrics().await.ok()?;
    metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned))
}

async fn request(cluster: &Cluster, trigger: &str, env: &[&str]) -> Result<()> {
    cluster.client().await?.publish("debci-noble-amd64", &body("green", &params(trigger, env))).await
}

#[tokio::test]
async fn a_host_whose_testbeds_all_fail_is_set_aside() -> Result<()> {
    const JOBS: i64 = 12;
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().start().await?;
    let mut completions = cluster.client().await?.listen("testcomplete.fanout").await?;
    let (broken, go) = (cluster.folder().join("broken"), cluster.folder().join("go"));
    std::fs::write(&broken, "")?;
    // The sound one is busy with its first test until the other one has failed for long enough.
    let hold = format!("HOLD={}", go.display());
    for n in 1..=JOBS {
        request(&cluster, &format!("green/{n}"), &[&hold]).await?;
    }
    let _sound = cluster.worker("b").arg("--host", "b").start().await?;
    cluster.started("green", 1).await?;
    let _failing = worker_on(&cluster, "a", &broken).start().await?;
    wait_for("host a set aside", PATIENCE, async || {
        (metric(&dispatcher, "proofhouse_hosts_aside").await? == "1").then_some(())
    })
    .await?;
    assert!(dispatcher.log().contains("host a is set aside"), "{}", dispatcher.log());
    std::fs::write(&go, "")?;
    cluster.done("green", JOBS).await?;
    let mut database = PgConnection::connect(&cluster.database).await?;
    let (passed, others): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE exit_code = 0), count(*) FILTER (WHERE exit_code <> 0) FROM results",
    )
    .fetch_one(&mut database)
    .await?;
    assert_eq!((passed, others), (JOBS, 0));
    let on_b: i64 =
        sqlx::query_scalar("SELECT count(*) FROM attempts WHERE state = 'recorded' AND host = 'b'")
            .fetch_one(&mut database)
            .await?;
    assert_eq!(on_b, JOBS);
    for _ in 0..JOBS {
        let completion = completions.next_json(PATIENCE, |_| true).await?;
        assert_eq!(completion["exitcode"], 0, "{completion}");
    }
    assert_eq!(files(&cluster, "autopkgtest-noble", "result.tar").len(), usize::try_from(JOBS)?);
    Ok(())
}

#[tokio::test]
async fn all_parked_of_a_reason_are_retried_by_one_command() -> Result<()> {
    const JOBS: usize = 6;
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().arg("--retry-attempts", "2").arg("--retry-pause-seconds", "0");
    let _dispatcher = dispatcher.start().await?;
    let web = cluster.web().start().await?;
    let mut completions = cluster.client().await?.listen("testcomplete.fanout").await?;
    let broken = cluster.folder().join("broken");
    std::fs::write(&broken, "")?;
    let _workers = (
        worker_on(&cluster, "a", &broken).arg("--slots", "2").start().await?,
        worker_on(&cluster, "b", &broken).arg("--slots", "2").start().await?,
    );
    for n in 1..=JOBS {
        request(&cluster, &format!("green/{n}"), &[]).await?;
    }
    let list = are_parked(&cluster, "testbed", JOBS).await?;
    assert!(list.iter().all(|job| job["attempts"] == 2 && job["package"] == "green"), "{list:?}");
    let logs = || files(&cluster, "proofhouse-attempts", "log.gz").len();
    wait_for("the logs of the attempts", PATIENCE, async || (logs() == 2 * JOBS).then_some(())).await?;
    assert!(files(&cluster, "autopkgtest-noble", "result.tar").is_empty(), "nothing is published");

    // What an operator sees.
    let uuid = list[0]["uuid"].as_str().context("uuid")?;
    let said = String::from_utf8(cluster.output(&["parked", "ls"]).await?.stdout)?;
    assert!(said.contains("6 testbed, the oldest since 20"), "{said}");
    assert!(said.ends_with("proofhouse parked retry --reason testbed\n"), "{said}");
    let shown = cluster.json(&["parked", "show", uuid]).await?;
    assert_eq!((&shown["parked"], shown["logs"].as_array().map(Vec::len)), (&json!("testbed"), Some(2)));
    let log = String::from_utf8(cluster.output(&["parked", "show", uuid, "--log"]).await?.stdout)?;
    assert!(log.contains("the testbed of green is broken"), "{log}");
    // And what everybody sees.
    let page =
        reqwest::Client::new().get(format!("{}/run/{uuid}", web.site_url()?)).header("accept", "text/html");
    let page = page.send().await?.text().await?;
    assert!(page.contains("until an operator has it retried"), "{page}");
    let log = reqwest::get(format!("{}/run/{uuid}/attempts/2/log", web.site_url()?)).await?;
    assert!(log.error_for_status()?.text().await?.contains("the testbed of green is broken"));

    // The testbeds are repaired. First one would only look.
    std::fs::remove_file(&broken)?;
    let dry = cluster.json(&["parked", "retry", "--all", "--dry-run"]).await?;
    assert_eq!(dry["retried"].as_array().map(Vec::len), Some(JOBS));
    assert_eq!(parked(&cluster, "testbed").await?.len(), JOBS);
    let said = cluster.output(&["parked", "retry", "--reason", "testbed"]).await?;
    assert!(said.status.success());
    assert_eq!(String::from_utf8(said.stdout)?, "retried 6: 6 testbed\n");
    cluster.done("green", i64::try_from(JOBS)?).await?;
    for _ in 0..JOBS {
        assert_eq!(completions.next_json(PATIENCE, |_| true).await?["exitcode"], 0);
    }
    let run = cluster.json(&["run", "show", uuid]).await?;
    assert_eq!((&run["job"]["tried_before"], &run["job"]["attempts"]), (&json!(2), &json!(3)));
    assert_eq!(run["result"]["rule"], "exit-code");
    assert!(cluster.json(&["parked", "ls"]).await?.as_array().is_some_and(Vec::is_empty));
    let again = cluster.output(&["parked", "retry", uuid]).await?;
    assert_eq!(again.status.code(), Some(1), "it is not parked any more");
    Ok(())
}

#[tokio::test]
async fn what_is_parked_for_too_long_is_reported_but_never_a_baseline() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().arg("--retry-attempts", "1").arg("--parked-answer-hours", "1");
    let _dispatcher = dispatcher.start().await?;
    let _worker = cluster.worker("one").start().await?;
    let mut completions = cluster.client().await?.listen("testcomplete.fanout").await?;
    for trigger in ["green/2", "migration-reference/0"] {
        request(&cluster, trigger, &["EXIT=16"]).await?;
    }
    are_parked(&cluster, "testbed", 2).await?;
    let mut database = PgConnection::connect(&cluster.database).await?;
    sqlx::query("UPDATE jobs SET changed_us = changed_us - 7200000000").execute(&mut database).await?;
    let completion = completions.next_json(PATIENCE, |_| true).await?;
    assert_eq!((&completion["exitcode"], &completion["triggers"]), (&json!(16), &json!("green/2")));
    assert_eq!(completion["testpkg_version"], "unknown");
    let uuid = completion["uuid"].as_str().context("uuid")?;
    wait_for("the answer in the store", PATIENCE, async || {
        let run = cluster.json(&["run", "show", uuid]).await.ok()?;
        (run["job"]["state"] == "done" && run["result"]["rule"] == "parked").then_some(())
    })
    .await?;
    let left = parked(&cluster, "testbed").await?;
    assert_eq!(left.len(), 1, "the baseline waits for an operator");
    // It was looked at in the same round.
    let results: Vec<String> =
        sqlx::query_scalar("SELECT triggers FROM results").fetch_all(&mut database).await?;
    assert_eq!(results, ["green/2"]);
    Ok(())
}

#[tokio::test]
async fn what_came_to_be_never_run_while_it_was_parked_is_not_run() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let lists = cluster.folder().join("lists");
    std::fs::create_dir(&lists)?;
    let dispatcher = cluster.dispatcher().arg("--retry-attempts", "1");
    let mut dispatcher = dispatcher.arg("--lists", lists.display().to_string()).start().await?;
    let _worker = cluster.worker("one").start().await?;
    request(&cluster, "green/2", &["EXIT=20"]).await?;
    let list = are_parked(&cluster, "unexpected", 1).await?;
    std::fs::write(lists.join("never_run"), "green\n")?;
    dispatcher.kill9().await?;
    dispatcher.start_again().await?;
    let number = list[0]["job"].to_string();
    let said = cluster.json(&["parked", "retry", &number]).await?;
    assert_eq!(said["retried"][0]["reason"], "unexpected", "{said}");
    cluster.done("green", 1).await?;
    let run = cluster.json(&["run", "show", list[0]["uuid"].as_str().context("uuid")?]).await?;
    assert_eq!((&run["result"]["exit_code"], &run["result"]["rule"]), (&json!(99), &json!("never-run")));
    assert_eq!(cluster.starts().len(), 1);
    Ok(())
}

/// A member of a `result.tar`.
fn member(path: &Path, name: &str) -> Result<String> {
    let mut archive = tar::Archive::new(std::fs::File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.to_str() == Some(name) {
            return Ok(std::io::read_to_string(&mut entry)?);
        }
    }
    anyhow::bail!("result.tar has no {name}")
}

#[tokio::test]
async fn what_breaks_every_testbed_is_the_packages_fault() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().arg("--retry-attempts", "2").start().await?;
    let _worker = cluster.worker("one").start().await?;
    let web = cluster.web().start().await?;
    let panic = "SAYS=Kernel panic - not syncing: Attempted to kill init";
    request(&cluster, "green/2", &["EXIT=16", panic]).await?;
    cluster.done("green", 1).await?;
    assert_eq!(cluster.starts().len(), 2, "it happened on every attempt");
    let stored = files(&cluster, "autopkgtest-noble", "result.tar");
    let [tar] = stored.as_slice() else { anyhow::bail!("{stored:?}") };
    assert_eq!(member(tar, "exitcode")?.trim(), "4");
    let info: Value = serde_json::from_str(&member(tar, "testinfo.json")?)?;
    assert_eq!(info["rule"], "kernel-panic", "{info}");
    let mut database = PgConnection::connect(&cluster.database).await?;
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT exit_code, rule FROM results").fetch_all(&mut database).await?;
    assert_eq!(rows, [(4, "kernel-panic".to_owned())]);
    let run_id = tar.parent().and_then(|folder| folder.file_name()?.to_str()).context("the run id")?;
    let page = format!("{}/packages/green/noble/amd64/{run_id}", web.site_url()?);
    let page = reqwest::get(page).await?.error_for_status()?.text().await?;
    let decided = "<th>Decided by</th> <td>a rule of the log: <span class=\"code\">kernel-panic</span></td>";
    assert!(page.contains(decided), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_version_older_than_its_own_trigger_is_no_result() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().arg("--retry-attempts", "2").start().await?;
    let _worker = cluster.worker("one").start().await?;
    request(&cluster, "green/2", &["VERSION=1"]).await?;
    let list = are_parked(&cluster, "old-version", 1).await?;
    assert_eq!(list[0]["attempts"], 2);
    let shown = cluster.json(&["parked", "show", &list[0]["job"].to_string()]).await?;
    assert_eq!(shown["attempts"][1]["detail"], "green 1 was tested, not green/2");
    assert!(files(&cluster, "autopkgtest-noble", "result.tar").is_empty());
    Ok(())
}
