//! Packages that do what they should not, in containers of LXD, beside honest ones.

use anyhow::Result;
use proofhouse_tests::{
    hostile::{self, Package, Runs},
    lxd::{Lxd, REMOTE},
    proofhouse::Proofhouse,
};

/// What holds forks and disk here: the host's own limits count no process and no file of a container.
const SIZE: &str = "--config=limits.cpu=2\n--config=limits.memory=1GiB\n--config=limits.processes=500\n--device=root,size=1GiB";

#[tokio::test]
async fn a_hostile_package_in_a_container_fails_its_own_run_and_touches_nothing_else() -> Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "LXD needs root: run `make verify` as root");
    let lxd = Lxd::with_quotas().await?;
    let folder = tempfile::tempdir()?;
    let packages: Vec<Package> =
        [hostile::patient()].into_iter().chain(hostile::hostile()).chain(hostile::honest()).collect();
    let up = Proofhouse::role("up")
        .arg("--releases", "bookworm")
        .arg("--arches", "amd64")
        .arg("--provider", "lxd")
        .arg("--lxd-remote", REMOTE)
        .arg("--lxd-image", "autopkgtest/debian/{release}/{arch}")
        .env("PROOFHOUSE_LXD_SIZE_DEFAULT", SIZE)
        .arg("--slots", "3")
        .arg("--retry-attempts", "2")
        .arg("--retry-pause-seconds", "1")
        .arg("--run-output-mib", "100")
        .arg("--autopkgtest", hostile::autopkgtest(folder.path(), &packages)?.display().to_string())
        .envs(lxd.env())
        .start()
        .await?;
    let runs = Runs::ask(&up, "bookworm", "amd64", &packages).await?;
    runs.end(&packages).await?;
    for (package, why) in [
        ("forks", "Cannot fork"),
        ("fills", "Disk quota exceeded"),
        ("bloats", "its log and artifacts took more than 100 MiB of the disk (run_output_mib)"),
        ("terminates", "terminates           FAIL non-zero exit status"),
        ("kills", "kills                FAIL non-zero exit status"),
        ("kills-all", "kills-all            FAIL non-zero exit status"),
    ] {
        let log = runs.log(package)?;
        assert!(log.contains(why) && !log.contains("it was not stopped"), "{package}: {log}");
    }
    runs.litter_is_harmless().await?;
    runs.nothing_is_left().await?;
    let left = lxd.lxc(&["list", &format!("{REMOTE}:"), "-c", "n", "-f", "csv"]).await?;
    assert_eq!(left.trim(), "", "no container is left");
    Ok(())
}
