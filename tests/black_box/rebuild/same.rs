//! The same pages: after the index was lost, and with a new database on the old store.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    shared,
    wait::wait_for,
};
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

use super::page;

/// Every result but its number, the time of its record, and its job, which belong to one database.
const ROWS: &str = "SELECT concat_ws('|', container, release, arch, package, run_id, uuid, version, triggers, env, requester,
    exit_code, duration_seconds, private, readable_by, stored, rule) FROM results ORDER BY container, package, run_id";
/// What pages of the past are drawn from. How long jobs waited only their rows know.
const SUMMARIES: &str = "SELECT concat_ws('|', 'standing', package, release, arch, class, run_id, version, duration_seconds,
        passed_run_id, passed_version, failing_since, runs) FROM standings
    UNION ALL SELECT concat_ws('|', 'flip', container, release, arch, package, run_id, before_run_id, class) FROM flips
    UNION ALL SELECT concat_ws('|', 'name', kind, name) FROM names
    UNION ALL SELECT concat_ws('|', 'trigger', t.name, r.package, r.run_id)
        FROM triggered JOIN triggers t ON t.id = trigger JOIN results r ON r.id = result
    UNION ALL SELECT concat_ws('|', what, hour, release, arch, name, n, total) FROM hours
        WHERE what IN ('results', 'packages') AND n > 0 ORDER BY 1";
const LINKS: &str = "SELECT concat_ws('|', job_id, container, run_id) FROM results ORDER BY 1";

/// Pages with the same text whoever shows them; `site` is taken out of links.
async fn pages(site: &str, paths: &[String]) -> Result<BTreeMap<String, (u16, String)>> {
    let mut all = BTreeMap::new();
    for path in paths {
        let (status, text) = page(&format!("{site}/{path}")).await?;
        all.insert(path.clone(), (status, text.replace(site, "")));
    }
    Ok(all)
}

/// What a page shows without what only a job's row knows: how it came to the result.
fn without_attempts(page: &str) -> String {
    let Some((before, rest)) = page.split_once("<h2>Attempts</h2>") else { return page.to_owned() };
    let behind = rest.split_once("</main>").map_or("", |(_, behind)| behind);
    format!("{before}\n\n</main>{behind}")
}

/// A history without what only jobs know: other parameters, and with them what would be asked for again.
fn without_parameters(page: &str) -> String {
    let of_job = |line: &str| {
        line.starts_with("<td class=\"code\"><span>")
            || ["<td class=\"code\"></td>", "<td></td>"].contains(&line)
            || line.contains(">retry</a>")
    };
    page.lines().filter(|line| !of_job(line)).collect::<Vec<_>>().join("\n")
}

