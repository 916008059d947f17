//! A store that old systems filled, behind one process with everything embedded.

use std::path::Path;

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{PATIENCE, stand_in},
    proofhouse::{self, Proofhouse},
    wait::wait_for,
};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use super::{page, reindex, write_file, write_run};

const INFO: (&str, &str) =
    ("testinfo.json", "{\"custom_environment\": [\"ADT_TEST_TRIGGERS=green/2 blue/1\"], \"nproc\": \"2\"}");

/// What was found in such stores, and worse.
fn fill(store: &Path) -> Result<()> {
    let run = |container: &str, folder: &str, members: &[(&str, &str)]| {
        write_run(store, container, folder, members)
    };
    let (exit, duration) = (|code| ("exitcode", code), ("duration", "123\n"));
    let plain = "autopkgtest-noble";
    // Without digits behind the time; the requester is a line.
    run(
        plain,
        "noble/amd64/g/green/20130101_000000@",
        &[exit("0\n"), ("testpkg-version", "green 1:2-3"), duration, INFO, ("requester", "joe\n")],
    )?;
    // A failed testbed, a version that was never known.
    run(plain, "noble/amd64/g/green/20260101_000000_aaaaa@", &[exit("16\n"), INFO])?;
    run(
        plain,
        "noble/amd64/g/green/20260102_000000_bbbbb@",
        &[exit("4\n"), ("testpkg-version", "green unknown\n"), ("duration", "x"), ("testinfo.json", "{}")],
    )?;
    run(
        plain,
        "noble/amd64/libz/libzstd/20260103_000000_ccccc@",
        &[exit("12"), ("testinfo.json", "not JSON")],
    )?;
    // A clock that was wrong.
    run(
        plain,
        "noble/amd64/g/green/20991231_235959_fffff@",
        &[exit("0\n"), ("testpkg-version", "green 9"), INFO],
    )?;
    run(
        "autopkgtest-noble-owner-name",
        "noble/amd64/g/green/20260104_000000_ddddd@",
        &[exit("20\n"), ("testpkg-version", "green 5"), duration],
    )?;
    run(
        "private-autopkgtest-noble",
        "noble/amd64/h/hushhush/20260105_000000_eeeee@",
        &[exit("0\n"), ("testpkg-version", "hushhush 1"), INFO],
    )?;
    write_file(
        store,
        "private-autopkgtest-noble",
        "noble/amd64/h/hushhush/20260105_000000_eeeee@/readable-by",
        b"joe\nann\n",
    )?;
    // Not to be read.
    write_file(store, plain, "noble/amd64/r/red/20260106_000000_aaaaa@/result.tar", b"nonsense")?;
    run(plain, "noble/amd64/r/red/20260107_000000_aaaaa@", &[INFO])?;
    write_file(
        store,
        "private-autopkgtest-noble",
        "noble/amd64/h/hushhush/20260106_000000_eeeee@/result.tar",
        b"hush",
    )?;
    // No runs: not complete, not where a run lies, no results.
    write_file(store, plain, "noble/amd64/g/green/20260108_000000_aaaaa@/log.gz", b"")?;
    write_file(store, plain, "noble/amd64/g/green/latest/result.tar", b"x")?;
    write_file(store, plain, "noble/amd64/x/green/20260109_000000_aaaaa@/result.tar", b"x")?;
    write_file(store, plain, "testinfo.json", b"{}")?;
    write_file(store, "db-backups", "2026/db.zst", b"x")
}

