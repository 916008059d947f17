//! Workers are drained, work again, retire and are forgotten, by command.

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, ca_file, params, stand_in},
    proofhouse::{Proofhouse, run},
    wait::wait_for,
};
use serde_json::Value;

/// `proofhouse workers …`: its exit status and what it printed.
async fn workers(cluster: &Cluster, args: &[&str]) -> Result<(Option<i32>, String)> {
    let mut all = vec!["workers"];
    all.extend(args);
    let (database, authorities) = (cluster.database_of("operator"), ca_file());
    all.extend(["--database", &database, "--ca-file", &authorities]);
    let output = run(&all, &[]).await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

/// Name, state and how many tests each holds.
async fn listed(cluster: &Cluster) -> Result<Vec<String>> {
    let list = cluster.json(&["workers", "ls"]).await?;
    let one = |w: &Value| Some(format!("{} {} {}", w["name"].as_str()?, w["state"].as_str()?, w["held"]));
    list.as_array().context("a list")?.iter().map(|w| one(w).with_context(|| w.to_string())).collect()
}

async fn becomes(cluster: &Cluster, expected: &[&str]) -> Result<()> {
    wait_for(&format!("{expected:?}"), PATIENCE, async || {
        (listed(cluster).await.ok()? == expected).then_some(())
    })
    .await
    .with_context(|| format!("{expected:?}"))
}

#[tokio::test]
async fn workers_drain_and_retire_by_command() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut dispatcher = cluster.dispatcher().start().await?;
    let mut one = cluster.worker("one").start().await?;
    let mut two = cluster.worker("two").start().await?;
    becomes(&cluster, &["one working 0", "two working 0"]).await?;
    assert_eq!(workers(&cluster, &["drain", "tw*", "--wait"]).await?.0, Some(0));
    let release = cluster.folder().join("go");
    let client = cluster.client().await?;
    let hold = format!("HOLD={}", release.display());
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    becomes(&cluster, &["one working 1", "two drained 0"]).await?;

    // Waiting ends when the test does; meanwhile the leader, and a worker that is drained, start anew.
    let waiting = workers(&cluster, &["drain", "one", "--wait"]);
    let meanwhile = async {
        becomes(&cluster, &["one draining 1", "two drained 0"]).await?;
        client.publish("debci-noble-amd64", &body("blue", &params("blue/2", &[]))).await?;
        dispatcher.kill9().await?;
        dispatcher.start_again().await?;
        two.kill9().await?;
        two.start_again().await?;
        wait_for("the drained worker to hear it again", PATIENCE, async || {
            two.log().matches("is told to drain").nth(1).map(drop)
        })
        .await?;
        becomes(&cluster, &["one draining 1", "two drained 0"]).await?;
        std::fs::write(&release, "")?;
        anyhow::Ok(())
    };
    let (waited, ()) = tokio::try_join!(waiting, meanwhile)?;
    assert_eq!(waited.0, Some(0), "{}", waited.1);
    assert!(waited.1.contains("1 test runs: green noble/amd64 on one"), "{}", waited.1);
    cluster.done("green", 1).await?;
    becomes(&cluster, &["one drained 0", "two drained 0"]).await?;
    assert_eq!(cluster.starts().len(), 1, "blue waits");
    assert_eq!(workers(&cluster, &["resume", "two"]).await?.0, Some(0));
    cluster.done("blue", 1).await?;

    // Retired, the process ends and its row goes with it; started again, it works again.
    let retired = workers(&cluster, &["retire", "one", "--wait"]).await?;
    assert_eq!(retired.0, Some(0), "{}", retired.1);
    assert!(one.wait(PATIENCE).await?.success());
    becomes(&cluster, &["two working 0"]).await?;
    one.start_again().await?;
    becomes(&cluster, &["one working 0", "two working 0"]).await?;

    // Ended by a signal it is away; and only then it can be forgotten.
    assert_eq!(workers(&cluster, &["forget", "two"]).await?.0, Some(1));
    two.sigterm()?;
    assert!(two.wait(PATIENCE).await?.success());
    becomes(&cluster, &["one working 0", "two away 0"]).await?;
    assert_eq!(workers(&cluster, &["retire", "two"]).await?.0, Some(1));
    assert_eq!(workers(&cluster, &["forget", "two"]).await?.0, Some(0));
    assert_eq!(listed(&cluster).await?, ["one working 0"]);
    assert_eq!(workers(&cluster, &["drain", "nobody"]).await?.0, Some(1));
    Ok(())
}

#[tokio::test]
async fn a_process_with_all_roles_retires_as_one() -> Result<()> {
    let mut up = Proofhouse::role("up")
        .arg("--releases", "noble")
        .arg("--arches", "amd64")
        .arg("--provider", "null")
        .arg("--autopkgtest", stand_in())
        .arg("--min-free-mib", "1")
        .arg("--name", "one")
        .start()
        .await?;
    let data = up.data().display().to_string();
    let command = async |args: &[&str]| {
        let output = run(&[&["workers"], args, &["--data", &data]].concat(), &[]).await?;
        anyhow::Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let listed = async |word: &str| {
        let all = command(&["ls"]).await.ok()?.1;
        all.contains(word).then_some(())
    };
    wait_for("the worker", PATIENCE, async || listed("working").await).await?;

    // The dispatcher ends after it has heard that the worker did: else the row stands there, and is waited for, until the
    // worker counts as away.
    let retired = tokio::time::timeout(PATIENCE / 2, command(&["retire", "one", "--wait"])).await??;
    assert_eq!(retired.0, Some(0), "{}", retired.1);
    assert!(up.wait(PATIENCE).await?.success());
    assert!(!command(&["ls"]).await?.1.contains("one"));

    // After a signal too.
    up.start_again().await?;
    wait_for("the worker", PATIENCE, async || listed("working").await).await?;
    up.sigterm()?;
    assert!(up.wait(PATIENCE).await?.success());
    assert!(command(&["ls"]).await?.1.contains("away"));
    Ok(())
}
