//! The release and architecture of this machine.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use proofhouse_core::names::{Arch, Pair, Release};

/// What this machine itself is.
pub(super) fn pair() -> Result<Pair> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release cannot be read")?;
    let release = codename(&text).context("/etc/os-release has no VERSION_CODENAME")?;
    let output = Command::new("dpkg").arg("--print-architecture").output().context("dpkg cannot be run")?;
    let arch: Arch = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(Pair { release, arch })
}

fn codename(text: &str) -> Option<Release> {
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    value.trim().trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codenames() {
        for (text, name) in [
            ("ID=debian\nVERSION_CODENAME=bookworm\n", Some("bookworm")),
            ("VERSION_CODENAME=\"noble\"\n", Some("noble")),
            ("ID=arch\n", None),
            ("VERSION_CODENAME=\n", None),
        ] {
            assert_eq!(codename(text).map(|r| r.to_string()).as_deref(), name);
        }
    }
}
