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

/// Stops the index's writer at its 2,000th and 4,000th row until `barrier` lets it go on: mid-way, for sure.
const BARRIERS: &str = "
    CREATE SEQUENCE written;
    CREATE FUNCTION wait_at_barrier() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE n bigint := nextval('written');
    BEGIN
        IF n IN (2000, 4000) THEN PERFORM pg_advisory_xact_lock_shared(n); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER barrier BEFORE INSERT ON results FOR EACH ROW EXECUTE FUNCTION wait_at_barrier();
    SELECT pg_advisory_lock(2000), pg_advisory_lock(4000);
";

async fn reached(barrier: &mut PgConnection) -> Result<()> {
    wait_for("the writer at the barrier", PATIENCE, async || {
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
        sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut *barrier).await.ok()?.then_some(())
    })
    .await
}

async fn let_go(barrier: &mut PgConnection, row: i64) -> Result<()> {
    assert!(
        sqlx::query_scalar::<_, bool>("SELECT pg_advisory_unlock($1)").bind(row).fetch_one(barrier).await?
    );
    Ok(())
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
    let mut barrier = PgConnection::connect(&direct).await?;
    sqlx::raw_sql(BARRIERS).execute(&mut barrier).await?;
    proxy.refuse().await?;
    let away = proofhouse::run(&[&["reindex"], &args[..]].concat(), &[]).await?;
    assert_eq!(away.status.code(), Some(3), "{}", String::from_utf8_lossy(&away.stderr));
    proxy.restore().await?;

    // Ctrl-C, with the database out of reach so that it is mid-way for sure.
    let keeper = Keeper::new("reindex")?;
    let mut command = keeper.command(proofhouse::binary()?);
    command.arg("reindex").args(args);
    let process = keeper.spawn("reindex", &mut command)?;
    reached(&mut barrier).await?;
    proxy.hold_client_to_server();
    let_go(&mut barrier, 2000).await?;
    process.signal(Signal::SIGINT)?;
    let ended = process.wait(Duration::from_secs(20)).await?;
    assert_eq!(ended.code(), Some(1));
    assert!(process.log().contains("goes on from here"), "{}", process.log());
    proxy.cut();
    proxy.resume();
    let first = count(&direct).await?;
    assert!(0 < first && usize::try_from(first)? < RUNS, "not mid-way: {first}");

    // The next one reads the rest alone, over a database that goes away and comes back.
    let second = tokio::spawn({
        let args = args.map(str::to_owned);
        async move { reindex(&args.each_ref().map(String::as_str), &[]).await }
    });
    reached(&mut barrier).await?;
    proxy.refuse().await?;
    proxy.cut();
    let_go(&mut barrier, 4000).await?;
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
