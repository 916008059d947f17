//! Parts die at random moments while requests are worked off. Afterwards each request has exactly one result, and each
//! series became visible in the order of its run ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use sqlx::{Connection as _, PgConnection};

use crate::{
    amqp,
    cluster::{Cluster, Results, body, params},
    postgres::Postgres,
    proofhouse::Proofhouse,
    proxy::TcpProxy,
    rabbit::Rabbit,
    roles::as_role,
    wait::wait_for,
};

/// How hard it blows.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// How many requests there are.
    pub requests: usize,
    /// How many packages share them; each is a series.
    pub packages: usize,
    /// How long parts die.
    pub lasts: Duration,
    /// The servers die too, and workers; else dispatchers alone, and links to the broker.
    pub everything: bool,
}

/// The same numbers at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pause(&mut self, most_ms: u64) -> Duration {
        Duration::from_millis(50 + self.roll(most_ms))
    }
}

/// What can die.
struct Parts {
    dispatchers: [Proofhouse; 2],
    workers: [Proofhouse; 2],
    rabbit: Rabbit,
    postgres: Postgres,
    /// Before the broker.
    link: TcpProxy,
}

impl Storm {
    /// Blows, and checks what is left.
    ///
    /// # Errors
    /// A request was lost, or has two results, or a series became visible out of order.
    pub async fn blow(self) -> Result<()> {
        let (rabbit, postgres) = (Rabbit::start().await?, Postgres::start().await?);
        let mut cluster = Cluster::on_folder().await?;
        cluster.database = postgres.secured("storm").await?;
        let direct = rabbit.secured("/").await?;
        let link = TcpProxy::start(rabbit.tls_address()).await?;
        cluster.bus = link.before(&direct)?;
        let dispatcher = || cluster.dispatcher().arg("--retry-attempts", "100");
        let worker = |name| cluster.worker(name).arg("--slots", "4");
        let mut parts = Parts {
            dispatchers: [dispatcher().start().await?, dispatcher().start().await?],
            workers: [worker("one").start().await?, worker("two").start().await?],
            rabbit,
            postgres,
            link,
        };
        let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
        let order = Order::default();
        let work = async {
            self.publish(&as_role(&direct, "gate")?).await?;
            self.kill(&mut parts).await?;
            let limit = self.lasts * 4 + Duration::from_secs(120);
            wait_for("every request's end", limit, async || all_done(self.requests, &cluster).await.ok())
                .await
        };
        tokio::select! {
            done = work => done?,
            never = order.watch(store) => never,
        }
        check(self.requests, &cluster, store, &order).await
    }

    /// All requests, each confirmed by the broker.
    async fn publish(self, url: &str) -> Result<()> {
        let connection = amqp::connection(url).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        for n in 0..self.requests {
            let package = format!("pkg{}", n % self.packages);
            let request = body(&package, &params(&format!("{package}/{n}"), &[]));
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let sent = channel
                .basic_publish("".into(), "debci-noble-amd64".into(), options, &request, properties)
                .await?
                .await?;
            anyhow::ensure!(sent.is_ack(), "request {n} was not confirmed");
        }
        Ok(connection.close(200, "done".into()).await?)
    }

    async fn kill(self, parts: &mut Parts) -> Result<()> {
        let mut dice = Dice(7);
        let begin = Instant::now();
        while begin.elapsed() < self.lasts {
            tokio::time::sleep(dice.pause(1500)).await;
            match dice.roll(if self.everything { 10 } else { 6 }) {
                n @ 0..4 => {
                    let dispatcher = &mut parts.dispatchers[usize::from(n % 2 == 1)];
                    dispatcher.kill9().await?;
                    dispatcher.start_again().await?;
                }
                4..6 => parts.link.cut(),
                6 => {
                    parts.rabbit.kill9().await?;
                    parts.rabbit.start_again().await?;
                }
                n @ 7..9 => {
                    let worker = &mut parts.workers[usize::from(n == 8)];
                    worker.kill9().await?;
                    worker.start_again().await?;
                }
                _ => {
                    parts.postgres.kill9().await?;
                    tokio::time::sleep(dice.pause(8000)).await;
                    parts.postgres.start_again().await?;
                }
            }
        }
        Ok(())
    }
}

