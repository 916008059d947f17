//! The real autopkgtest on a fresh testbed, with nothing but what is embedded.

use std::time::Duration;

use anyhow::{Context, Result};
use proofhouse_tests::{cluster::PATIENCE, proofhouse, proofhouse::Proofhouse};
use serde_json::Value;

/// The release and arch of this machine: its archive is at hand.
pub(crate) fn here() -> Result<(String, String)> {
    let text = std::fs::read_to_string("/etc/os-release")?;
    let release =
        text.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME=")).context("VERSION_CODENAME")?;
    let arch = std::process::Command::new("dpkg").arg("--print-architecture").output()?;
    Ok((release.to_owned(), String::from_utf8(arch.stdout)?.trim().to_owned()))
}

#[tokio::test]
async fn a_real_package_passes_on_a_fresh_testbed_with_everything_embedded() -> Result<()> {
    let (release, arch) = here()?;
    let up = Proofhouse::role("up")
        .arg("--releases", &release)
        .arg("--arches", &arch)
        .arg("--provider", "unshare")
        .start()
        .await?;
    let data = up.data().display().to_string();
    let asked = [
        "request",
        &release,
        &arch,
        "hello",
        "--trigger",
        "migration-reference/0",
        "--wait",
        "--data",
        &data,
    ];
    let output = tokio::time::timeout(15 * Duration::from_secs(60), proofhouse::run(&asked, &[])).await??;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("pass"), "{said}");

    let site = up.site_url()?;
    let recent: Value = reqwest::get(format!("{site}/api/experimental/recent.json")).await?.json().await?;
    let run_id = recent[0]["run_id"].as_str().context("a run in recent.json")?.to_owned();
    let folder = format!("{release}/{arch}/h/hello/{run_id}");
    let results = format!("{site}/results/autopkgtest-{release}");
    let listed = reqwest::get(format!("{results}/?delimiter=@&prefix={release}/{arch}/h/hello/"))
        .await?
        .text()
        .await?;
    assert_eq!(listed.trim(), folder);
    // As it lies in the store.
    let client = reqwest::Client::builder().no_gzip().build()?;
    let log =
        client.get(format!("{results}/{folder}/log.gz")).send().await?.error_for_status()?.bytes().await?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&log[..]), &mut text)?;
    // ppa-dev-tools reads the triggers from the first lines, and the verdicts behind the summary's heading.
    let head = text.split(": @@@@@@@@@@@@@@@@@@@@").next().unwrap_or_default();
    assert!(head.contains("ADT_TEST_TRIGGERS=migration-reference/0"), "{head}");
    assert!(text.contains("@@@@@@@@@@@@@@@@@@@@ summary"), "{text}");
    let page = reqwest::get(format!("{site}/packages/hello/{release}/{arch}/{run_id}/log"))
        .await?
        .error_for_status()?;
    assert!(page.text().await?.contains("summary"));
    up.sigterm()?;
    assert!(up.wait(PATIENCE).await?.success());
    Ok(())
}

#[tokio::test]
async fn up_survives_kill_9_with_what_was_asked() -> Result<()> {
    let starts = tempfile::tempdir()?;
    let file = starts.path().join("starts");
    let mut up = Proofhouse::role("up")
        .arg("--releases", "noble")
        .arg("--arches", "amd64")
        .arg("--provider", "null")
        .arg("--autopkgtest", proofhouse_tests::cluster::stand_in())
        .arg("--min-free-mib", "1")
        .arg("--lease-seconds", "3")
        .env("STAND_IN_STARTS", file.display().to_string())
        .start()
        .await?;
    let (data, go) = (up.data().display().to_string(), starts.path().join("go"));
    let hold = format!("HOLD={}", go.display());
    let asked = [
        "request",
        "noble",
        "amd64",
        "green",
        "--trigger",
        "green/2",
        "--env",
        &hold,
        "--data",
        &data,
        "--json",
    ];
    let output = proofhouse::run(&asked, &[]).await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    proofhouse_tests::wait::wait_for("the start", PATIENCE, async || file.exists().then_some(())).await?;
    up.kill9().await?;
    std::fs::write(&go, "")?;
    up.start_again().await?;
    // An equal request while the first waits or runs is the same job.
    let again = [
        "request",
        "noble",
        "amd64",
        "green",
        "--trigger",
        "green/2",
        "--env",
        &hold,
        "--data",
        &data,
        "--wait",
    ];
    let output = proofhouse::run(&again, &[]).await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = std::fs::read_dir(up.data().join("store/autopkgtest-noble/noble/amd64/g/green"))?.count();
    assert_eq!(runs, 1);
    Ok(())
}
