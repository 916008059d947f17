//! The harness's LXD.

use std::path::Path;

use anyhow::Result;
use proofhouse_tests::lxd::{Lxd, REMOTE};

#[tokio::test]
async fn lxd_launches_by_its_remote_and_leaves_nothing() -> Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "LXD needs root: run `make verify` as root");
    let lxd = Lxd::start().await?;
    let container = format!("{REMOTE}:probe");
    lxd.lxc(&["launch", &format!("{REMOTE}:{}", lxd.image()), &container]).await?;
    let system = lxd.lxc(&["exec", &container, "--", "cat", "/etc/debian_version"]).await?;
    assert!(system.starts_with("12."), "{system}");
    let bridge = Path::new("/sys/class/net").join(lxd.bridge());
    assert!(bridge.exists());
    let folder = lxd.env().remove(0).1;
    drop(lxd);
    assert!(!bridge.exists(), "the bridge is gone");
    assert!(!Path::new(&folder).exists(), "the folder is gone");
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    assert!(!mounts.contains(&folder), "{mounts}");
    Ok(())
}
