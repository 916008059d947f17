//! Parts die at the worst moments; afterwards each request has exactly one result.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, Results, body, params},
    proxy::TcpProxy,
    rabbit::Rabbit,
    shared,
    storm::Storm,
    wait::wait_for,
};
use sqlx::{Connection, PgConnection};

/// The run folders of green in the store that hold a file.
fn folders_with(cluster: &Cluster, file: &str) -> usize {
    let Results::Folder(store) = &cluster.results else { return 0 };
    let Ok(runs) = std::fs::read_dir(store.join("autopkgtest-noble/noble/amd64/g/green")) else { return 0 };
    runs.flatten().filter(|run| run.path().join(file).exists()).count()
}

#[tokio::test]
async fn kill_9_of_the_worker_in_mid_test() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let mut worker = cluster.worker("one").start().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    cluster
        .client()
        .await?
        .publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold])))
        .await?;
    cluster.started("green", 1).await?;
    worker.kill9().await?;
    // The runner and all its children die with it.
    wait_for("the runner's end", PATIENCE, async || worker.processes().is_empty().then_some(())).await?;
    worker.start_again().await?;
    cluster.started("green", 2).await?;
    std::fs::write(&release, "")?;
    cluster.done("green", 1).await?;
    assert_eq!((folders_with(&cluster, "result.tar"), cluster.starts().len()), (1, 2));
    Ok(())
}

/// How many objects of green's runs in Swift end so.
async fn objects(cluster: &Cluster, file: &str) -> Option<usize> {
    let Results::Swift(account) = &cluster.results else { return None };
    let url = format!("{}/autopkgtest-noble/?prefix=noble/amd64/g/green/", account.public_url());
    let listed = reqwest::get(url).await.ok()?.text().await.ok()?;
    Some(listed.lines().filter(|name| name.ends_with(file)).count())
}

#[tokio::test]
async fn kill_9_of_the_worker_between_upload_and_completion() -> Result<()> {
    let cluster = Cluster::on_swift().await?;
    let Results::Swift(account) = &cluster.results else { anyhow::bail!("a Swift") };
    let _dispatcher = cluster.dispatcher().start().await?;
    let broker = TcpProxy::start(shared::rabbit().await?.tls_address()).await?;
    let swift =
        TcpProxy::start(SocketAddr::from(([127, 0, 0, 1], shared::swift().await?.tls_port()))).await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let worker = cluster
        .worker("one")
        .arg("--bus", broker.before(&cluster.bus_of("worker"))?)
        .arg("--store", swift.before(&account.tls_store_url())?)
        .start()
        .await?;
    cluster
        .client()
        .await?
        .publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold])))
        .await?;
    cluster.started("green", 1).await?;
    // The uploads wait until we let them through.
    swift.refuse().await?;
    swift.cut();
    std::fs::write(&release, "")?;
    wait_for("the publication", PATIENCE, async || worker.log().contains("the store failed").then_some(()))
        .await?;
    // From here on nothing the worker says arrives: not its completion, nor its renewals.
    broker.hold_client_to_server();
    swift.restore().await?;
    wait_for("the uploads", PATIENCE, async || {
        (objects(&cluster, "/artifacts.tar.gz").await? == 1).then_some(())
    })
    .await?;
    worker.kill9().await?;
    let _second = cluster.worker("two").start().await?;
    cluster.done("green", 1).await?;
    assert_eq!(cluster.starts().len(), 2);
    assert_eq!(objects(&cluster, "/result.tar").await, Some(1));
    wait_for("what the first attempt uploaded to be swept", PATIENCE, async || {
        (objects(&cluster, "/log.gz").await? == 1).then_some(())
    })
    .await
}

