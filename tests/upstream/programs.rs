//! The old system's own programs, unchanged: `OPERATORS_DIR` names a checkout of ubuntu-autopkgtest-operators.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use proofhouse_tests::keeper::{Keeper, Process, run};
use serde_json::Value;
use url::Url;

/// Debian's, which has the modules.
const PYTHON: &str = "/usr/bin/python3";
/// Where the programs lie in the checkout.
const PROGRAMS: &str = "charms/autopkgtest-website-operator/app/www";

/// The programs with a configuration and data of their own.
pub(crate) struct Programs {
    folder: PathBuf,
    port: u16,
    keeper: Keeper,
}

impl Programs {
    /// Writes the configuration that all of them read: `~/autopkgtest-cloud.conf`.
    pub(crate) fn new(broker: &str, archive: &str) -> Result<Self> {
        let folder = env::var_os("OPERATORS_DIR").map(PathBuf::from).context(
            "OPERATORS_DIR is not set: it names a checkout of ubuntu-autopkgtest-operators (make upstream OPERATORS_DIR=…)",
        )?;
        let folder =
            folder.join(PROGRAMS).canonicalize().with_context(|| format!("{PROGRAMS} of OPERATORS_DIR"))?;
        let keeper = Keeper::new("upstream")?;
        let broker = Url::parse(broker)?;
        let uri = format!(
            "amqp://{}:{}@{}",
            broker.username(),
            broker.password().context("a password")?,
            broker.host_str().context("a host")?
        );
        let home = keeper.dir();
        let file = |name: &str| home.join(name).display().to_string();
        let configuration = format!(
            "[amqp]\nuri = {uri}\n[web]\nreleases = noble\narchive_url = {archive}\ndatabase = {}\ndatabase_public = {}\n\
             amqp_queue_cache = {}\nrunning_cache = {}\n",
            file("autopkgtest.db"),
            file("public.db"),
            file("queued.json"),
            file("running.json")
        );
        fs::write(home.join("autopkgtest-cloud.conf"), configuration)?;
        Ok(Self { folder, port: broker.port().context("a port")?, keeper })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.keeper.command(PYTHON);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/upstream/shim.py"))
            .arg(self.folder.join(program))
            .env("HOME", self.keeper.dir())
            .env("BROKER_PORT", self.port.to_string())
            // Nothing is written into the checkout.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Starts one that goes on.
    pub(crate) fn start(&self, program: &str) -> Result<Process> {
        self.keeper.spawn(program, &mut self.command(program))
    }

    /// Runs one to its end.
    pub(crate) async fn run(&self, program: &str) -> Result<()> {
        run(self.command(program)).await.map(drop)
    }

    /// The database that the writer keeps.
    pub(crate) fn database(&self) -> PathBuf {
        self.keeper.dir().join("autopkgtest.db")
    }

    /// What the publisher makes of it.
    pub(crate) fn public_database(&self) -> PathBuf {
        self.keeper.dir().join("public.db")
    }

    /// A file that a collector keeps.
    pub(crate) fn json(&self, file: &str) -> Result<Value> {
        let path: &Path = &self.keeper.dir().join(file);
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}
