//! What operators do to the queue: held back and let go, put first, called off, dropped; and the log of it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    proofhouse::Proofhouse,
    wait::wait_for,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection, PgConnection};
use std::io::Write as _;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// A command that wakes the leader.
async fn operate(cluster: &Cluster, args: &[&str]) -> Result<Value> {
    let bus = cluster.bus_of("operator");
    cluster.json(&[&["queue"], args, &["--bus", &bus]].concat()).await
}

async fn request(cluster: &Cluster, queue: &str, package: &str, trigger: &str, env: &[&str]) -> Result<()> {
    cluster.client().await?.publish(queue, &body(package, &params(trigger, env))).await
}

async fn ask(cluster: &Cluster, package: &str, env: &[&str]) -> Result<()> {
    request(cluster, "debci-noble-amd64", package, &format!("{package}/1"), env).await
}

/// Waits until so many jobs wait, each in its lane, and the leader has seen them.
async fn are_waiting(cluster: &Cluster, dispatcher: &Proofhouse, n: i64) -> Result<()> {
    let mut database = PgConnection::connect(&cluster.database).await?;
    wait_for(&format!("{n} jobs in their lanes"), PATIENCE, async || {
        let sql = "SELECT count(*) FROM jobs WHERE state = 'waiting' AND lane IS NOT NULL AND lane <> '?'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.ok()?;
        (count == n).then_some(())
    })
    .await?;
    let line = format!("proofhouse_jobs{{state=\"waiting\"}} {n}");
    wait_for("the leader's look", PATIENCE, async || {
        dispatcher.metrics().await.is_ok_and(|metrics| metrics.contains(&line)).then_some(())
    })
    .await
}

/// The uuid of a job that waits or runs, as the list has it.
async fn uuid_of(cluster: &Cluster, package: &str) -> Result<String> {
    let list = cluster.json(&["queue", "ls"]).await?;
    let job = list.as_array().and_then(|list| list.iter().find(|job| job["package"] == package));
    Ok(job.and_then(|job| job["uuid"].as_str()).context("it is in the list")?.to_owned())
}

/// State, exit code of the result, and what decided on it, by package.
async fn ends(cluster: &Cluster) -> Result<BTreeMap<String, (String, Option<i64>, Option<String>)>> {
    let mut database = PgConnection::connect(&cluster.database).await?;
    let rows: Vec<(String, String, Option<i64>, Option<String>)> = sqlx::query_as(
        "SELECT j.package, j.state, r.exit_code, r.rule FROM jobs j LEFT JOIN results r ON r.job_id = j.id",
    )
    .fetch_all(&mut database)
    .await?;
    Ok(rows.into_iter().map(|(package, state, code, rule)| (package, (state, code, rule))).collect())
}

#[tokio::test]
async fn pauses_and_caps_hold_back_until_they_are_taken_back() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let paused = operate(&cluster, &["pause", "--context", "ubuntu", "--reason", "the mirror moves"]).await?;
    let pause = paused["pauses"][0]["id"].to_string();
    operate(&cluster, &["cap", "trigger", "capped/1", "1"]).await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").arg("--slots", "4").start().await?;
    ask(&cluster, "green", &[]).await?;
    let go = cluster.folder().join("go");
    let hold = format!("HOLD={}", go.display());
    for n in 1..=3 {
        let (queue, number) = ("debci-upstream-noble-amd64", format!("NUMBER={n}"));
        request(&cluster, queue, "amber", "capped/1", &[&hold, &number]).await?;
    }
    request(&cluster, "debci-upstream-noble-amd64", "blue", "blue/1", &[]).await?;
    // Another context, another trigger: it goes past them.
    cluster.done("blue", 1).await?;
    let starts = |package: &str| cluster.starts().iter().filter(|(_, p)| p == package).count();
    assert_eq!((starts("green"), starts("amber")), (0, 1), "one is paused, of the other one runs");
    let list = cluster.json(&["queue", "pauses"]).await?;
    assert_eq!((&list[0]["waiting"], &list[0]["reason"]), (&json!(1), &json!("the mirror moves")));
    assert_eq!(cluster.json(&["queue", "caps"]).await?[0]["most"], 1);

    operate(&cluster, &["resume", &pause]).await?;
    cluster.done("green", 1).await?;
    operate(&cluster, &["uncap", "trigger", "capped/1"]).await?;
    cluster.started("amber", 3).await?;
    std::fs::write(&go, "")?;
    cluster.done("amber", 3).await?;
    assert!(cluster.json(&["queue", "pauses"]).await?.as_array().is_some_and(Vec::is_empty));
    let again = cluster.output(&["queue", "resume", &pause]).await?;
    assert_eq!(again.status.code(), Some(1), "it is over");
    Ok(())
}

