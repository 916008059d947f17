//! A cluster as an operator would run it: dispatcher, workers and webs as processes of their own, over shared servers.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{
    amqp::AmqpClient,
    certificates::authority,
    proofhouse::{Proofhouse, Role},
    roles::as_role,
    shared,
    swift::Account,
    wait::wait_for,
};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Leases of the clusters here: short, so that their ends can be waited for.
pub const LEASE_SECONDS: u64 = 3;

/// Where a cluster keeps its results.
#[derive(Debug)]
pub enum Results {
    /// Swift with tempauth, an account of its own.
    Swift(Account),
    /// The same by Swift's S3 API, with a bucket per container.
    S3(Account),
    /// A folder.
    Folder(PathBuf),
}

/// The servers and settings of one test's cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The broker's URL for somebody who may do everything.
    pub bus: String,
    /// The database's URL for somebody who may do everything.
    pub database: String,
    /// The store.
    pub results: Results,
    folder: TempDir,
}

impl Cluster {
    /// On the shared broker, database server and Swift.
    pub async fn on_swift() -> Result<Self> {
        let account = shared::swift().await?.account()?;
        Self::with(Results::Swift(account)).await
    }

    /// As [`Self::on_swift`], by S3.
    pub async fn on_s3() -> Result<Self> {
        let account = shared::swift().await?.account()?;
        Self::with(Results::S3(account)).await
    }

    /// On the shared broker and database server, with a folder for the results.
    pub async fn on_folder() -> Result<Self> {
        let mut cluster = Self::with(Results::Folder(PathBuf::new())).await?;
        cluster.results = Results::Folder(cluster.folder.path().join("store"));
        Ok(cluster)
    }

    async fn with(results: Results) -> Result<Self> {
        // A name that no other cluster of this process has.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("cluster_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let bus = shared::rabbit().await?.secured(&name).await?;
        let database = shared::postgres().await?.secured(&name).await?;
        Ok(Self { bus, database, results, folder: new_folder()? })
    }

