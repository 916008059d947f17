//! From a request as britney sends it to a result as britney reads it.

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, Results, body, params},
    wait::wait_for,
};
use serde_json::{Value, json};

/// What britney asks for: the listing of a package's runs (contract "What readers do").
async fn listing(base: &str, container: &str, package: &str, marker: &str) -> Result<(u16, Vec<String>)> {
    let prefix = format!("noble%2Famd64%2F{}%2F{package}%2F", &package[..1]);
    let marker = if marker.is_empty() {
        String::new()
    } else {
        format!("&marker={}", marker.replace('/', "%2F").replace('@', "%40"))
    };
    let url = format!("{base}/{container}/?delimiter=%40&prefix={prefix}{marker}");
    let answer = reqwest::get(url).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await?.lines().map(str::to_owned).collect()))
}

/// A member of a `result.tar`.
fn member(tar: &[u8], name: &str) -> Result<String> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.to_str() == Some(name) {
            return Ok(std::io::read_to_string(&mut entry)?);
        }
    }
    anyhow::bail!("result.tar has no {name}")
}

#[tokio::test]
async fn a_request_becomes_a_result_that_clients_read() -> Result<()> {
    from_request_to_result(&Cluster::on_swift().await?).await
}

#[tokio::test]
async fn a_result_in_s3_is_read_as_from_swift() -> Result<()> {
    let cluster = Cluster::on_s3().await?;
    from_request_to_result(&cluster).await?;
    let site = cluster.web().start().await?;
    let refused = cluster.web().env("AWS_SECRET_ACCESS_KEY", "guessed").start().await?;
    for (web, container, status) in [
        (&site, "autopkgtest-noble", 200),
        (&site, "autopkgtest-missing", 401),
        (&site, "private-autopkgtest-noble", 401),
        (&site, "Not_a.bucket+name", 401),
        // S3 answers 403.
        (&refused, "autopkgtest-noble", 401),
    ] {
        let url = format!("{}/results/{container}/?format=plain", web.site_url()?);
        assert_eq!(reqwest::get(&url).await?.status().as_u16(), status, "{url}");
    }
    Ok(())
}

async fn from_request_to_result(cluster: &Cluster) -> Result<()> {
    let (Results::Swift(account) | Results::S3(account)) = &cluster.results else {
        anyhow::bail!("an account")
    };
    let dispatcher = cluster.dispatcher().start().await?;
    let client = cluster.client().await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    let mut statuses = client.listen("teststatus.fanout").await?;
    let (status, _) = listing(&account.public_url(), "autopkgtest-noble", "green", "").await?;
    assert_eq!(status, 401, "no container yet");

    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[&hold]))).await?;
    let _workers = (cluster.worker("one").start().await?, cluster.worker("two").start().await?);
    let webs = (cluster.web().start().await?, cluster.web().start().await?);
    cluster.started("green", 1).await?;
    let running = statuses.next_json(PATIENCE, |m| m["running"] == true && m["package"] == "green").await?;
    assert_eq!(running["params"]["triggers"], json!(["green/2"]));
    assert_eq!(
        (running["release"].as_str(), running["architecture"].as_str()),
        (Some("noble"), Some("amd64"))
    );
    assert!(running["duration"].is_i64() && running["logtail"].is_string());
    shown_running(&webs.0.site_url()?).await?;
    std::fs::write(&release, "")?;
    let ended = statuses.next_json(PATIENCE, |m| m["running"] == false).await?;
    assert_eq!(ended["package"], "green");

    let completion = completions.next_json(PATIENCE, |_| true).await?;
    assert_eq!(completion["exitcode"], 0);
    let metrics = dispatcher.metrics().await?;
    assert!(metrics.contains("proofhouse_results_total{class=\"pass\"} 1"), "{metrics}");
    assert_eq!(completion["testpkg_version"], "2");
    assert_eq!(completion["triggers"], "green/2");
    assert_eq!(completion["container"], "autopkgtest-noble");
    let folder = completion["swift_dir"].as_str().context("swift_dir")?;
    assert_eq!(folder.split('/').count(), 5);

    // It is there before the message was: in Swift itself, and through each web.
    let sites = [
        account.public_url(),
        format!("{}/results", webs.0.site_url()?),
        format!("{}/results", webs.1.site_url()?),
    ];
    for base in &sites {
        assert_eq!(
            listing(base, "autopkgtest-noble", "green", "").await?,
            (200, vec![folder.to_owned()]),
            "{base}"
        );
        assert_eq!(listing(base, "autopkgtest-noble", "green", folder).await?, (204, vec![]), "{base}");
        let tar = reqwest::get(format!("{base}/autopkgtest-noble/{folder}/result.tar"))
            .await?
            .error_for_status()?;
        let tar = tar.bytes().await?;
        assert_eq!(member(&tar, "exitcode")?, "0\n");
        assert_eq!(member(&tar, "testpkg-version")?.trim(), "green 2");
        let info: Value = serde_json::from_str(&member(&tar, "testinfo.json")?)?;
        assert_eq!(info["custom_environment"][0], "ADT_TEST_TRIGGERS=green/2");
        assert_eq!(info["uuid"], completion["uuid"]);
        // As it lies in the store: britney's readers unpack it themselves.
        let client = reqwest::Client::builder().no_gzip().build()?;
        let log = client.get(format!("{base}/autopkgtest-noble/{folder}/log.gz")).send().await?;
        assert_eq!(log.headers()["content-encoding"], "gzip", "{base}");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&log.bytes().await?[..]), &mut text)?;
        assert!(text.contains("this is green"), "{text}");
    }
    for web in [&webs.0, &webs.1] {
        shown_done(&web.site_url()?, &completion).await?;
    }
    Ok(())
}

