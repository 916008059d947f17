//! Every role is replaced while requests come in: the new process starts beside the old one, then the old one gets SIGTERM.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, Results, body, params},
    proofhouse::{Proofhouse, Role},
    storm::{Order, all_done, check, connect},
    stream::Stream,
    wait::wait_for,
};

/// Starts the new one beside the old one, and ends the old one.
async fn replace(old: &mut Proofhouse, new: Role) -> Result<()> {
    let new = new.start().await?;
    new.becomes_ready().await?;
    let old = std::mem::replace(old, new);
    old.sigterm()?;
    ensure!(old.wait(PATIENCE).await?.success(), "the old process failed:\n{}", old.process().tail(20));
    Ok(())
}

/// The webs, as the proxy before them knows them.
#[derive(Clone, Default)]
struct Site(Arc<Mutex<Vec<String>>>);

impl Site {
    fn serves(&self, webs: &[&Proofhouse]) -> Result<()> {
        let urls: Result<Vec<String>> = webs.iter().map(|web| web.site_url()).collect();
        *self.0.lock().map_err(|_| anyhow::anyhow!("the watcher died"))? = urls?;
        Ok(())
    }

    /// Asks again and again, the next web where one does not answer; ends when none does.
    async fn watch<T>(&self) -> Result<T> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        loop {
            let urls = self.0.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
            let mut failures = Vec::new();
            for url in &urls {
                match http.get(url).send().await.and_then(reqwest::Response::error_for_status) {
                    Ok(_) => break,
                    Err(error) => failures.push(error),
                }
            }
            if failures.len() == urls.len() {
                bail!("a gap in the site: {failures:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The worker is replaced in the middle of a test, which goes on until the new one has run another.
async fn replace_worker(cluster: &Cluster, old: &mut Proofhouse, new: Role) -> Result<()> {
    let release = cluster.folder().join("go");
    let held = params("pkg-held/2", &[&format!("HOLD={}", release.display())]);
    cluster.client().await?.publish("debci-noble-amd64", &body("pkg-held", &held)).await?;
    cluster.started("pkg-held", 1).await?;
    let new = new.start().await?;
    let old = std::mem::replace(old, new);
    old.sigterm()?;
    let mut database = connect(&cluster.database).await?;
    wait_for("a test on the new worker", PATIENCE, async || {
        let sql = "SELECT count(*) FROM attempts WHERE worker = 'one-2'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.ok()?;
        (count > 0).then_some(())
    })
    .await?;
    std::fs::write(&release, "")?;
    ensure!(old.wait(PATIENCE).await?.success(), "it finished what ran");
    Ok(())
}

#[tokio::test]
async fn every_role_is_replaced_one_by_one_under_load() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let Results::Folder(store) = &cluster.results else { bail!("a folder") };
    // As on one machine: the same configuration, and the same data folder.
    let data = cluster.folder().join("data").display().to_string();
    let worker = || cluster.worker("one").arg("--slots", "4").arg("--data", &data);
    let mut dispatchers = [cluster.dispatcher().start().await?, cluster.dispatcher().start().await?];
    let mut one = worker().start().await?;
    let mut webs = [cluster.web().start().await?, cluster.web().start().await?];
    let site = Site::default();
    site.serves(&webs.each_ref())?;
    let order = Order::default();
    let stream = Stream::start(&cluster.bus_of("gate"), 10, Duration::from_millis(300), &["LAST=1"]).await?;
    let work = async {
        for dispatcher in &mut dispatchers {
            replace(dispatcher, cluster.dispatcher()).await.context("a dispatcher")?;
        }
        replace_worker(&cluster, &mut one, worker()).await.context("the worker")?;
        for n in 0..webs.len() {
            let new = cluster.web().start().await?;
            site.serves(&[&webs[0], &webs[1], &new])?;
            let old = std::mem::replace(&mut webs[n], new);
            old.sigterm()?;
            ensure!(old.wait(PATIENCE).await?.success(), "a web");
            site.serves(&webs.each_ref())?;
        }
        let requests = stream.end().await? + 1;
        wait_for("every request's end", PATIENCE, async || all_done(requests, &cluster).await.ok()).await?;
        anyhow::Ok(requests)
    };
    let requests = tokio::select! {
        done = work => done?,
        gap = site.watch() => gap?,
        never = order.watch(store) => never,
    };
    check(requests, &cluster, store, &order).await?;
    let mut database = connect(&cluster.database).await?;
    let (attempts, last): (i64, i64) =
        sqlx::query_as("SELECT count(*), max(attempt) FROM attempts").fetch_one(&mut database).await?;
    assert_eq!((usize::try_from(attempts)?, last, cluster.starts().len()), (requests, 1, requests));
    Ok(())
}