async fn texts(url: &str, sql: &'static str) -> Result<Vec<String>> {
    let mut database = PgConnection::connect(url).await?;
    let rows = sqlx::query(sql).fetch_all(&mut database).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Lists of results, and one page for each; `alone`: those that show what only the job knows too.
async fn paths(database: &str) -> Result<(Vec<String>, Vec<String>)> {
    let sql = "SELECT concat_ws('|', package, release, arch, run_id, container, uuid) FROM results WHERE NOT private";
    let mut lists: Vec<String> = [
        "",
        "packages",
        "recent",
        "recent?user=joe",
        "recent?result=fail",
        "packages?q=gr",
        "api/experimental/recent.json",
        "packages/hushhush",
        "packages/hushhush/noble/amd64",
        "api/v1/results",
        "api/v1/results?result=fail",
        "api/v1/packages",
        "api/v1/packages/green",
        "api/v1/packages/green/noble/amd64",
        "feeds/package/green.atom",
        "feeds/package/green.atom?transitions=1",
        "feeds/release/noble.atom",
        "feeds/user/joe.atom",
        "feeds/trigger/green/2.atom",
        "badge/green.svg",
        "badge/red/noble/amd64.svg",
    ]
    .map(str::to_owned)
    .into();
    let mut alone = Vec::new();
    for row in texts(database, sql).await? {
        let [package, release, arch, run_id, container, uuid] = row.split('|').collect::<Vec<_>>()[..] else {
            anyhow::bail!("{row}")
        };
        let pair = format!("packages/{package}/{release}/{arch}");
        lists.extend([format!("packages/{package}"), pair.clone()]);
        lists.push(format!("{pair}/{run_id}/log?container={container}"));
        alone.extend([format!("{pair}/{run_id}?container={container}"), format!("run/{uuid}")]);
    }
    Ok((lists, alone))
}

#[tokio::test]
async fn the_same_pages_and_rows() -> Result<()> {
    let mut cluster = Cluster::on_swift().await?;
    let lists = cluster.folder().join("lists");
    std::fs::create_dir_all(&lists)?;
    std::fs::write(lists.join("never_run"), "black*\n")?;
    let dispatcher = cluster.dispatcher().arg("--lists", lists.display().to_string()).start().await?;
    let worker = cluster.worker("one").arg("--slots", "4").start().await?;
    let web = cluster.web().start().await?;
    ask(&cluster).await?;
    let database = cluster.database.clone();
    cluster.summed_up().await?;
    let (paths, alone) = paths(&database).await?;
    let all: Vec<String> = paths.iter().chain(&alone).cloned().collect();
    assert_eq!(alone.len(), 10, "{alone:?}");
    let site = web.site_url()?;
    let (before, rows, links) =
        (pages(&site, &all).await?, texts(&database, ROWS).await?, texts(&database, LINKS).await?);
    let summaries = texts(&database, SUMMARIES).await?;
    assert_eq!(rows.len(), 6, "{rows:?}");
    assert!(summaries.len() > 10 && !summaries.iter().any(|row| row.contains("hush")), "{summaries:?}");
    assert!(
        before.iter().all(|(path, (status, _))| *status == if path.contains("hush") { 404 } else { 200 })
    );

    // The index alone is lost. Everything serves on.
    let mut connection = PgConnection::connect(&database).await?;
    sqlx::query("DELETE FROM results").execute(&mut connection).await?;
    assert_ne!(pages(&site, &all).await?, before);
    let summary = cluster.json(&["reindex"]).await?;
    assert_eq!(
        (&summary["indexed"], &summary["known"], &summary["damaged"]),
        (&6.into(), &0.into(), &0.into())
    );
    cluster.summed_up().await?;
    assert_eq!(pages(&site, &all).await?, before);
    assert_eq!((texts(&database, ROWS).await?, texts(&database, LINKS).await?), (rows.clone(), links));
    assert_eq!(texts(&database, SUMMARIES).await?, summaries);
    let again = cluster.json(&["reindex", "--jobs", "2"]).await?;
    assert_eq!((&again["indexed"], &again["known"]), (&0.into(), &6.into()));
    assert_eq!(texts(&database, ROWS).await?, rows);

    // A new database on the old store. What differs, and must: the pages of one run have no attempts, and its longer one no
    // parameters and no further requesters, for those are the job's and there is none.
    for part in [dispatcher, worker, web] {
        part.sigterm()?;
        part.wait(PATIENCE).await?;
    }
    cluster.database = shared::postgres().await?.secured("rebuilt").await?;
    let dispatcher = cluster.dispatcher().start().await?;
    let summary = cluster.json(&["reindex"]).await?;
    assert_eq!((&summary["indexed"], &summary["finished"]), (&6.into(), &true.into()));
    cluster.summed_up().await?;
    let web = cluster.web().start().await?;
    let site = web.site_url()?;
    for (path, (status, text)) in pages(&site, &paths).await? {
        let (status_before, before) = &before[&path];
        let (text, before) = (without_parameters(&text), without_parameters(&without_attempts(before)));
        assert_eq!((status, text), (*status_before, before), "/{path}");
    }
    assert_eq!(texts(&cluster.database, ROWS).await?, rows);
    assert_eq!(texts(&cluster.database, SUMMARIES).await?, summaries);
    for (path, (status, text)) in pages(&site, &alone).await? {
        let words: Vec<&str> = path.split(['/', '?']).collect();
        let name = words.get(4).or(words.get(1)).context("a run id, or a uuid")?;
        assert!(status == 200 && text.contains(name), "/{path}: {text}");
    }
    for hidden in ["hush", "quietteam", "6a1d4c5e"] {
        assert!(!dispatcher.log().contains(hidden) && !web.log().contains(hidden), "{hidden} in a log");
        assert!(!summary.to_string().contains(hidden), "{hidden} in the summary");
    }
    Ok(())
}

/// One result of each kind: passed, failed, with a PPA, twice in a series, answered without a run, private.
async fn ask(cluster: &Cluster) -> Result<()> {
    let client = cluster.client().await?;
    let mut green = params("green/2", &[]);
    green["requester"] = json!("joe");
    green["testname"] = json!("smoke");
    green["all-proposed"] = json!("1");
    let mut ppa = params("green/3", &[]);
    ppa["ppas"] = json!(["owner/name"]);
    let mut private = params("hushtrigger/1", &[]);
    private["swiftuser"] = json!("sec");
    private["readable-by"] = json!(["joe", "ann"]);
    private["requester"] = json!("hushasker");
    private["ppas"] = json!(["quietteam/stillppa"]);
    private["uuid"] = json!("6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11");
    for (queue, package, params) in [
        ("debci-noble-amd64", "green", green),
        ("debci-noble-amd64", "green", params("blue/1", &["EXIT=2"])),
        ("debci-noble-amd64", "red", params("red/2", &["EXIT=4"])),
        ("debci-ppa-noble-amd64", "green", ppa),
        ("debci-noble-amd64", "black", params("black/2", &[])),
        ("debci-ppa-noble-amd64", "hushhush", private),
    ] {
        client.publish(queue, &body(package, &params)).await?;
    }
    for (package, n) in [("green", 3), ("red", 1), ("black", 1), ("hushhush", 1)] {
        cluster.done(package, n).await?;
    }
    wait_for("an empty outbox", PATIENCE, async || {
        let left = texts(&cluster.database, "SELECT count(*)::text FROM outbox").await.ok()?;
        (left == ["0"]).then_some(())
    })
    .await
}
