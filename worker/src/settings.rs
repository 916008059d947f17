//! What a worker is told at its start.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use proofhouse_core::{
    names::{Pool, WorkerName},
    rules::Rules,
    seal::SealKeys,
    telemetry::metrics::Metrics,
};

/// What a worker is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The base of its name: the first worker of a data folder gets it, the next ones `{name}-2` and so on.
    pub name: WorkerName,
    /// The machine it runs on, as the dispatcher tells hosts apart.
    pub host: String,
    /// What must be on a disk: work folders, testbeds, locks.
    pub data: PathBuf,
    /// The pools whose offers it takes.
    pub pools: Vec<Pool>,
    /// How many tests it runs at once.
    pub slots: usize,
    /// Where testbeds come from.
    pub provider: Provider,
    /// The program that is run as autopkgtest.
    pub autopkgtest: PathBuf,
    /// Further arguments for it (contract "The command line", 5).
    pub autopkgtest_args: Vec<String>,
    /// Commands for each testbed before the test (contract "The command line", 6).
    pub setup_commands: Vec<String>,
    /// The rules of the log.
    pub rules: Rules,
    /// Opens the credentials of requests; without keys such requests are given back.
    pub seal_keys: Option<SealKeys>,
    /// With less free space than this under `data` no new work is taken, in MiB.
    pub min_free_mib: u64,
    /// What a run may take.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How the process that starts the guards is started: the program that calls [`crate::guard_main`], and its arguments.
    pub guard: Vec<OsString>,
}

/// What a run may take of this machine. One that takes more is killed, and has failed by its own doing.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Threads of all its processes.
    pub threads: usize,
    /// The work folder, with the testbed where that is in it.
    pub disk_bytes: u64,
    /// The output folder in it: log and artifacts.
    pub output_bytes: u64,
}

impl Limits {
    /// None worth the name.
    pub const NONE: Self = Self { threads: usize::MAX, disk_bytes: u64::MAX, output_bytes: u64::MAX };

    /// Those of a large package: five times as much, as for testbeds of LXD (contract "Testbed providers").
    pub(crate) const fn big(self) -> Self {
        Self {
            threads: self.threads.saturating_mul(5),
            disk_bytes: self.disk_bytes.saturating_mul(5),
            output_bytes: self.output_bytes.saturating_mul(5),
        }
    }

    /// How many files it may have where the disk has room for few: as many as mke2fs plans for so many bytes.
    pub(crate) const fn files(self) -> u64 {
        self.disk_bytes >> 14
    }
}

/// Where testbeds come from (contract "Testbed providers").
#[derive(Debug, Clone)]
pub enum Provider {
    /// A root file system in a user namespace of this machine.
    Unshare(Unshare),
    /// This machine itself, without any isolation. Serves every architecture.
    Null {
        /// Further arguments for autopkgtest's server.
        args: Vec<String>,
    },
    /// Containers and virtual machines of LXD.
    Lxd(Lxd),
}

impl Provider {
    /// As the setting `provider` names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unshare(_) => "unshare",
            Self::Null { .. } => "null",
            Self::Lxd(_) => "lxd",
        }
    }
}

/// Settings of the provider `unshare`.
#[derive(Debug, Clone)]
pub struct Unshare {
    /// A root tarball made by somebody else, with `{release}` and `{arch}`; none: they are built here.
    pub tarball: Option<String>,
    /// The archive that tarballs are built from; none: the one that this machine's apt uses.
    pub mirror: Option<String>,
    /// A tarball older than this is built anew.
    pub refresh: Duration,
}

/// Settings of the provider `lxd`.
#[derive(Debug, Clone)]
pub struct Lxd {
    /// The remote; none: LXD on this machine.
    pub remote: Option<String>,
    /// The image, with `{release}` and `{arch}`; a virtual machine's has `/vm` behind it.
    pub image: String,
    /// Further arguments of `lxc launch`.
    pub args: Vec<String>,
    /// Arguments of `lxc launch` that set the usual size.
    pub size_default: Vec<String>,
    /// The same for packages of the list `big_packages`.
    pub size_big: Vec<String>,
}
