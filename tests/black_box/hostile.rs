//! Packages that do what they should not, with the real autopkgtest, beside honest ones.

use anyhow::Result;
use proofhouse_tests::{
    hostile::{self, Package, Runs},
    proofhouse::Proofhouse,
};

use crate::real::here;

#[tokio::test]
async fn a_hostile_package_fails_its_own_run_and_touches_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let packages: Vec<Package> = hostile::hostile().chain(hostile::honest()).collect();
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
    let runs = Runs::ask(&up, &release, &arch, &packages).await?;
    runs.end(&packages).await?;
    // Logs and pages say why.
    for (package, why, page) in [
        ("forks", "it had more than 500 threads (run_threads)", "its processes, which were too many"),
        ("fills", "it took more than 1500 MiB of the disk (run_disk_mib)", "the disk space that it took"),
        (
            "bloats",
            "its log and artifacts took more than 100 MiB of the disk (run_output_mib)",
            "the size of its log and artifacts",
        ),
    ] {
        let log = runs.log(package)?;
        assert_eq!(log.lines().last(), Some(&*format!("proofhouse: the run was killed: {why}")));
        assert!(runs.page(package).await?.contains(page), "{package}");
    }
    for package in ["terminates", "kills", "kills-all"] {
        let log = runs.log(package)?;
        assert!(log.contains(&format!("{package:20} FAIL non-zero exit status")), "{log}");
    }
    runs.litter_is_harmless().await?;
    runs.nothing_is_left().await
}
