//! Two webs behind a proxy: while one is killed, and while each is replaced, nobody who reads notices.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    keeper::Keeper,
    ports::free_port,
    proofhouse::Proofhouse,
    wait::wait_until_ok,
};

/// Who reads at once.
const READERS: usize = 4;

/// A proxy as an operator has it: it asks each web whether it is there, and asks the other where one gives no answer to a
/// request that may be made twice.
fn configuration(port: u16, webs: &[&Proofhouse]) -> Result<String> {
    let mut text = format!(
        "defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
frontend site
    bind 127.0.0.1:{port}
    default_backend webs
backend webs
    balance roundrobin
    http-request disable-l7-retry unless {{ method GET HEAD }}
    option httpchk GET /readyz
"
    );
    for (n, web) in webs.iter().enumerate() {
        let [site, admin] = [web.site_url()?, web.admin_url()].map(|url| url.replace("http://", ""));
        let admin = admin.rsplit(':').next().context("a port")?.to_owned();
        writeln!(text, "    server web{n} {site} check port {admin} inter 200ms fall 2 rise 1")?;
    }
    Ok(text)
}

/// A page as a person sees it; how long ago something was is left out.
async fn page(client: &reqwest::Client, url: &str) -> Result<String> {
    let answer = client.get(url).header("accept", "text/html, application/json").send().await?;
    ensure!(answer.status() == 200, "{url} answers {}", answer.status());
    let text = answer.text().await?;
    let parts = text.split("<small>").map(|part| part.split_once("</small>").map_or(part, |(_, rest)| rest));
    Ok(parts.collect())
}

#[tokio::test]
async fn nobody_notices_that_one_of_two_webs_is_killed() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    client.publish("debci-noble-amd64", &body("red", &params("red/2", &["EXIT=4"]))).await?;
    cluster.done("green", 1).await?;
    cluster.done("red", 1).await?;
    cluster.summed_up().await?;
    let (keeper, port) = (Keeper::new("haproxy")?, free_port()?);
    let site = format!("http://127.0.0.1:{port}");
    let web = || cluster.web().arg("--site", &site).start();
    let mut webs = [web().await?, web().await?];
    for web in &webs {
        web.becomes_ready().await?;
    }
    let file = keeper.dir().join("haproxy.cfg");
    fs::write(&file, configuration(port, &[&webs[0], &webs[1]])?)?;
    let mut command = keeper.command("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let proxy = keeper.spawn("haproxy", &mut command)?;
    let up = async || page(&reqwest::Client::new(), &site).await.map(drop);
    wait_until_ok("the proxy", PATIENCE, up).await.with_context(|| proxy.tail(20))?;

    let paths = [
        "",
        "packages/green",
        "packages/red/noble/amd64",
        "recent",
        "api/v1/results",
        "feeds/release/noble.atom",
    ];
    let urls: Vec<String> = paths.iter().map(|path| format!("{site}/{path}")).collect();
    let (over, read) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reader = async || {
        let client = reqwest::Client::new();
        let mut first = Vec::new();
        for url in &urls {
            first.push(page(&client, url).await?);
        }
        while !over.load(Ordering::Relaxed) {
            for (url, first) in urls.iter().zip(&first) {
                ensure!(page(&client, url).await? == *first, "{url} shows something else");
                read.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    let readers = futures::future::try_join_all((0..READERS).map(|_| reader()));
    let change = async {
        let served = async |n: usize| {
            let before = read.load(Ordering::Relaxed);
            let more = async || {
                let now = read.load(Ordering::Relaxed);
                ensure!(now >= before + n, "{}", now - before);
                Ok(())
            };
            wait_until_ok(&format!("{n} more pages"), PATIENCE, more).await
        };
        served(200).await?;
        webs[0].kill9().await?;
        served(200).await?;
        webs[0].start_again().await?;
        served(200).await?;
        webs[1].sigterm()?;
        webs[1].wait(Duration::from_secs(60)).await?;
        served(200).await?;
        webs[1].start_again().await?;
        served(200).await?;
        over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    tokio::try_join!(readers, change)?;
    // Both had their part.
    for web in &webs {
        let metrics = web.metrics().await?;
        ensure!(metrics.contains("{route=\"/recent\",status=\"200\"}"), "{metrics}");
    }
    Ok(())
}