#[tokio::test]
async fn an_emergency_goes_first_then_what_was_raised() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut dispatcher = cluster.dispatcher().start().await?;
    for package in ["amber", "blue", "cyan", "delta"] {
        ask(&cluster, package, &[]).await?;
    }
    are_waiting(&cluster, &dispatcher, 4).await?;
    // Without a leader: the next one knows nothing of how they stood before.
    dispatcher.sigterm()?;
    dispatcher.wait(PATIENCE).await?;
    let refused = cluster.output(&["queue", "raise"]).await?;
    assert_eq!(refused.status.code(), Some(2), "nothing says which");
    let dry = cluster.json(&["queue", "raise", "--package", "c*", "--dry-run"]).await?;
    assert_eq!(
        (&dry["jobs"], &dry["first"][0]["package"], &dry["audit"]),
        (&json!(1), &json!("cyan"), &Value::Null)
    );
    let cyan = uuid_of(&cluster, "cyan").await?;
    assert_eq!(cluster.json(&["queue", "raise", "--uuid", &cyan, "--by", "2"]).await?["jobs"], 1);
    assert_eq!(cluster.json(&["queue", "raise", "--package", "c*", "--by", "3"]).await?["jobs"], 1);
    let typo = cluster.output(&["queue", "raise", "--package", "cyann"]).await?;
    let said = String::from_utf8_lossy(&typo.stderr).into_owned();
    assert!(typo.status.code() == Some(1) && said.contains("no waiting job matches"), "{said}");
    assert_eq!(cluster.json(&["queue", "lower", "--trigger", "amber"]).await?["jobs"], 1);
    assert_eq!(cluster.json(&["queue", "emergency", "--package", "[bd]*"]).await?["jobs"], 2);
    let left = cluster.json(&["queue", "level", "7", "--trigger", "blue/1"]).await?;
    assert_eq!((&left["jobs"], left["left"].as_object().map(serde_json::Map::len)), (&json!(0), Some(1)));
    assert_eq!(cluster.json(&["queue", "emergency", "--end", "--package", "delta"]).await?["jobs"], 1);
    dispatcher.start_again().await?;
    are_waiting(&cluster, &dispatcher, 4).await?;
    let _worker = cluster.worker("one").start().await?;
    cluster.done("amber", 1).await?;
    let order: Vec<String> = cluster.starts().into_iter().map(|(_, package)| package).collect();
    assert_eq!(order, ["blue", "cyan", "delta", "amber"]);
    Ok(())
}

#[tokio::test]
async fn what_waits_and_what_runs_is_called_off_and_the_audit_shows_it() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let mut completions = cluster.client().await?.listen("testcomplete.fanout").await?;
    let never = format!("HOLD={}", cluster.folder().join("never").display());
    let _worker = cluster.worker("one").start().await?;
    ask(&cluster, "green", &[&never]).await?;
    cluster.started("green", 1).await?;
    ask(&cluster, "amber", &[]).await?;
    ask(&cluster, "blue", &[]).await?;
    request(&cluster, "debci-noble-amd64", "baseline", "migration-reference/0", &[]).await?;
    wait_for("three that wait", PATIENCE, async || {
        let list = cluster.json(&["queue", "ls"]).await.ok()?;
        list.as_array().is_some_and(|list| list.len() == 4).then_some(())
    })
    .await?;

    let amber = uuid_of(&cluster, "amber").await?;
    let green = uuid_of(&cluster, "green").await?;
    let said = operate(&cluster, &["cancel", "--uuid", &amber, "--reason", "a mistake"]).await?;
    assert_eq!((&said["jobs"], &said["by"][0]["jobs"]), (&json!(1), &json!(1)));
    let all = ["cancel", "--release", "noble", "--running", "--answer", "--reason", "no disk"];
    let said = operate(&cluster, &all).await?;
    assert_eq!((&said["jobs"], &said["answered"], &said["unanswered"]), (&json!(3), &json!(2), &json!(1)));
    let mut answered = Vec::new();
    for _ in 0..2 {
        let completion = completions.next_json(PATIENCE, |_| true).await?;
        assert_eq!(
            (&completion["exitcode"], &completion["testpkg_version"]),
            (&json!(99), &json!("unknown"))
        );
        answered.push(completion["triggers"].as_str().context("triggers")?.to_owned());
    }
    answered.sort();
    assert_eq!(answered, ["blue/1", "green/1"]);
    // The slot is free again: the killed test has let go of it.
    ask(&cluster, "after", &[]).await?;
    cluster.done("after", 1).await?;
    let answer = || ("done".to_owned(), Some(99), Some("cancelled".to_owned()));
    let nothing = || ("cancelled".to_owned(), None, None);
    let found = wait_for("the ends", PATIENCE, async || {
        let mut found = ends(&cluster).await.ok()?;
        found.remove("after");
        found.values().all(|(state, ..)| matches!(state.as_str(), "done" | "cancelled")).then_some(found)
    })
    .await?;
    let expected = [("amber", nothing()), ("baseline", nothing()), ("blue", answer()), ("green", answer())];
    assert_eq!(found, expected.map(|(package, end)| (package.to_owned(), end)).into());
    assert_eq!(cluster.starts().len(), 2, "neither was run");
    let shown = cluster.json(&["run", "show", &green]).await?;
    assert_eq!(shown["result"]["called_off"], "no disk", "{shown}");

    let audit = cluster.json(&["queue", "audit", "--since", "1d"]).await?;
    let entries: Vec<_> =
        audit.as_array().context("a list")?.iter().map(|e| (&e["jobs"], &e["what"])).collect();
    let what = json!({"release": "noble", "running": true, "answer": true, "reason": "no disk"});
    assert_eq!(entries, [(&json!(1), &json!({"uuid": [amber], "reason": "a mistake"})), (&json!(3), &what)]);
    assert!(audit[0]["person"].as_str().is_some_and(|person| !person.is_empty()));
    let nobody = cluster.json(&["queue", "audit", "--person", "nobody of this name"]).await?;
    assert_eq!(nobody, json!([]));
    Ok(())
}