#[tokio::test]
async fn old_results_are_read_as_they_are() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    fill(&store)?;
    let url = format!("file://{}", store.display());
    let up = Proofhouse::role("up")
        .arg("--store", &url)
        .arg("--releases", "noble")
        .arg("--arches", "amd64")
        .arg("--provider", "null")
        .arg("--autopkgtest", stand_in())
        .arg("--min-free-mib", "1")
        .env("STAND_IN_STARTS", folder.path().join("starts").display().to_string())
        .start()
        .await?;
    let data = up.data().display().to_string();
    let args = ["--data", &data, "--store", &url];
    let (status, summary, said) = reindex(&args, &[]).await?;
    assert_eq!(status, Some(1), "not all could be read");
    let counts =
        ["containers", "runs", "indexed", "known", "damaged", "unreadable"].map(|key| summary[key].as_i64());
    assert_eq!(counts, [3, 10, 7, 0, 3, 0].map(Some), "{summary}");
    let damaged = summary["damaged_runs"].as_array().context("a list")?;
    assert_eq!(damaged.len(), 2, "{summary}");
    assert_eq!(damaged[0]["name"], "autopkgtest-noble/noble/amd64/r/red/20260106_000000_aaaaa@");
    assert!(!format!("{summary}{said}{}", up.log()).contains("hush"));
    let site = up.site_url()?;
    shown(&site).await?;

    // Lost and rebuilt once more, while it serves; then only what is new comes in.
    let before = pages(&site).await?;
    let mut database = SqliteConnection::connect(&format!("sqlite://{data}/proofhouse.db")).await?;
    sqlx::query("DELETE FROM results").execute(&mut database).await?;
    assert_ne!(pages(&site).await?, before);
    reindex(&args, &[]).await?;
    assert_eq!(pages(&site).await?, before);
    let readers: (String, bool) =
        sqlx::query_as("SELECT readable_by, private FROM results WHERE package = 'hushhush'")
            .fetch_one(&mut database)
            .await?;
    assert_eq!(readers, ("joe\nann".to_owned(), true));
    let typo = proofhouse::run(&[&["reindex", "--release", "nobel"], &args[..]].concat(), &[]).await?;
    let said = String::from_utf8(typo.stderr)?;
    assert_eq!(typo.status.code(), Some(2), "{said}");
    assert!(said.contains("there are autopkgtest-noble") && !said.contains("hush"), "{said}");
    write_run(
        &store,
        "autopkgtest-noble",
        "noble/amd64/b/blue/20260110_000000_aaaaa@",
        &[("exitcode", "0\n")],
    )?;
    let (_, summary, _) = reindex(&[&args[..], &["--container", "autopkgtest-noble"]].concat(), &[]).await?;
    assert_eq!((&summary["indexed"], &summary["known"]), (&1.into(), &5.into()));

    // What is published now comes behind all that was found, or britney would never see it.
    let request = ["request", "noble", "amd64", "green", "--data", &data, "--store", &url];
    let asked = proofhouse::run(&request, &[]).await?;
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    wait_for("a result behind that of the wrong clock", PATIENCE, async || {
        let (_, text) = page(&format!("{site}/packages/green/noble/amd64")).await.ok()?;
        text.contains("21000101_000000_").then_some(())
    })
    .await
}

async fn shown(site: &str) -> Result<()> {
    let recent: Value = reqwest::get(format!("{site}/api/experimental/recent.json")).await?.json().await?;
    let runs: Vec<Value> = recent
        .as_array()
        .context("a list")?
        .iter()
        .map(|run| {
            json!([
                run["run_id"],
                run["exitcode"],
                run["version"],
                run["duration"],
                run["triggers"],
                run["requester"]
            ])
        })
        .collect();
    assert_eq!(
        json!(runs),
        json!([
            ["20991231_235959_fffff@", 0, "9", 0, ["green/2", "blue/1"], null],
            ["20260104_000000_ddddd@", 20, "5", 123, [], null],
            ["20260103_000000_ccccc@", 12, "unknown", 0, [], null],
            ["20260102_000000_bbbbb@", 4, "unknown", 0, [], null],
            ["20260101_000000_aaaaa@", 16, "unknown", 0, ["green/2", "blue/1"], null],
            ["20130101_000000@", 0, "1:2-3", 123, ["green/2", "blue/1"], "joe"],
        ])
    );
    for path in [
        "packages/green/noble/amd64/20130101_000000@",
        "packages/green/noble/amd64/20130101_000000@/log",
        "packages/libzstd/noble/amd64/20260103_000000_ccccc@",
        "packages/green/noble/amd64/20260104_000000_ddddd@?container=autopkgtest-noble-owner-name",
    ] {
        assert_eq!(page(&format!("{site}/{path}")).await?.0, 200, "/{path}");
    }
    for path in [
        "packages/hushhush",
        "packages/hushhush/noble/amd64",
        "packages/red",
        "packages/hushhush/noble/amd64/20260105_000000_eeeee@",
    ] {
        assert_eq!(page(&format!("{site}/{path}")).await?.0, 404, "/{path}");
    }
    Ok(())
}

async fn pages(site: &str) -> Result<Vec<(u16, String)>> {
    let mut all = Vec::new();
    for path in [
        "",
        "recent",
        "packages/green",
        "packages/green/noble/amd64",
        "packages/libzstd",
        "recent?user=joe",
        "api/experimental/recent.json",
        "packages/green/noble/amd64/20130101_000000@",
    ] {
        all.push(page(&format!("{site}/{path}")).await?);
    }
    Ok(all)
}
