//! The real binary as a process.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{
    keeper::{Keeper, Process},
    ports::free_port,
};

/// Which Proofhouse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// The one that is tested.
    #[default]
    This,
    /// The same with places to strike at (`proofhouse_core::faults`).
    Faulty,
    /// The one before (`tests/setup/previous.sh`).
    Before,
}

impl Version {
    /// Its program, built beside the test binary.
    pub fn program(self) -> Result<PathBuf> {
        built(match self {
            Self::This => "proofhouse",
            Self::Faulty => "proofhouse-faults",
            Self::Before => "previous/proofhouse",
        })
    }

    /// The roles that it ships for PostgreSQL.
    pub fn roles(self) -> Result<PathBuf> {
        match self {
            Self::Before => built("previous/roles.sql"),
            Self::This | Self::Faulty => {
                Ok(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postgres/roles.sql").into())
            }
        }
    }

    /// Runs it to its end, with a clean environment and the variables of `env`.
    pub async fn run(self, args: &[&str], env: &[(String, String)]) -> Result<Output> {
        let mut command = Command::new(self.program()?);
        clean(&mut command);
        command.args(args).envs(env.iter().cloned());
        tokio::process::Command::from(command).output().await.context("running proofhouse")
    }
}

fn built(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let profile = exe.parent().and_then(|deps| deps.parent()).context("the target folder")?;
    let path = profile.join(name);
    anyhow::ensure!(path.exists(), "{} is missing: run the tests by make", path.display());
    Ok(path)
}

/// The binary that was built beside the test binary.
pub fn binary() -> Result<PathBuf> {
    Version::This.program()
}

/// Runs the binary to its end, with a clean environment and the variables of `env`.
pub async fn run(args: &[&str], env: &[(String, String)]) -> Result<Output> {
    Version::This.run(args, env).await
}

/// What is to be started: `Proofhouse::role("worker").arg("--slots", "2").start().await?`.
#[derive(Debug)]
pub struct Role {
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    quiet: bool,
    version: Version,
}

/// A running role. Dropping it kills it and all its children; what it logged stands in the test's output, which
/// is shown when the test failed.
#[derive(Debug)]
pub struct Proofhouse {
    role: Role,
    admin: SocketAddr,
    site: Option<SocketAddr>,
    process: Process,
    keeper: Keeper,
}

impl Role {
    /// An option and its value; it replaces an earlier one.
    #[must_use]
    pub fn arg(mut self, option: &str, value: impl Into<String>) -> Self {
        if let Some(at) = self.args.iter().position(|arg| arg == option) {
            self.args.drain(at..at + 2);
        }
        self.args.extend([option.to_owned(), value.into()]);
        self
    }

    /// An option without a value.
    #[must_use]
    pub fn flag(mut self, option: &str) -> Self {
        self.args.push(option.to_owned());
        self
    }

    /// What may hold a password goes by the environment, as operators are told to have it.
    #[must_use]
    pub fn urls_by_environment(mut self) -> Self {
        for (option, variable) in [("--bus", "PROOFHOUSE_BUS"), ("--database", "PROOFHOUSE_DATABASE")] {
            if let Some(at) = self.args.iter().position(|arg| arg == option) {
                let value = self.args.drain(at..at + 2).nth(1).unwrap_or_default();
                self.env.push((variable.to_owned(), value));
            }
        }
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// Variables of the environment, such as a store's credentials.
    #[must_use]
    pub fn envs(mut self, env: Vec<(String, String)>) -> Self {
        self.env.extend(env);
        self
    }

    /// What it logged is not shown at its end, unless that came by itself.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Which Proofhouse it is.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Starts it and waits until `/healthz` answers 200.
    pub async fn start(self) -> Result<Proofhouse> {
        let proofhouse = self.start_unready()?;
        proofhouse.ready(Duration::from_secs(60)).await?;
        Ok(proofhouse)
    }

    /// Starts it without waiting: for servers that are away, and for wrong configurations.
    pub fn start_unready(self) -> Result<Proofhouse> {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let serves = matches!(&*self.name, "up" | "web");
        let site = if serves { Some(SocketAddr::from(([127, 0, 0, 1], free_port()?))) } else { None };
        let keeper = Keeper::new(&self.name)?;
        let mut command = self.command(&keeper, admin, site)?;
        let process = keeper.spawn(&self.name, &mut command)?;
        Ok(Proofhouse { role: self, admin, site, process, keeper })
    }

    fn command(&self, keeper: &Keeper, admin: SocketAddr, site: Option<SocketAddr>) -> Result<Command> {
        let mut command = keeper.command(self.version.program()?);
        clean(&mut command);
        command.arg(&self.name).args(["--admin", &admin.to_string()]);
        if let Some(site) = site {
            command.args(["--listen", &site.to_string()]);
        }
        if !self.args.iter().any(|arg| arg == "--data") {
            command.arg("--data").arg(keeper.dir().join("data"));
        }
        command.args(&self.args).envs(self.env.iter().cloned());
        Ok(command)
    }
}

impl Proofhouse {
    /// A role to start, with ports of its own for `--admin` and `--listen`, and a `--data` that goes with it.
    pub fn role(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            quiet: false,
            version: Version::This,
        }
    }

