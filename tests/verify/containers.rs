//! A real package of the archive through `lxd` and `unshare`, with every role a process of its own.

use std::time::Duration;

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, Results, SEAL_KEY, ca_file},
    lxd::{Lxd, REMOTE},
    proofhouse::{Proofhouse, Role},
    wait::wait_for,
};
use serde_json::json;

/// The lab's image names no sources.
const DEB_SRC: &str = "sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/src.list";
const LONG: Duration = Duration::from_secs(15 * 60);

fn worker(cluster: &Cluster, provider: &str) -> Role {
    let Results::Swift(account) = &cluster.results else { unreachable!("the cluster is on Swift") };
    Proofhouse::role("worker")
        .arg("--bus", cluster.bus_of("worker"))
        .arg("--ca-file", ca_file())
        .arg("--store", account.tls_store_url())
        .envs(account.env())
        .arg("--arches", "amd64")
        .arg("--provider", provider)
        .arg("--name", provider)
        .env("PROOFHOUSE_SEAL_KEY", SEAL_KEY)
}

/// Publishes as britney does, and reads the result anonymously by the listing that britney uses.
async fn passes(cluster: &Cluster, package: &str, trigger: &str) -> Result<()> {
    let client = cluster.client().await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    let body = format!("{package}\n{}", json!({"triggers": [trigger], "submit-time": "2026-11-21 05:36:34"}));
    client.publish("debci-bookworm-amd64", body.as_bytes()).await?;
    let done = tokio::select! {
        done = completions.next_json(LONG, |m| m["package"] == package) => done?,
        over = wait_for("", LONG, async || (cluster.jobs(package).await.ok()? == (0, 0)).then_some(())) => {
            over?;
            anyhow::bail!("{package} is parked");
        }
    };
    assert_eq!(done["exitcode"], 0, "{done}");
    let Results::Swift(account) = &cluster.results else { anyhow::bail!("a Swift") };
    let prefix = format!("bookworm%2Famd64%2F{}%2F{package}%2F", &package[..1]);
    let url = format!("{}/autopkgtest-bookworm/?delimiter=%40&prefix={prefix}", account.public_url());
    let listed = reqwest::get(url).await?.error_for_status()?.text().await?;
    assert_eq!(listed.trim(), done["swift_dir"].as_str().context("swift_dir")?);
    Ok(())
}

async fn dispatcher(cluster: &Cluster) -> Result<Proofhouse> {
    cluster.dispatcher().arg("--releases", "bookworm").arg("--lease-seconds", "60").start().await
}

#[tokio::test]
async fn a_real_package_through_lxd() -> Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "LXD needs root: run `make verify` as root");
    let lxd = Lxd::start().await?;
    let cluster = Cluster::on_swift().await?;
    // An earlier life of this worker, and another worker, had these.
    let (image, remote) = (format!("{REMOTE}:{}", lxd.image()), format!("{REMOTE}:"));
    for (name, worker) in [("left", "lxd"), ("other", "lxd-2")] {
        let (instance, label) = (format!("{remote}{name}"), format!("user.proofhouse.worker={worker}"));
        lxd.lxc(&["init", &image, &instance, "-c", &label]).await?;
    }
    let _dispatcher = dispatcher(&cluster).await?;
    let worker = worker(&cluster, "lxd")
        .arg("--lxd-remote", REMOTE)
        .arg("--lxd-image", "autopkgtest/debian/{release}/{arch}")
        .env("PROOFHOUSE_SETUP_COMMANDS", DEB_SRC)
        .envs(lxd.env())
        .start()
        .await?;
    passes(&cluster, "hello", "migration-reference/0").await?;
    worker.sigterm()?;
    worker.wait(LONG).await?;
    let left = lxd.lxc(&["list", &remote, "-c", "n", "-f", "csv"]).await?;
    assert_eq!(left.trim(), "other", "no instance of this worker is left");
    Ok(())
}

#[tokio::test]
async fn a_real_package_through_unshare() -> Result<()> {
    let cluster = Cluster::on_swift().await?;
    let _dispatcher = dispatcher(&cluster).await?;
    let _worker = worker(&cluster, "unshare").start().await?;
    passes(&cluster, "gzip", "gzip/1.12-1").await
}