#[tokio::test]
async fn kill_9_of_the_dispatcher_between_commit_and_acknowledgement() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let proxy = TcpProxy::start(shared::rabbit().await?.tls_address()).await?;
    let mut through = Cluster::on_folder().await?;
    through.bus = proxy.before(&cluster.bus)?;
    through.database.clone_from(&cluster.database);
    let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
    let first = through.dispatcher().arg("--store", format!("file://{}", store.display())).start().await?;
    let client = cluster.client().await?;
    // Once one came through, it is known to consume.
    client.publish("debci-noble-amd64", &body("first", &params("first/1", &[]))).await?;
    wait_for("the first request", PATIENCE, async || {
        (cluster.jobs("first").await.ok()? == (0, 1)).then_some(())
    })
    .await?;
    proxy.hold_client_to_server();
    // One that would be merged if it came twice, and one that would become a follower once the first runs.
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    let ppa = serde_json::json!({"triggers": ["blue/2"], "ppas": ["joe/foo"]});
    client.publish("debci-ppa-noble-amd64", &body("blue", &ppa)).await?;
    for package in ["green", "blue"] {
        wait_for("the commit", PATIENCE, async || {
            (cluster.jobs(package).await.ok()? == (0, 1)).then_some(())
        })
        .await?;
    }
    first.kill9().await?;
    proxy.cut();
    wait_for("the messages to be back in their queues", PATIENCE, async || {
        let depths = (
            client.depth("debci-noble-amd64").await.ok()?,
            client.depth("debci-ppa-noble-amd64").await.ok()?,
        );
        // The first one's acknowledgement may be among those that were lost.
        (depths.0 >= Some(1) && depths.1 == Some(1)).then_some(())
    })
    .await?;
    let second = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").start().await?;
    cluster.done("green", 1).await?;
    cluster.done("blue", 1).await?;
    wait_for("the acknowledgements", PATIENCE, async || {
        (second.log().matches("request was taken before").count() >= 2).then_some(())
    })
    .await?;
    cluster.done("first", 1).await?;
    assert_eq!(cluster.starts().len(), 3);
    Ok(())
}

#[tokio::test]
async fn restart_of_the_broker_in_mid_test() -> Result<()> {
    let rabbit = Rabbit::start().await?;
    let mut cluster = Cluster::on_folder().await?;
    cluster.bus = rabbit.secured("/").await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let _workers = (cluster.worker("one").start().await?, cluster.worker("two").start().await?);
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    rabbit.kill9().await?;
    tokio::time::sleep(Duration::from_secs(2 * proofhouse_tests::cluster::LEASE_SECONDS)).await;
    rabbit.start_again().await?;
    let client = cluster.client().await?;
    wait_for("the queues", PATIENCE, async || client.depth("debci-noble-amd64").await.ok()?).await?;
    client.publish("debci-noble-amd64", &body("blue", &params("blue/2", &[]))).await?;
    cluster.done("blue", 1).await?;
    std::fs::write(&release, "")?;
    cluster.done("green", 1).await?;
    assert_eq!(
        cluster.starts().len(),
        2,
        "nothing ran twice, though the broker was away for longer than a lease"
    );
    assert_eq!(folders_with(&cluster, "result.tar"), 1);
    Ok(())
}

#[tokio::test]
async fn sigterm_loses_and_repeats_nothing() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut dispatcher = cluster.dispatcher().start().await?;
    let worker = cluster.worker("one").start().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    worker.sigterm()?;
    dispatcher.sigterm()?;
    assert!(dispatcher.wait(PATIENCE).await?.success());
    client.publish("debci-noble-amd64", &body("blue", &params("blue/2", &[]))).await?;
    dispatcher.start_again().await?;
    wait_for("blue in the table", PATIENCE, async || {
        (cluster.jobs("blue").await.ok()? == (0, 1)).then_some(())
    })
    .await?;
    std::fs::write(&release, "")?;
    assert!(worker.wait(PATIENCE).await?.success(), "it finished what ran, and took nothing new");
    cluster.done("green", 1).await?;
    assert_eq!(cluster.starts().len(), 1);
    let _next = cluster.worker("one").start().await?;
    cluster.done("blue", 1).await?;
    assert_eq!(cluster.starts().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_second_sigterm_stops_hard_and_the_job_runs_elsewhere() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let worker = cluster.worker("one").start().await?;
    let hold = format!("HOLD={}", cluster.folder().join("go").display());
    cluster
        .client()
        .await?
        .publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold])))
        .await?;
    cluster.started("green", 1).await?;
    worker.sigterm()?;
    wait_for("the first stage", PATIENCE, async || worker.log().contains("takes nothing new").then_some(()))
        .await?;
    worker.sigterm()?;
    worker.wait(PATIENCE).await?;
    wait_for("the runner's end", PATIENCE, async || worker.processes().is_empty().then_some(())).await?;
    std::fs::write(cluster.folder().join("go"), "")?;
    let _second = cluster.worker("two").start().await?;
    cluster.done("green", 1).await?;
    assert_eq!(cluster.starts().len(), 2);
    Ok(())
}