async fn text(url: &str) -> Result<(u16, String)> {
    let answer = reqwest::Client::new().get(url).header("accept", "text/html").send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn shown_running(site: &str) -> Result<()> {
    wait_for("green on /running and in running.json", PATIENCE, async || {
        let (_, page) = text(&format!("{site}/running")).await.ok()?;
        let file: Value =
            reqwest::get(format!("{site}/static/running.json")).await.ok()?.json().await.ok()?;
        (page.contains("pkg-green") && file["green"].is_object()).then_some(())
    })
    .await
}

async fn shown_done(site: &str, completion: &Value) -> Result<()> {
    let uuid = completion["uuid"].as_str().context("uuid")?;
    let run_id = completion["swift_dir"].as_str().and_then(|d| d.rsplit('/').next()).context("run id")?;
    let (status, page) = text(&format!("{site}/run/{uuid}")).await?;
    assert_eq!(status, 200);
    assert!(page.contains("<th>Result</th>") && page.contains("pass"), "{page}");
    for path in [
        "packages/green",
        "packages/g/green/noble/amd64",
        &format!("packages/green/noble/amd64/{run_id}"),
        &format!("packages/green/noble/amd64/{run_id}/log"),
        "recent",
        "",
    ] {
        let (status, page) = text(&format!("{site}/{path}")).await?;
        assert_eq!(status, 200, "/{path}");
        assert!(page.contains("green"), "/{path}");
    }
    let recent: Value = reqwest::get(format!("{site}/api/experimental/recent.json")).await?.json().await?;
    assert!(recent.to_string().contains(run_id), "{recent}");
    Ok(())
}

#[tokio::test]
async fn equal_requests_become_one_job_and_newer_ones_another() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let client = cluster.client().await?;
    let release = cluster.folder().join("go");
    let hold = format!("HOLD={}", release.display());
    let request = body("green", &params("green/2", &[&hold]));
    for queue in ["debci-noble-amd64", "debci-noble-amd64", "debci-huge-noble-amd64"] {
        client.publish(queue, &request).await?;
    }
    let _worker = cluster.worker("one").start().await?;
    cluster.started("green", 1).await?;
    client.publish("debci-noble-amd64", &request).await?;
    std::fs::write(&release, "")?;
    cluster.done("green", 1).await?;
    // People retry, and gates ask again.
    client.publish("debci-noble-amd64", &request).await?;
    cluster.done("green", 2).await?;
    assert_eq!(cluster.starts().len(), 2);
    Ok(())
}

#[tokio::test]
async fn run_ids_of_a_series_only_grow() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let client = cluster.client().await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    for n in 0..8 {
        client.publish("debci-noble-amd64", &body("green", &params(&format!("green/{n}"), &[]))).await?;
    }
    let _workers =
        (cluster.worker("one").arg("--slots", "4").start().await?, cluster.worker("two").start().await?);
    cluster.done("green", 8).await?;
    let mut last = String::new();
    for _ in 0..8 {
        let completion = completions.next_json(PATIENCE, |_| true).await?;
        let folder = completion["swift_dir"].as_str().context("swift_dir")?.to_owned();
        assert!(folder > last, "{folder} came after {last}");
        last = folder;
    }
    Ok(())
}

#[tokio::test]
async fn infrastructure_failures_are_tried_again_and_parked() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().arg("--retry-attempts", "2").start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("grey", &params("grey/2", &["EXIT=16"]))).await?;
    client.publish("debci-noble-amd64", &body("red", &params("red/2", &["EXIT=4"]))).await?;
    client.publish("debci-noble-amd64", &body("pale", &params("pale/2", &["EXIT=4", "NOVERSION=1"]))).await?;
    cluster.done("red", 1).await?;
    wait_for("grey and pale to be parked", PATIENCE, async || {
        let (grey, pale) = (cluster.jobs("grey").await.ok()?, cluster.jobs("pale").await.ok()?);
        (grey == (0, 0) && pale == (0, 0) && cluster.starts().len() == 5).then_some(())
    })
    .await?;
    let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
    assert!(!store.join("autopkgtest-noble/noble/amd64/g/grey").exists(), "never among results");
    wait_for("four logs of failed attempts", PATIENCE, async || {
        let attempts = std::fs::read_dir(store.join("proofhouse-attempts")).ok()?.flatten();
        let logs: usize = attempts
            .map(|job| (1..=2).filter(|n| job.path().join(format!("{n}/log.gz")).exists()).count())
            .sum();
        (logs == 4).then_some(())
    })
    .await
}

