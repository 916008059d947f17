//! A Swift of one's own: proxy, account, container and object server on one folder. With tempauth by itself, with
//! Keystone as a [`Cloud`](crate::keystone::Cloud).

mod configuration;

pub(crate) use configuration::Auth;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};
use tokio::net::TcpStream;

use crate::{
    certificates::authority,
    keeper::{Keeper, Process, run},
    ports::free_port,
};

/// The password of every user, easy to find where it must not be.
pub const PASSWORD: &str = "swift-sekrit";

/// Tempauth knows its accounts by its configuration, so they are there before anybody asks for one.
const ACCOUNTS: usize = 100;

/// Debian's Python programs, whatever `python3` comes first in PATH.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A running Swift.
#[derive(Debug)]
pub struct Swift {
    ports: Ports,
    given: AtomicUsize,
    keeper: Keeper,
}

#[derive(Debug)]
struct Ports {
    proxy: u16,
    tls_proxy: u16,
    account: u16,
    container: u16,
    object: u16,
    memcached: u16,
}

/// An account of a test's own, with the users `admin` (owns it), `reader` and `writer` (may what a container allows them).
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    port: u16,
    tls_port: u16,
}

impl Swift {
    /// Starts all servers, with tempauth, and waits until they serve (about 6 s).
    pub async fn start() -> Result<Self> {
        Self::start_with(Auth::Tempauth).await
    }

    pub(crate) async fn start_with(auth: Auth) -> Result<Self> {
        let ports = Ports {
            proxy: free_port()?,
            tls_proxy: free_port()?,
            account: free_port()?,
            container: free_port()?,
            object: free_port()?,
            memcached: free_port()?,
        };
        let keeper = Keeper::with_hook("swift", &parent_with_attributes()?, "")?;
        let swift = Self { ports, given: AtomicUsize::new(0), keeper };
        swift.configure(&auth).await?;
        swift.start_again().await?;
        Ok(swift)
    }

    /// An account that no other caller gets (tempauth).
    pub fn account(&self) -> Result<Account> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(number < ACCOUNTS, "all {ACCOUNTS} accounts are given out");
        let Ports { proxy, tls_proxy, .. } = self.ports;
        Ok(Account { name: account_name(number), port: proxy, tls_port: tls_proxy })
    }

    /// The account of who has this Swift for himself.
    pub fn first_account(&self) -> Account {
        let Ports { proxy, tls_proxy, .. } = self.ports;
        Account { name: account_name(0), port: proxy, tls_port: tls_proxy }
    }

    /// The port of the proxy server with TLS.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls_proxy
    }

    /// The port of the proxy server.
    pub fn port(&self) -> u16 {
        self.ports.proxy
    }

    /// Kills all servers without a warning.
    pub async fn kill9(&self) -> Result<()> {
        self.keeper.kill9().await
    }

    /// Starts them again after [`Self::kill9`], on the same ports and data, and waits until they serve.
    pub async fn start_again(&self) -> Result<()> {
        let port = self.ports.memcached.to_string();
        let user = user_name()?;
        let mut memcached = self.keeper.command("memcached");
        memcached.args(["-u", &user, "-U", "0", "-l", "127.0.0.1", "-p", &port, "-m", "16"]);
        self.keeper.spawn("memcached", &mut memcached)?;
        for kind in ["account", "container", "object"] {
            self.spawn(kind)?;
        }
        let attempt = async || self.try_all().await;
        self.spawn("tls-proxy")?;
        self.spawn("proxy")?.wait_until_ok("Swift to answer", Duration::from_secs(120), attempt).await
    }

    fn spawn(&self, kind: &str) -> Result<Process> {
        let mut server = self.keeper.command(PYTHON);
        let program = kind.trim_start_matches("tls-");
        server.arg(format!("/usr/bin/swift-{program}-server")).arg(self.path(&format!("{kind}-server.conf")));
        // Errors go to the log here, not only to a syslog that may not be there.
        server.arg("--verbose");
        self.keeper.spawn(kind, &mut server)
    }

    async fn try_all(&self) -> Result<()> {
        let Ports { proxy, tls_proxy, account, container, object, .. } = self.ports;
        for port in [account, container, object, tls_proxy] {
            TcpStream::connect(("127.0.0.1", port)).await?;
        }
        reqwest::get(format!("http://127.0.0.1:{proxy}/healthcheck")).await?.error_for_status()?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.keeper.dir().join(name)
    }

    async fn configure(&self, auth: &Auth) -> Result<()> {
        fs::create_dir_all(self.path("srv/d1"))?;
        let Ports { account, container, object, .. } = self.ports;
        for (kind, port) in [("account", account), ("container", container), ("object", object)] {
            self.make_ring(kind, port).await?;
            let text = configuration::storage(self.keeper.dir(), &user_name()?, kind, port);
            fs::write(self.path(&format!("{kind}-server.conf")), text)?;
        }
        fs::write(self.path("swift.conf"), configuration::SWIFT)?;
        let Ports { proxy, tls_proxy, memcached, .. } = self.ports;
        let files = authority()?.server_files(self.keeper.dir(), None)?;
        for (kind, port, files) in [("proxy", proxy, None), ("tls-proxy", tls_proxy, Some(&files))] {
            let text = configuration::proxy(self.keeper.dir(), &user_name()?, port, files, memcached, auth);
            fs::write(self.path(&format!("{kind}-server.conf")), text)?;
        }
        Ok(())
    }

    /// One copy on one device.
    async fn make_ring(&self, kind: &str, port: u16) -> Result<()> {
        let device = format!("r1z1-127.0.0.1:{port}/d1");
        for step in [&["create", "4", "1", "0"][..], &["add", &device, "1"], &["rebalance"]] {
            let mut command: Command = self.keeper.command(PYTHON);
            command.arg("/usr/bin/swift-ring-builder").arg(self.path(&format!("{kind}.builder"))).args(step);
            run(command).await?;
        }
        Ok(())
    }
}

