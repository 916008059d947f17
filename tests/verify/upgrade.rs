//! From the version before to this one, with its schema, while fifty tests run.

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    postgres::Postgres,
    proofhouse::{Proofhouse, Role, Version},
    shared,
    storm::connect,
    wait::wait_for,
};

const TESTS: usize = 50;
const QUEUE: &str = "debci-noble-amd64";

fn before(role: Role) -> Role {
    role.version(Version::Before)
}

/// Starts this version beside the one before, which is asked to end, and returned.
async fn replace(old: &mut Proofhouse, new: Role) -> Result<Proofhouse> {
    let new = new.start().await?;
    new.becomes_ready().await?;
    let old = std::mem::replace(old, new);
    old.sigterm()?;
    Ok(old)
}

async fn ends(old: &Proofhouse) -> Result<()> {
    ensure!(old.wait(PATIENCE).await?.success(), "the version before failed:\n{}", old.process().tail(20));
    Ok(())
}

#[tokio::test]
async fn fifty_tests_go_on_while_every_role_is_upgraded() -> Result<()> {
    let postgres = Postgres::start().await?;
    let bus = shared::rabbit().await?.secured("upgrade").await?;
    let cluster = Cluster::on(bus, postgres.secured_by(Version::Before, "upgrade").await?)?;
    let worker = |name: &str| cluster.worker(name).arg("--slots", "25");
    let mut dispatchers =
        [before(cluster.dispatcher()).start().await?, before(cluster.dispatcher()).start().await?];
    let mut webs = [before(cluster.web()).start().await?, before(cluster.web()).start().await?];
    let mut workers = [before(worker("one")).start().await?, before(worker("two")).start().await?];

    let client = cluster.client().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    for n in 0..TESTS {
        let package = format!("pkg{n}");
        client.publish(QUEUE, &body(&package, &params(&format!("{package}/2"), &[&hold]))).await?;
    }
    let running = async || (cluster.starts().len() == TESTS).then_some(());
    wait_for("fifty running tests", PATIENCE, running).await?;

    let mut database = connect(&cluster.database).await?;
    let schema = "SELECT max(version) FROM _sqlx_migrations";
    let old: i64 = sqlx::query_scalar(schema).fetch_one(&mut database).await?;
    postgres.migrate(Version::This, &cluster.database).await?;
    let new: i64 = sqlx::query_scalar(schema).fetch_one(&mut database).await?;
    ensure!(new > old, "both have schema {new}: tests/recorded/previous must name an older commit");

    for dispatcher in &mut dispatchers {
        ends(&replace(dispatcher, cluster.dispatcher()).await?).await.context("a dispatcher")?;
    }
    for web in &mut webs {
        ends(&replace(web, cluster.web()).await?).await.context("a web")?;
    }
    let mut draining = Vec::new();
    for (old, name) in workers.iter_mut().zip(["three", "four"]) {
        draining.push(replace(old, worker(name)).await?);
    }
    // What comes now is for the new workers; the old ones go on with what runs.
    client.publish(QUEUE, &body("late", &params("late/2", &[]))).await?;
    cluster.done("late", 1).await?;
    std::fs::write(&release, "")?;
    for worker in &draining {
        ends(worker).await.context("a worker")?;
    }
    for n in 0..TESTS {
        cluster.done(&format!("pkg{n}"), 1).await?;
    }
    let count = "SELECT (SELECT count(*) FROM results WHERE stored), (SELECT count(*) FROM attempts)";
    let counted = async || -> Option<()> {
        let mut database = connect(&cluster.database).await.ok()?;
        let (results, attempts): (i64, i64) = sqlx::query_as(count).fetch_one(&mut database).await.ok()?;
        (usize::try_from(results).ok()? == TESTS + 1 && usize::try_from(attempts).ok()? == TESTS + 1)
            .then_some(())
    };
    wait_for("51 results of 51 attempts", PATIENCE, counted).await?;
    assert_eq!(cluster.starts().len(), TESTS + 1);
    Ok(())
}