/// An error while a request has no result, or anything is open.
pub async fn all_done(requests: usize, cluster: &Cluster) -> Result<()> {
    let mut database = connect(&cluster.database).await?;
    let open: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM jobs WHERE state NOT IN ('done', 'parked'))
            + (SELECT count(*) FROM outbox WHERE kind = 'publish')",
    )
    .fetch_one(&mut database)
    .await?;
    let results: i64 = sqlx::query_scalar("SELECT count(*) FROM results").fetch_one(&mut database).await?;
    anyhow::ensure!(open == 0 && usize::try_from(results)? >= requests, "{open} open, {results} results");
    Ok(())
}

/// Each request has exactly one result, table and store agree, and no series became visible out of order.
pub async fn check(requests: usize, cluster: &Cluster, store: &Path, order: &Order) -> Result<()> {
    let mut database = connect(&cluster.database).await?;
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as("SELECT triggers, package || '/' || run_id, stored FROM results")
            .fetch_all(&mut database)
            .await?;
    let mut of_request: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (triggers, run, stored) in &rows {
        anyhow::ensure!(stored, "{run} is not stored");
        of_request.entry(triggers).or_default().push(run);
    }
    let twice: Vec<_> = of_request.iter().filter(|(_, runs)| runs.len() > 1).collect();
    anyhow::ensure!(twice.is_empty(), "requests with two results: {twice:?}");
    anyhow::ensure!(of_request.len() == requests, "{} of {} requests", of_request.len(), requests);
    let in_table: BTreeSet<String> = rows.iter().map(|(_, run, _)| run.clone()).collect();
    let in_store: BTreeSet<String> = runs(store)
        .into_iter()
        .flat_map(|(package, ids)| ids.into_iter().map(move |id| format!("{package}/{id}")))
        .collect();
    anyhow::ensure!(
        in_table == in_store,
        "table and store differ: {:?}",
        in_table.symmetric_difference(&in_store)
    );
    let late = order.late.lock().map_err(|_| anyhow::anyhow!("the watcher died"))?;
    anyhow::ensure!(late.is_empty(), "visible after a greater one of their series: {late:?}");
    println!("{} requests, {} starts of a test", requests, cluster.starts().len());
    Ok(())
}

/// A connection to a database.
pub async fn connect(url: &str) -> Result<PgConnection> {
    PgConnection::connect(url).await.context("the database")
}

/// The runs that can be seen: package, and the ids of those that have a `result.tar`.
fn runs(store: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let names = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let root = store.join("autopkgtest-noble/noble/amd64/p");
    let visible = |package: &str| {
        let folder = root.join(package);
        names(&folder).into_iter().filter(|run| folder.join(run).join("result.tar").exists()).collect()
    };
    names(&root)
        .into_iter()
        .map(|package| {
            let ids = visible(&package);
            (package, ids)
        })
        .collect()
}

/// Watches runs become visible.
#[derive(Default)]
pub struct Order {
    late: Mutex<Vec<String>>,
}

impl Order {
    /// Never ends.
    pub async fn watch<T>(&self, store: &Path) -> T {
        let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
        loop {
            for (package, now) in runs(store) {
                let before = seen.entry(package.clone()).or_default();
                let greatest = before.last().cloned().unwrap_or_default();
                let late = now.difference(before).filter(|id| **id < greatest);
                let late: Vec<String> = late.map(|id| format!("{package}/{id}")).collect();
                if let Ok(mut all) = self.late.lock() {
                    all.extend(late);
                }
                *before = now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
