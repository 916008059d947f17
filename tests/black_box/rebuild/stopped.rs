//! Servers go away in mid-way, and people lose patience.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use proofhouse_core::evidence;
use proofhouse_tests::{
    cluster::PATIENCE, keeper::Keeper, postgres::Postgres, proofhouse, proxy::TcpProxy, wait::wait_for,
};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{reindex, write_file};

const RUNS: usize = 6000;

async fn count(url: &str) -> Result<i64> {
    let mut database = PgConnection::connect(url).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM results").fetch_one(&mut database).await?)
}

/// Waits until some of the runs, and not all, are in the index.
async fn mid_way(url: &str, more_than: i64) -> Result<()> {
    wait_for("some of the runs in the index", PATIENCE, async || {
        (count(url).await.ok()? > more_than).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_rebuild_waits_for_servers_and_goes_on_where_it_was_stopped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tar = evidence::result_tar(&[("exitcode", b"0\n".to_vec())])?;
    for n in 0..RUNS {
        let time = format!("{:02}{:02}{:02}", n / 3600, n / 60 % 60, n % 60);
        let object = format!("noble/amd64/p/pkg{:02}/20260101_{time}_aaaaa@/result.tar", n % 40);
        write_file(&folder.path().join("store"), "autopkgtest-noble", &object, &tar)?;
    }
    let postgres = Postgres::start().await?;
    let direct = postgres.database("stopped").await?;
    let server = std::net::SocketAddr::from(([127, 0, 0, 1], postgres.port()));
    let proxy = TcpProxy::start(server).await?;
    let url = proxy.before(&direct)?;
    let store = format!("file://{}", folder.path().join("store").display());
    let args = ["--database", &url, "--store", &store, "--jobs", "1"];

    let migrated = proofhouse::run(&["database", "migrate", "--database", &direct], &[]).await?;
    assert!(migrated.status.success());
    proxy.refuse().await?;
    let away = proofhouse::run(&[&["reindex"], &args[..]].concat(), &[]).await?;
    assert_eq!(away.status.code(), Some(3), "{}", String::from_utf8_lossy(&away.stderr));
    proxy.restore().await?;

    // Ctrl-C, with the database out of reach so that it is mid-way for sure.
    let keeper = Keeper::new("reindex")?;
    let mut command = keeper.command(proofhouse::binary()?);
    command.arg("reindex").args(args);
    let process = keeper.spawn("reindex", &mut command)?;
    mid_way(&direct, 0).await?;
    proxy.hold_client_to_server();
    process.signal(Signal::SIGINT)?;
    let ended = process.wait(Duration::from_secs(20)).await?;
    assert_eq!(ended.code(), Some(1));
    assert!(process.log().contains("goes on from here"), "{}", process.log());
    proxy.cut();
    proxy.resume();
    let first = count(&direct).await?;
    assert!(usize::try_from(first)? < RUNS, "all were done before it was stopped");

    // The next one reads the rest alone, over a database that goes away and comes back.
    let second = tokio::spawn({
        let args = args.map(str::to_owned);
        async move { reindex(&args.each_ref().map(String::as_str), &[]).await }
    });
    mid_way(&direct, first).await?;
    proxy.refuse().await?;
    proxy.cut();
    tokio::time::sleep(Duration::from_secs(2)).await; // an outage of two seconds
    proxy.restore().await?;
    let (status, summary, said): (_, Value, _) = second.await??;
    assert_eq!(status, Some(0), "{summary} {said}");
    assert!(said.contains("trying again"), "{said}");
    let looked_at = summary["runs"].as_i64().context("runs")?;
    assert_eq!((looked_at, count(&direct).await?), (i64::try_from(RUNS)? - first, i64::try_from(RUNS)?));

    let (_, summary, _) = reindex(&args, &[]).await?;
    assert_eq!((&summary["known"], &summary["indexed"]), (&RUNS.into(), &0.into()));
    Ok(())
}