impl Account {
    /// The public address of the account: `{public_url}/{container}/{object}`.
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/AUTH_{}", self.port, self.name)
    }

    /// The address where tokens are given (v1 auth).
    pub fn auth_url(&self) -> String {
        format!("http://127.0.0.1:{}/auth/v1.0", self.port)
    }

    /// The store's URL as Proofhouse takes it.
    pub fn store_url(&self) -> String {
        format!("swift+{}", self.auth_url())
    }

    /// The same over TLS.
    pub fn tls_store_url(&self) -> String {
        format!("swift+https://127.0.0.1:{}/auth/v1.0", self.tls_port)
    }

    /// A user's full name, as in a container's access rules.
    pub fn user(&self, user: &str) -> String {
        format!("{}:{user}", self.name)
    }

    /// The owner's credentials as a store's clients read them from the environment.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env_of("admin")
    }

    /// The credentials of one of the three users.
    pub fn env_of(&self, user: &str) -> Vec<(String, String)> {
        let user = self.user(user);
        [
            ("OS_AUTH_URL", self.auth_url()),
            ("OS_USERNAME", user),
            ("OS_PASSWORD", PASSWORD.to_owned()),
            ("OS_IDENTITY_API_VERSION", "1".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// The account's URL as an S3 store: of one bucket, or (an empty name) with a bucket per container.
    pub fn s3_url(&self, bucket: &str) -> String {
        format!("s3://{bucket}?endpoint=http://127.0.0.1:{}&region=us-east-1", self.port)
    }

    /// The same over TLS.
    pub fn tls_s3_url(&self, bucket: &str) -> String {
        format!("s3://{bucket}?endpoint=https://127.0.0.1:{}&region=us-east-1", self.tls_port)
    }

    /// The owner's credentials as S3's clients read them from the environment.
    pub fn s3_env(&self) -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", self.user("admin")), ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned())]
            .map(|(key, value)| (key.to_owned(), value))
            .to_vec()
    }

    /// A token of one of the three users.
    pub async fn token(&self, user: &str) -> Result<String> {
        let request = reqwest::Client::new()
            .get(self.auth_url())
            .header("X-Auth-User", self.user(user))
            .header("X-Auth-Key", PASSWORD);
        let answer = request.send().await?.error_for_status()?;
        let token = answer.headers().get("X-Auth-Token").context("no token in the answer")?;
        Ok(token.to_str()?.to_owned())
    }
}

fn account_name(number: usize) -> String {
    format!("t{number}")
}

fn user_name() -> Result<String> {
    Ok(User::from_uid(Uid::effective())?.context("the user has no name")?.name)
}

/// Swift keeps metadata in extended attributes, which a tmpfs of an older kernel has not.
fn parent_with_attributes() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let beside = exe.parent().context("the test binary's folder")?;
    let candidates = [&std::env::temp_dir(), Path::new("/var/tmp"), beside];
    candidates
        .into_iter()
        .find(|dir| takes_attributes(dir).unwrap_or(false))
        .map(Path::to_owned)
        .with_context(|| format!("none of {candidates:?} takes user attributes (or setfattr is missing)"))
}

fn takes_attributes(dir: &Path) -> Result<bool> {
    let file = tempfile::NamedTempFile::new_in(dir)?;
    let mut command = Command::new("setfattr");
    command.args(["-n", "user.proofhouse", "-v", "1"]).arg(file.path());
    Ok(command.output()?.status.success())
}