/// An archive of these files, at the URL that is returned.
async fn serve(files: BTreeMap<String, Vec<u8>>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let files = Arc::new(files);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let files = files.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = socket.split();
                let mut lines = BufReader::new(reader).lines();
                let first = lines.next_line().await.ok().flatten().unwrap_or_default();
                while lines.next_line().await.ok().flatten().is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, content) = match files.get(path) {
                    Some(content) => ("200 OK", content.as_slice()),
                    None => ("404 Not Found", &[][..]),
                };
                let length = content.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = writer.write_all(&[head.as_bytes(), content].concat()).await;
            });
        }
    });
    Ok(url)
}

/// A pocket with one component.
fn pocket(name: &str, date: &str, sources: &str) -> Result<[(String, Vec<u8>); 2]> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(sources.as_bytes())?;
    let packed = packed.finish()?;
    let (sum, size) = (format!("{:x}", Sha256::digest(&packed)), packed.len());
    let release = format!("Suite: {name}\nDate: {date}\nSHA256:\n {sum} {size} main/source/Sources.gz\n");
    Ok([
        (format!("/dists/{name}/Release"), release.into_bytes()),
        (format!("/dists/{name}/main/source/Sources.gz"), packed),
    ])
}

#[tokio::test]
async fn what_the_archive_does_not_have_any_more_and_what_a_newer_push_replaced_is_dropped() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().start().await?;
    for package in ["gone", "proposed", "released"] {
        ask(&cluster, package, &[]).await?;
    }
    for (package, commit) in [("pushed", "a"), ("pushed", "b"), ("other", "c")] {
        let params = json!({"build-git": format!("https://example.org/{package}.git#main"),
            "env": ["UPSTREAM_PULL_REQUEST=7", format!("GITHUB_STATUSES_URL=https://example.org/{commit}")]});
        cluster.client().await?.publish("debci-upstream-noble-amd64", &body(package, &params)).await?;
    }
    are_waiting(&cluster, &dispatcher, 6).await?;
    let source = |name: &str| format!("Package: {name}\nVersion: 1\n\nPackage: {name}\nVersion: 2\n\n");
    let of = async |date: &str| {
        let pockets = [
            pocket("noble", date, &source("released"))?,
            pocket("noble-proposed", date, &source("proposed"))?,
        ];
        serve(pockets.into_iter().flatten().collect()).await
    };
    let (old, new) = (of("Sat, 01 Jan 2022 00:00:00 UTC").await?, of("Fri, 01 Jan 2100 00:00:00 UTC").await?);
    let drop = ["queue", "drop-obsolete", "--all", "--archive-components", "main", "--archive"];
    assert_eq!(cluster.json(&[&drop[..], &[&old]].concat()).await?["jobs"], 0, "the indexes are older");
    let dry = cluster.json(&[&drop[..], &[&new, "--dry-run"]].concat()).await?;
    assert_eq!((&dry["jobs"], &dry["first"][0]["package"]), (&json!(1), &json!("gone")));
    assert_eq!(cluster.json(&[&drop[..], &[&new]].concat()).await?["jobs"], 1);
    let away = cluster.output(&[&drop[..], &["http://127.0.0.1:1"]].concat()).await?;
    assert_eq!(away.status.code(), Some(1));
    let dropped = cluster.json(&["queue", "drop-superseded", "--context", "upstream"]).await?;
    assert_eq!((&dropped["jobs"], &dropped["first"][0]["package"]), (&json!(1), &json!("pushed")));
    let mut database = PgConnection::connect(&cluster.database).await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT package, count(*) FROM jobs WHERE state = 'obsolete' GROUP BY package ORDER BY package",
    )
    .fetch_all(&mut database)
    .await?;
    assert_eq!(rows, [("gone".to_owned(), 1), ("pushed".to_owned(), 1)]);
    Ok(())
}