    /// The address of the admin port: `http://…` without a slash at the end.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The address of the site (`up` and `web`): `http://…` without a slash at the end.
    pub fn site_url(&self) -> Result<String> {
        Ok(format!("http://{}", self.site.context("this role has no site")?))
    }

    /// Its data folder, unless `--data` was given.
    pub fn data(&self) -> PathBuf {
        self.keeper.dir().join("data")
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> Result<String> {
        let answer = reqwest::get(format!("{}/metrics", self.admin_url())).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Waits until `/healthz` answers 200; an error with the log's tail when the process ends before.
    pub async fn ready(&self, timeout: Duration) -> Result<()> {
        let url = format!("{}/healthz", self.admin_url());
        let what = format!("{} to be healthy", self.role.name);
        let attempt = async || reqwest::get(&url).await?.error_for_status().map(drop);
        self.process.wait_until_ok(&what, timeout, attempt).await
    }

    /// Waits until `/healthz` and `/readyz` answer 200.
    pub async fn becomes_ready(&self) -> Result<()> {
        self.ready(Duration::from_secs(60)).await?;
        let url = format!("{}/readyz", self.admin_url());
        let attempt = async || reqwest::get(&url).await?.error_for_status().map(drop);
        self.process.wait_until_ok("/readyz", Duration::from_secs(60), attempt).await
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process, for signals and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The living processes: its own, and everything it started that kept its environment.
    pub fn processes(&self) -> Vec<nix::unistd::Pid> {
        self.keeper.processes()
    }

    /// Asks it to stop.
    pub fn sigterm(&self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)
    }

    /// Kills this process alone, without a warning; its children are its own business.
    pub async fn kill9(&self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Waits for its end.
    pub async fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        self.process.wait(timeout).await
    }

    /// A variable of the environment, from the next start on.
    pub fn set_env(&mut self, key: &str, value: impl Into<String>) {
        self.role.env.retain(|(name, _)| name != key);
        self.role.env.push((key.to_owned(), value.into()));
    }

    /// Starts it again after its end, with the same options, ports and data, and waits until it is healthy.
    pub async fn start_again(&mut self) -> Result<()> {
        anyhow::ensure!(self.process.ended()?.is_some(), "{} still runs", self.role.name);
        let mut command = self.role.command(&self.keeper, self.admin, self.site)?;
        self.process = self.keeper.spawn(&self.role.name, &mut command)?;
        self.ready(Duration::from_secs(60)).await
    }
}

impl Drop for Proofhouse {
    fn drop(&mut self) {
        if self.role.quiet && matches!(self.process.ended(), Ok(None)) {
            return;
        }
        eprintln!(
            "--- {} logged:\n{}\n---",
            self.role.name,
            self.process.tail(if cfg!(feature = "faults") { 100_000 } else { 200 })
        );
    }
}

/// Nothing of the caller's own configuration reaches the process.
fn clean(command: &mut Command) {
    let ours = |key: &str| ["PROOFHOUSE_", "OS_", "AWS_", "ST_"].iter().any(|prefix| key.starts_with(prefix));
    for (key, _) in std::env::vars().filter(|(key, _)| ours(key)) {
        command.env_remove(key);
    }
}