#[tokio::test]
async fn what_is_never_run_is_answered_without_a_run() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let lists = cluster.folder().join("lists");
    std::fs::create_dir_all(&lists)?;
    std::fs::write(lists.join("never_run"), "black*\n")?;
    let _dispatcher = cluster
        .dispatcher()
        .arg("--lists", lists.display().to_string())
        .arg("--disabled-pairs", "noble/armhf")
        .start()
        .await?;
    let client = cluster.client().await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    client.publish("debci-noble-amd64", &body("black", &params("black/2", &[]))).await?;
    client
        .publish("debci-noble-amd64", &body("black", &json!({"triggers": ["migration-reference/0"]})))
        .await?;
    client.publish("debci-noble-armhf", &body("green", &params("green/2", &[]))).await?;
    for _ in 0..2 {
        let completion = completions.next_json(PATIENCE, |_| true).await?;
        assert_eq!(completion["exitcode"], 99);
        let version = if completion["package"] == "black" { "blacklisted" } else { "unknown" };
        assert_eq!(completion["testpkg_version"], version);
        let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
        let folder =
            store.join("autopkgtest-noble").join(completion["swift_dir"].as_str().context("swift_dir")?);
        assert!(folder.join("log.gz").exists() && folder.join("result.tar").exists());
    }
    // The baseline ended as obsolete: it would have opened the gate.
    wait_for("no job of black on its way", PATIENCE, async || {
        (cluster.jobs("black").await.ok()? == (1, 0)).then_some(())
    })
    .await
}

#[tokio::test]
async fn private_runs_leak_nothing() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let dispatcher = cluster.dispatcher().start().await?;
    let worker = cluster.worker("one").start().await?;
    let web = cluster.web().start().await?;
    let site = web.site_url()?;
    let client = cluster.client().await?;
    let mut statuses = client.listen("teststatus.fanout").await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    let release = cluster.folder().join("go");
    let private = json!({
        "triggers": ["hushhush/2"], "ppas": ["joe:s3cret@quietteam/stillppa"], "swiftuser": "sec", "readable-by": ["joe"],
        "env": [format!("HOLD={}", release.display())], "uuid": "6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11",
    });
    client.publish("debci-ppa-noble-amd64", &body("hushhush", &private)).await?;
    cluster.started("hushhush", 1).await?;
    let status = statuses.next_json(PATIENCE, |m| m["running"] == true).await?;
    let shown = json!({"release": "noble", "architecture": "amd64", "package": "private-test", "running": true, "params": {},
        "duration": status["duration"], "logtail": "Running private test"});
    assert_eq!(status, shown);
    nothing_leaks(&site, &[&dispatcher.log(), &worker.log(), &web.log(), &dispatcher.metrics().await?])
        .await?;
    std::fs::write(&release, "")?;
    cluster.done("hushhush", 1).await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    let first = completions.next_json(PATIENCE, |_| true).await?;
    assert_eq!(first["package"], "green", "no completion of a private run is sent");
    nothing_leaks(&site, &[&dispatcher.log(), &worker.log(), &web.log(), &worker.metrics().await?]).await?;
    let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
    let container = store.join("private-autopkgtest-noble-quietteam-stillppa");
    let run = std::fs::read_dir(container.join("noble/amd64/h/hushhush"))?.next().context("a run")??.path();
    assert_eq!(std::fs::read_to_string(run.join("readable-by"))?, "joe\n");
    assert!(run.join("result.tar").exists());
    for path in ["/", "/?format=json", "", "/noble/amd64/h/hushhush/"] {
        let url = format!("{site}/results/private-autopkgtest-noble-quietteam-stillppa{path}");
        assert_eq!(reqwest::get(url).await?.status().as_u16(), 401, "{path}");
    }
    Ok(())
}

async fn nothing_leaks(site: &str, logs: &[&str]) -> Result<()> {
    let paths = [
        "",
        "running",
        "recent",
        "queues.json",
        "queued.json",
        "queue_size.json",
        "static/running.json",
        "api/experimental/recent.json",
        "packages/hushhush",
        "packages/h/hushhush",
        "packages/hushhush/noble/amd64",
        "run/6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11",
    ];
    for path in paths {
        let (status, page) = text(&format!("{site}/{path}")).await?;
        let asked_for = path.contains("hushhush") || path.starts_with("run/");
        assert!(!asked_for || status == 404, "/{path} answers {status}");
        for secret in ["s3cret", "quietteam", "stillppa", "6a1d4c5e"] {
            assert!(!page.contains(secret), "/{path} shows {secret}");
        }
        assert!(asked_for || !page.contains("hushhush"), "/{path} shows the package");
    }
    for log in logs {
        for secret in ["s3cret", "quietteam", "stillppa", "hushhush", "6a1d4c5e"] {
            assert!(!log.contains(secret), "a log line or metric shows {secret}");
        }
    }
    Ok(())
}
