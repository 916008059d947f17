//! The published database as a gate reads it, from two webs at once while it changes.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    wait::wait_for,
};
use serde_json::json;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// How often it changes while it is read.
const CHANGES: usize = if cfg!(feature = "verify") { 4 } else { 1 };
/// What britney asks for (contract "The published database").
const QUESTION: &str = "SELECT r.exitcode,r.version,r.triggers,r.run_id FROM test AS t \
    LEFT JOIN result AS r ON t.id=r.test_id WHERE t.release=? AND t.arch=? AND t.package=? AND r.run_id > ?";

async fn get(url: String) -> Result<Vec<u8>> {
    Ok(reqwest::get(url).await?.error_for_status()?.bytes().await?.to_vec())
}

/// The digest from one web, then the file from another: they are equal.
async fn fetch(one: &str, other: &str) -> Result<Vec<u8>> {
    let digest = String::from_utf8(get(format!("{one}/static/autopkgtest.db.sha256")).await?)?;
    let file = get(format!("{other}/static/autopkgtest.db")).await?;
    anyhow::ensure!(digest.len() == 64 && digest == sha256(&file).await?, "{digest} is of another file");
    Ok(file)
}

/// By another program than ours.
async fn sha256(bytes: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes)?;
    let printed = tokio::process::Command::new("sha256sum").arg(file.path()).output().await?;
    Ok(String::from_utf8(printed.stdout)?.split(' ').next().unwrap_or_default().to_owned())
}

/// britney's question, newest first: exit code, version, triggers, run id.
async fn ask(file: &Path, package: &str) -> Result<Vec<(i64, String, String, String)>> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await?;
    let rows = sqlx::query_as(QUESTION).bind("noble").bind("amd64").bind(package).bind("20200101_000000@");
    Ok(rows.fetch_all(&mut database).await?)
}

#[tokio::test]
async fn a_gate_reads_it_from_any_web_while_it_changes() -> Result<()> {
    let cluster = Cluster::on_swift().await?;
    let webs = (cluster.web().start().await?, cluster.web().start().await?);
    let (one, other) = (webs.0.site_url()?, webs.1.site_url()?);
    let answer = reqwest::get(format!("{one}/static/autopkgtest.db")).await?;
    assert_eq!(answer.status(), 404, "nothing is published yet");
    let _dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    wait_for("the first one", PATIENCE, async || fetch(&one, &other).await.ok()).await?;

    let (over, path) = (AtomicBool::new(false), cluster.folder().join("fetched.db"));
    let changes = async {
        for n in 1..=CHANGES {
            let asked = params(&format!("green/{n}"), &["EXIT=4"]);
            client.publish("debci-noble-amd64", &body("green", &asked)).await?;
            client.publish("debci-ppa-noble-amd64", &body("ppa", &json!({"ppas": ["own/foo"]}))).await?;
            cluster.done("green", i64::try_from(n)?).await?;
            let published = async || {
                std::fs::write(&path, fetch(&other, &one).await.ok()?).ok()?;
                let rows = ask(&path, "green").await.ok()?;
                (rows.len() == n).then_some(rows)
            };
            let rows = wait_for("it in the file", Duration::from_secs(60), published).await?;
            assert_eq!((rows[n - 1].0, rows[n - 1].1.as_str()), (4, n.to_string().as_str()));
            assert!(rows[n - 1].2.starts_with("green/") && rows[n - 1].3.ends_with('@'), "{rows:?}");
            assert!(ask(&path, "ppa").await?.is_empty());
        }
        over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let reads = async {
        let mut read = 0;
        while !over.load(Ordering::Relaxed) {
            fetch(&one, &other).await?;
            fetch(&other, &one).await?;
            read += 2;
        }
        anyhow::Ok(read)
    };
    let ((), read) = tokio::try_join!(changes, reads)?;
    assert!(read > 10 * CHANGES, "{read}");
    Ok(())
}
