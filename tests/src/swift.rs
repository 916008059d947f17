//! A Swift of one's own, with tempauth: proxy, account, container and object server on one folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use crate::{
    keeper::{Keeper, Process, run},
    ports::free_port,
};

/// The password of every user, easy to find where it must not be.
pub const PASSWORD: &str = "swift-sekrit";

/// Tempauth knows its accounts by its configuration, so they are there before anybody asks for one.
const ACCOUNTS: usize = 100;

/// Debian's Python programs, whatever `python3` comes first in PATH.
const PYTHON: &str = "/usr/bin/python3";

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
}

impl Swift {
    /// Starts all servers and waits until they serve (about 6 s).
    pub async fn start() -> Result<Self> {
        let ports = Ports {
            proxy: free_port()?,
            account: free_port()?,
            container: free_port()?,
            object: free_port()?,
            memcached: free_port()?,
        };
        let keeper = Keeper::with_hook("swift", &parent_with_attributes()?, "")?;
        let swift = Self { ports, given: AtomicUsize::new(0), keeper };
        swift.configure().await?;
        swift.start_again().await?;
        Ok(swift)
    }

    /// An account that no other caller gets.
    pub fn account(&self) -> Result<Account> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(number < ACCOUNTS, "all {ACCOUNTS} accounts are given out");
        Ok(Account { name: account_name(number), port: self.ports.proxy })
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
        let attempt = async || self.try_account().await;
        self.spawn("proxy")?.wait_until_ok("Swift to answer", Duration::from_secs(60), attempt).await
    }

    fn spawn(&self, kind: &str) -> Result<Process> {
        let mut server = self.keeper.command(PYTHON);
        server.arg(format!("/usr/bin/swift-{kind}-server")).arg(self.path(&format!("{kind}-server.conf")));
        self.keeper.spawn(kind, &mut server)
    }

    /// The proxy answers by itself; that an account can be read shows the servers behind it.
    async fn try_account(&self) -> Result<()> {
        let probe = Account { name: "probe".to_owned(), port: self.ports.proxy };
        let token = probe.token("admin").await?;
        let request = reqwest::Client::new().get(probe.public_url()).header("X-Auth-Token", token);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.keeper.dir().join(name)
    }

    async fn configure(&self) -> Result<()> {
        fs::create_dir_all(self.path("srv/d1"))?;
        let Ports { account, container, object, .. } = self.ports;
        for (kind, port) in [("account", account), ("container", container), ("object", object)] {
            self.make_ring(kind, port).await?;
            fs::write(self.path(&format!("{kind}-server.conf")), self.storage_configuration(kind, port)?)?;
        }
        fs::write(self.path("swift.conf"), SWIFT_CONF)?;
        fs::write(self.path("proxy-server.conf"), self.proxy_configuration()?)?;
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

    fn default_section(&self, port: u16) -> Result<String> {
        let dir = self.keeper.dir().display();
        let user = user_name()?;
        Ok(format!(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {user}\nworkers = 0\nswift_dir = {dir}\n\
             log_level = INFO\n"
        ))
    }

    fn storage_configuration(&self, kind: &str, port: u16) -> Result<String> {
        let default = self.default_section(port)?;
        Ok(format!(
            "{default}devices = {}\nmount_check = false\nfallocate_reserve = 0\ndisable_fallocate = true\n\
             [pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n",
            self.path("srv").display()
        ))
    }

    fn proxy_configuration(&self) -> Result<String> {
        let default = self.default_section(self.ports.proxy)?;
        let users: String = (0..ACCOUNTS)
            .map(account_name)
            .chain(["probe".to_owned()])
            .flat_map(|account| {
                [("admin", ".admin"), ("reader", ""), ("writer", "")]
                    .map(|(user, groups)| format!("user_{account}_{user} = {PASSWORD} {groups}\n"))
            })
            .collect();
        let memcached = self.ports.memcached;
        Ok(format!(
            "{default}{PROXY_CONF}[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{memcached}\n\
             [filter:tempauth]\nuse = egg:swift#tempauth\ntoken_life = 86400\n{users}"
        ))
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

    /// A user's full name, as in a container's access rules.
    pub fn user(&self, user: &str) -> String {
        format!("{}:{user}", self.name)
    }

    /// The owner's credentials as a store's clients read them from the environment.
    pub fn env(&self) -> Vec<(String, String)> {
        let user = self.user("admin");
        [
            ("OS_AUTH_URL", self.auth_url()),
            ("OS_USERNAME", user),
            ("OS_PASSWORD", PASSWORD.to_owned()),
            ("OS_IDENTITY_API_VERSION", "1".to_owned()),
        ]
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

const SWIFT_CONF: &str = "\
[swift-hash]
swift_hash_path_suffix = lab
swift_hash_path_prefix = lab
[storage-policy:0]
name = default
default = yes
[swift-constraints]
";

/// The pipeline of a usual public cloud, in Swift's recommended order.
const PROXY_CONF: &str = "\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
# The only server of a kind is asked again at once, however often it failed.
error_suppression_limit = 1000000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
";