/// A host that vanished closes no connection: what was asked of it is never answered.
#[tokio::test]
async fn a_database_that_is_silent_in_mid_test() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let proxy = TcpProxy::start(SocketAddr::from(([127, 0, 0, 1], shared::postgres().await?.port()))).await?;
    let dispatcher = cluster
        .dispatcher()
        .arg("--database", proxy.before(&cluster.database_of("dispatcher"))?)
        .start()
        .await?;
    let _worker = cluster.worker("one").start().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    proxy.hold_client_to_server();
    std::fs::write(&release, "")?;
    client.publish("debci-noble-amd64", &body("blue", &params("blue/2", &[]))).await?;
    wait_for("the end of the leadership", PATIENCE, async || {
        dispatcher.log().contains("no longer leading").then_some(())
    })
    .await?;
    // What was held is lost, with the connections.
    proxy.cut();
    proxy.resume();
    cluster.done("green", 1).await?;
    cluster.done("blue", 1).await?;
    assert_eq!((folders_with(&cluster, "result.tar"), cluster.starts().len()), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_job_that_cannot_be_read_stops_nobody() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").arg("--slots", "2").start().await?;
    let hold = format!("HOLD={}", cluster.folder().join("go").display());
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    // As a later version could have written it.
    let mut database = PgConnection::connect(&cluster.database).await?;
    sqlx::query("UPDATE jobs SET body = 'green {\"triggers\": {}}'").execute(&mut database).await?;
    dispatcher.kill9().await?;
    dispatcher.start_again().await?;
    client.publish("debci-noble-amd64", &body("blue", &params("blue/2", &[]))).await?;
    cluster.done("blue", 1).await?;
    let state: String =
        sqlx::query_scalar("SELECT state FROM jobs WHERE package = 'green'").fetch_one(&mut database).await?;
    assert_eq!(state, "parked");
    Ok(())
}

#[tokio::test]
async fn dispatchers_die_at_random_moments() -> Result<()> {
    Storm { requests: 200, packages: 10, lasts: Duration::from_secs(20), everything: false }.blow().await
}

/// Nobody can tell then whether the broker started anew: no link may look like that, for equal requests would be taken for one.
#[tokio::test]
async fn a_dispatcher_that_may_leave_no_mark_takes_equal_requests_over_new_links() -> Result<()> {
    let rabbit = Rabbit::start().await?;
    let mut cluster = Cluster::on_folder().await?;
    let direct = rabbit.secured("/").await?;
    let (everything, other) = (".*", "^(?!proofhouse\\.boot).*");
    rabbit.ctl(&["set_permissions", "-p", "/", "dispatcher", other, everything, everything]).await?;
    let proxy = TcpProxy::start(rabbit.tls_address()).await?;
    cluster.bus = proxy.before(&direct)?;
    let dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").start().await?;
    for n in 1..=3 {
        let client = cluster.client().await?;
        client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
        cluster.done("green", n).await?;
        drop(client);
        proxy.cut();
    }
    wait_for("the warning", PATIENCE, async || {
        dispatcher.log().contains("may not make the exchange proofhouse.boot").then_some(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_alone_was_cut_off_ends_its_test_on_contact() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let proxy = TcpProxy::start(shared::rabbit().await?.tls_address()).await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let link = proxy.before(&cluster.bus_of("worker"))?;
    let one = cluster.worker("one").arg("--bus", link).start().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    cluster.started("green", 1).await?;
    let _two = cluster.worker("two").start().await?;
    proxy.silence();
    cluster.started("green", 2).await?;
    let running = one.processes().len();
    assert!(!one.log().contains("given up"), "the first goes on, for nobody can tell its worker");
    proxy.resume();
    wait_for("the first one's end", PATIENCE, async || {
        (one.log().contains("given up") && one.processes().len() < running).then_some(())
    })
    .await?;
    assert_eq!(cluster.jobs("green").await?, (0, 1), "the second goes on");
    std::fs::write(&release, "")?;
    cluster.done("green", 1).await?;
    assert_eq!(cluster.starts().len(), 2);
    assert_eq!(folders_with(&cluster, "result.tar"), 1);
    Ok(())
}