    /// On a broker and a database of the caller's, with the accounts of all parts, and a folder for the results.
    pub fn on(bus: String, database: String) -> Result<Self> {
        let folder = new_folder()?;
        let results = Results::Folder(folder.path().join("store"));
        Ok(Self { bus, database, results, folder })
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `--store` and a part's credentials. Those who write own the account, for only owners make containers; the site may
    /// read what the containers' rules allow it.
    fn store(&self, part: &str) -> (String, Vec<(String, String)>) {
        let user = if part == "web" { "reader" } else { "admin" };
        match &self.results {
            Results::Swift(account) => (account.tls_store_url(), account.env_of(user)),
            Results::S3(account) => (account.tls_s3_url(""), account.s3_env()),
            Results::Folder(path) => (format!("file://{}", path.display()), vec![]),
        }
    }

    /// The broker's URL for a part.
    ///
    /// # Panics
    /// Where the broker's URL is none.
    pub fn bus_of(&self, part: &str) -> String {
        as_role(&self.bus, part).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The database's URL for a part.
    ///
    /// # Panics
    /// Where the database's URL is none.
    pub fn database_of(&self, part: &str) -> String {
        as_role(&self.database, &format!("proofhouse_{part}")).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A part with its accounts. The authorities come by `ca_file` alone.
    fn role(&self, name: &str) -> Role {
        let (store, env) = self.store(name);
        let role = Proofhouse::role(name).arg("--store", store).envs(env).arg("--bus", self.bus_of(name));
        let role = role.arg("--ca-file", ca_file());
        if name == "worker" {
            role
        } else {
            role.arg("--database", without_authorities(&self.database_of(name)))
        }
    }

    /// A dispatcher for noble/amd64 and noble/armhf.
    pub fn dispatcher(&self) -> Role {
        self.role("dispatcher")
            .arg("--releases", "noble")
            .arg("--arches", "amd64,armhf")
            .arg("--lease-seconds", LEASE_SECONDS.to_string())
            .arg("--retry-pause-seconds", "1")
            .env("PROOFHOUSE_SEAL_KEY", SEAL_KEY)
    }

    /// A worker for amd64 with the stand-in as autopkgtest.
    pub fn worker(&self, name: &str) -> Role {
        self.role("worker")
            .arg("--releases", "noble")
            .arg("--arches", "amd64")
            .arg("--provider", "null")
            .arg("--name", name)
            .arg("--autopkgtest", stand_in())
            .arg("--min-free-mib", "1")
            .env("STAND_IN_STARTS", self.starts_file().display().to_string())
            .env("PROOFHOUSE_SEAL_KEY", SEAL_KEY)
    }

    /// A web.
    pub fn web(&self) -> Role {
        self.role("web")
            .arg("--releases", "noble")
            .arg("--arches", "amd64,armhf")
            .env("PROOFHOUSE_SEAL_KEY", SEAL_KEY)
    }

    /// A client of the broker: it publishes as a gate may, and looks at everything.
    pub async fn client(&self) -> Result<AmqpClient> {
        AmqpClient::connect_as(&self.bus_of("gate"), &self.bus).await
    }

    fn starts_file(&self) -> PathBuf {
        self.folder.path().join("starts")
    }

    /// The stand-in's starts so far: nanoseconds since 1970, and the package.
    pub fn starts(&self) -> Vec<(u128, String)> {
        let text = std::fs::read_to_string(self.starts_file()).unwrap_or_default();
        let start = |line: &str| {
            let mut words = line.split(' ');
            Some((words.next()?.parse().ok()?, words.nth(1)?.to_owned()))
        };
        text.lines().filter_map(start).collect()
    }

    /// Waits until the stand-in has started `n` times for a package.
    pub async fn started(&self, package: &str, n: usize) -> Result<()> {
        let count = || self.starts().iter().filter(|(_, p)| p == package).count();
        wait_for(&format!("start {n} of {package}"), PATIENCE, async || (count() >= n).then_some(())).await
    }

    /// The output of a subcommand with `--json`, on this cluster's database and store.
    pub async fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.output(&[args, &["--json"]].concat()).await?;
        let text = String::from_utf8(output.stdout)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{args:?}: {text:?}, {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// What a subcommand says, on this cluster's database and store.
    pub async fn output(&self, args: &[&str]) -> Result<Output> {
        let (store, mut env) = self.store("operator");
        env.push(("PROOFHOUSE_SEAL_KEY".to_owned(), SEAL_KEY.to_owned()));
        let (database, authorities) = (without_authorities(&self.database_of("operator")), ca_file());
        let servers = ["--database", &database, "--store", &store, "--ca-file", &authorities];
        crate::proofhouse::run(&[args, &servers].concat(), &env).await
    }

    /// The results that the store holds of a package: names of run folders that have a `result.tar`, through the web.
    pub async fn results_of(&self, site: &str, container: &str, package: &str) -> Result<Vec<String>> {
        let prefix = format!("noble/amd64/{}/{package}/", &package[..1]);
        let url = format!("{site}/results/{container}/?prefix={prefix}&format=plain");
        let text = reqwest::get(url).await?.text().await?;
        Ok(text.lines().filter(|l| l.ends_with("/result.tar")).map(str::to_owned).collect())
    }

    /// How many jobs of a package are done, and how many are still on their way.
    pub async fn jobs(&self, package: &str) -> Result<(i64, i64)> {
        let mut database = PgConnection::connect(&self.database).await?;
        let sql = "SELECT count(*) FILTER (WHERE state = 'done'),
                count(*) FILTER (WHERE state NOT IN ('done', 'parked', 'cancelled', 'obsolete'))
            FROM jobs WHERE package = $1";
        Ok(sqlx::query_as(sql).bind(package).fetch_one(&mut database).await?)
    }

    /// Waits until `n` jobs of a package are done and none is on its way.
    pub async fn done(&self, package: &str, n: i64) -> Result<()> {
        wait_for(&format!("{n} results of {package}"), PATIENCE, async || {
            self.jobs(package).await.is_ok_and(|jobs| jobs == (n, 0)).then_some(())
        })
        .await
    }

    /// Waits until all that is stored is summed up: lists of names and of what fails are a second behind.
    pub async fn summed_up(&self) -> Result<()> {
        let mut database = PgConnection::connect(&self.database).await?;
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM results r, summed s WHERE r.stored
            AND (r.edition IS NULL OR (r.edition, r.id) > (s.edition, s.result)))";
        wait_for("results to be summed up", PATIENCE * 5, async || {
            let done: bool = sqlx::query_scalar(sql).fetch_one(&mut database).await.ok()?;
            done.then_some(())
        })
        .await
    }
}

/// One that others may look into.
fn new_folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// What `--ca-file` takes.
///
/// # Panics
/// Where no authority can be made.
pub fn ca_file() -> String {
    match authority() {
        Ok(authority) => authority.file().display().to_string(),
        Err(error) => panic!("{error:#}"),
    }
}

/// A database's URL that leaves it to `ca_file` whom to trust.
fn without_authorities(url: &str) -> String {
    url.split("&sslrootcert").next().unwrap_or(url).to_owned()
}

/// The key that all roles of these clusters share.
pub const SEAL_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The stand-in for autopkgtest.
pub fn stand_in() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/black_box/stand_in.sh").to_owned()
}

/// A request's body as clients write it.
pub fn body(package: &str, params: &Value) -> Vec<u8> {
    format!("{package}\n{params}").into_bytes()
}

/// Parameters with one trigger and variables for the stand-in.
pub fn params(trigger: &str, env: &[&str]) -> Value {
    json!({"triggers": [trigger], "env": env, "submit-time": "2026-11-21 05:36:34"})
}
