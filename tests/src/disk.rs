//! A small disk, to be full.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::keeper::Keeper;

/// A disk of some megabytes. It needs root.
#[derive(Debug)]
pub struct SmallDisk {
    keeper: Keeper,
}

impl SmallDisk {
    /// A new one of so many MiB, empty.
    pub fn mount(mib: u16) -> Result<Self> {
        let keeper = Keeper::with_hook("disk", &std::env::temp_dir(), "umount -l \"$DIR/disk\"")?;
        let disk = keeper.dir().join("disk");
        fs::create_dir(&disk)?;
        let options = format!("size={mib}m,mode=0755");
        let options = Some(options.as_str());
        nix::mount::mount(Some("tmpfs"), &disk, Some("tmpfs"), nix::mount::MsFlags::empty(), options)?;
        Ok(Self { keeper })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.keeper.dir().join("disk")
    }

    /// Leaves no room on it.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.filler())?;
        let block = vec![0; 1 << 20];
        while file.write_all(&block).is_ok() {}
        Ok(())
    }

    /// Leaves room again.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        Path::join(&self.path(), "filler")
    }
}
