//! What the worker runs: the real autopkgtest on this host, with small packages that need nothing installed.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::Result;
use proofhouse_tests::{keeper::Keeper, proofhouse::Role};

use crate::archive;

/// The packages' sources and a program that runs autopkgtest on them.
pub(crate) struct Runner {
    keeper: Keeper,
}

impl Runner {
    /// Writes both. Tests wait until [`Self::go`].
    pub(crate) fn new() -> Result<Self> {
        let runner = Self { keeper: Keeper::new("trees")? };
        archive::write_trees(runner.keeper.dir())?;
        let script =
            include_str!("autopkgtest.sh").replace("FOLDER", &runner.keeper.dir().display().to_string());
        fs::write(runner.program(), script)?;
        fs::set_permissions(runner.program(), fs::Permissions::from_mode(0o755))?;
        Ok(runner)
    }

    /// Options for a role that runs tests.
    pub(crate) fn options(&self, role: Role) -> Role {
        let program = self.program().display().to_string();
        role.arg("--provider", "null").arg("--slots", "2").arg("--autopkgtest", program)
    }

    /// From now on tests run.
    pub(crate) fn go(&self) -> Result<()> {
        Ok(fs::write(self.keeper.dir().join("go"), "")?)
    }

    /// From now on what failed in `grey` is mended.
    pub(crate) fn repair(&self) -> Result<()> {
        Ok(fs::write(self.keeper.dir().join("repaired"), "")?)
    }

    fn program(&self) -> PathBuf {
        self.keeper.dir().join("autopkgtest")
    }
}
