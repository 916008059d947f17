//! Packages that do what they should not, with the real autopkgtest, beside honest ones.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use proofhouse_tests::{
    cluster::PATIENCE,
    hostile::{self, Ends, Package},
    proofhouse::{self, Proofhouse},
    wait::wait_for,
};
use serde_json::Value;

use crate::real::here;

/// Two dozen real testbeds on two processors.
const ALL_OF_THEM: Duration = Duration::from_secs(1800);

#[tokio::test]
async fn a_hostile_package_fails_its_own_run_and_touches_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let packages: Vec<Package> =
        hostile::hostile(Ends::Parked).into_iter().chain(hostile::honest()).collect();
    let (release, arch) = here()?;
    let up = Proofhouse::role("up")
        .arg("--releases", &release)
        .arg("--arches", &arch)
        .arg("--provider", "unshare")
        .arg("--slots", "3")
        .arg("--retry-attempts", "2")
        .arg("--retry-pause-seconds", "1")
        .arg("--run-threads", "500")
        .arg("--run-disk-mib", "1500")
        .arg("--run-output-mib", "100")
        .arg("--autopkgtest", hostile::autopkgtest(folder.path(), &packages)?.display().to_string())
        .start()
        .await?;
    let ask = async |package: &Package| {
        let trigger = format!("{}/1.0", package.name);
        let data = up.data().display().to_string();
        let asked = ["request", &release, &arch, &package.name, "--trigger", &trigger, "--data", &data];
        let output = proofhouse::run(&asked, &[]).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    for package in &packages {
        ask(package).await?;
    }
    let site = up.site_url()?;
    let outcomes = async || -> Result<Vec<(String, Ends)>> {
        let recent = format!("{site}/api/experimental/recent.json?limit=100");
        let recent: Vec<Value> = reqwest::get(recent).await?.json().await?;
        recent.iter().map(ended).collect()
    };
    let results = packages.iter().filter(|package| package.ends != Ends::Parked).count();
    wait_for("all results", ALL_OF_THEM, async || {
        outcomes().await.is_ok_and(|outcomes| outcomes.len() >= results).then_some(())
    })
    .await?;
    let data = up.data().display().to_string();
    let parked = async || -> Result<Vec<Value>> {
        let output = proofhouse::run(&["parked", "ls", "--json", "--data", &data], &[]).await?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    wait_for("what is set aside", PATIENCE, async || {
        parked().await.is_ok_and(|parked| parked.len() == packages.len() - results).then_some(())
    })
    .await?;

    // Each has what is right for it, once.
    let mut outcomes = outcomes().await?;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let with_result = packages.iter().filter(|package| package.ends != Ends::Parked);
    let mut expected: Vec<(String, Ends)> = with_result.map(|p| (p.name.clone(), p.ends)).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(outcomes, expected);
    // The logs say why.
    let store = up.data().join(format!("store/autopkgtest-{release}/{release}/{arch}"));
    let killed = [
        ("forks", "it had more than 500 threads (run_threads)"),
        ("fills", "it took more than 1500 MiB of the disk (run_disk_mib)"),
        ("bloats", "its log and artifacts took more than 100 MiB of the disk (run_output_mib)"),
    ];
    for (package, why) in killed {
        let log = log(&store, package)?;
        assert_eq!(log.lines().last(), Some(&*format!("proofhouse: the run was killed: {why}")));
    }
    assert!(log(&store, "litters")?.trim_end().ends_with("litters              FAIL non-zero exit status 1"));
    // The site shows what was left and printed as text.
    let litters = format!("{site}/packages/litters/{release}/{arch}");
    for page in [litters.clone(), format!("{litters}/{}/log", run_id(&store, "litters")?)] {
        let page = reqwest::get(page).await?.error_for_status()?.text().await?;
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
    }
    artifacts_are_harmless(&store)?;

    // The same process serves on, nothing of a run is left, and the next test gets its result.
    ensure!(up.process().ended()?.is_none(), "up ended");
    wait_for("the work folders to be gone", PATIENCE, async || {
        let work = std::fs::read_dir(up.data().join("work")).ok()?;
        work.flatten().all(|w| std::fs::read_dir(w.path()).is_ok_and(|w| w.count() == 0)).then_some(())
    })
    .await?;
    // The process itself, and the one that forks guards.
    wait_for("the runs' processes to be gone", PATIENCE, async || (up.processes().len() <= 2).then_some(()))
        .await?;
    up.sigterm()?;
    assert!(up.wait(PATIENCE).await?.success());
    Ok(())
}

/// A row of `recent.json`.
fn ended(row: &Value) -> Result<(String, Ends)> {
    let text = |name: &str| row[name].as_str().with_context(|| format!("{name} in {row}"));
    let ends = match row["exitcode"].as_i64().or_else(|| row["exitcode"].as_str()?.parse().ok()) {
        Some(0) => Ends::Pass,
        Some(4) => Ends::Fail,
        other => anyhow::bail!("{other:?}: {row}"),
    };
    Ok((text("package")?.to_owned(), ends))
}

fn run_id(store: &Path, package: &str) -> Result<String> {
    let mut runs = std::fs::read_dir(store.join(&package[..1]).join(package))?;
    Ok(runs.next().context("a run")??.file_name().to_string_lossy().into_owned())
}

fn file(store: &Path, package: &str, name: &str) -> Result<flate2::read::GzDecoder<std::fs::File>> {
    let run = store.join(&package[..1]).join(package).join(run_id(store, package)?);
    Ok(flate2::read::GzDecoder::new(std::fs::File::open(run.join(name))?))
}

fn log(store: &Path, package: &str) -> Result<String> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file(store, package, "log.gz")?, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Links are links, and what was no file is not there.
fn artifacts_are_harmless(store: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(file(store, "litters", "artifacts.tar.gz")?);
    let mut names = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        ensure!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{name}: {kind:?}");
        ensure!(!name.starts_with('/') && !name.contains(".."), "{name}");
        names.push(name);
    }
    for name in ["pipe", "disk", "zero"] {
        ensure!(!names.iter().any(|n| n.ends_with(&format!("/{name}"))), "{name} in {names:?}");
    }
    Ok(())
}
