//! moto's server: S3 with bucket policies, in memory. It accepts any credentials, but asks the policy about those who
//! come without.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{keeper::Keeper, ports::free_port};

/// A running moto.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    _keeper: Keeper,
}

impl Moto {
    /// Starts it and waits until it serves (about 3 s).
    pub async fn start() -> Result<Self> {
        let (port, keeper) = (free_port()?, Keeper::new("moto")?);
        let mut command = keeper.command(program()?);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = keeper.spawn("moto", &mut command)?;
        let moto = Self { port, _keeper: keeper };
        let attempt = async || reqwest::get(moto.url()).await?.error_for_status().map(drop);
        server.wait_until_ok("moto to answer", Duration::from_secs(120), attempt).await?;
        Ok(moto)
    }

    /// The port that it serves on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it serves: `{url}/{bucket}/{key}`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The store's URL as Proofhouse takes it: of one bucket, or (an empty name) with a bucket per container.
    pub fn s3_url(&self, bucket: &str) -> String {
        format!("s3://{bucket}?endpoint={}&region=eu-west-1", self.url())
    }

    /// Credentials as S3's clients read them from the environment.
    pub fn s3_env(&self) -> Vec<(String, String)> {
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|key| (key.to_owned(), "moto".to_owned())).to_vec()
    }
}

/// What `tests/setup/install.sh test` installed.
fn program() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).context("no home folder")?;
    let program = cache.join("proofhouse/moto-5.2.5/bin/moto_server");
    anyhow::ensure!(program.exists(), "{} is missing: run tests/setup/install.sh test", program.display());
    Ok(program)
}
