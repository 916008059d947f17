//! The site in a real browser: every page, wide and on a phone, without JavaScript of ours.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    keeper::Keeper,
    ports::free_port,
    wait::{wait_for, wait_until_ok},
};
use serde_json::{Value, json};

/// A headless Chromium behind ChromeDriver.
struct Browser {
    session: String,
    client: reqwest::Client,
    _keeper: Keeper,
}

impl Browser {
    async fn start() -> Result<Self> {
        let (keeper, port) = (Keeper::new("chromedriver")?, free_port()?);
        let mut command: Command = keeper.command("chromedriver");
        command.arg(format!("--port={port}"));
        let process = keeper.spawn("chromedriver", &mut command)?;
        let (client, base) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}"));
        let status = async || client.get(format!("{base}/status")).send().await?.error_for_status().map(drop);
        wait_until_ok("ChromeDriver", Duration::from_secs(30), status).await.context(process.tail(20))?;
        let profile = format!("--user-data-dir={}", keeper.dir().join("profile").display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}}});
        let answer: Value = client.post(format!("{base}/session")).json(&wanted).send().await?.json().await?;
        let id = answer["value"]["sessionId"].as_str().with_context(|| answer.to_string())?;
        Ok(Self { session: format!("{base}/session/{id}"), client, _keeper: keeper })
    }

    async fn tell(&self, command: &str, body: Value) -> Result<Value> {
        let answer = self.client.post(format!("{}/{command}", self.session)).json(&body).send().await?;
        let mut answer: Value = answer.json().await?;
        let value = answer["value"].take();
        anyhow::ensure!(value.get("error").is_none(), "{command}: {value}");
        Ok(value)
    }

    async fn open(&self, url: &str) -> Result<()> {
        self.tell("url", json!({"url": url})).await.map(drop)
    }

    async fn eval(&self, script: &str) -> Result<Value> {
        self.tell("execute/sync", json!({"script": format!("return {script}"), "args": []})).await
    }

    async fn width(&self, width: u32) -> Result<()> {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.tell("goog/cdp/execute", command).await.map(drop)
    }
}

#[tokio::test]
async fn every_page_fits_wide_and_narrow_and_leads_nowhere_dead() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let web = cluster.web().start().await?;
    let site = web.site_url()?;
    let browser = Browser::start().await?;
    // With nothing to show.
    look(&browser, &site, &["", "running", "recent"]).await?;
    // With results, with one that runs, and with one whose names are as long as they may be.
    let client = cluster.client().await?;
    let long = format!("a{}", "very-long-package-name+".repeat(8));
    let hold = format!("HOLD={}", cluster.folder().join("go").display());
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    client.publish("debci-noble-amd64", &body("red", &params("red/2", &["EXIT=4"]))).await?;
    client.publish("debci-noble-amd64", &body(&long, &params(&format!("{long}/1"), &["EXIT=4"]))).await?;
    let _worker = cluster.worker("one").arg("--slots", "2").start().await?;
    cluster.done("green", 1).await?;
    cluster.done("red", 1).await?;
    cluster.done(&long, 1).await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/3", &[&hold]))).await?;
    cluster.started("green", 2).await?;
    // A parked one, with attempts and their logs.
    client.publish("debci-noble-amd64", &body(&long, &params(&format!("{long}/2"), &["EXIT=16"]))).await?;
    let parked = wait_for("the parked one", PATIENCE, async || {
        let list = cluster.json(&["parked", "ls"]).await.ok()?;
        Some(format!("run/{}", list[0]["uuid"].as_str()?))
    })
    .await?;
    let history = format!("packages/{long}/noble/amd64");
    look(
        &browser,
        &site,
        &["", "running", "recent", "packages/green", "packages/green/noble/amd64", &history, &parked],
    )
    .await?;
    Ok(())
}

/// Looks at pages and at every page of the site that they link to.
async fn look(browser: &Browser, site: &str, paths: &[&str]) -> Result<()> {
    let mut open: Vec<String> = paths.iter().map(|path| format!("{site}/{path}")).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(url) = open.pop() {
        if !seen.insert(url.clone()) || seen.len() > 60 {
            continue;
        }
        let answer = reqwest::Client::new().get(&url).header("accept", "text/html").send().await?;
        anyhow::ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
        if !answer
            .headers()
            .get("content-type")
            .is_some_and(|t| t.to_str().is_ok_and(|t| t.starts_with("text/html")))
        {
            continue;
        }
        for width in [1280, 390] {
            browser.width(width).await?;
            browser.open(&url).await?;
            let wide = browser.eval("document.documentElement.scrollWidth").await?;
            anyhow::ensure!(
                wide.as_u64() <= Some(width.into()),
                "{url} is {wide} wide on a screen of {width}"
            );
            anyhow::ensure!(browser.eval("document.scripts.length").await? == 0, "{url} has scripts");
            anyhow::ensure!(browser.eval("document.title.length > 0").await? == true, "{url} has no title");
        }
        let links = browser.eval("Array.from(document.links).map(a => a.href.split('#')[0])").await?;
        let ours = links
            .as_array()
            .context("links")?
            .iter()
            .filter_map(Value::as_str)
            .filter(|l| l.starts_with(site));
        open.extend(ours.map(str::to_owned));
    }
    Ok(())
}
