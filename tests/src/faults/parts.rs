//! Everything that runs while faults strike: real servers, two dispatchers, three workers, two webs, and the links between them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use tokio::sync::{Mutex, MutexGuard};

use super::{front::Front, orders::Orders};
use crate::{
    cluster::Cluster,
    disk::SmallDisk,
    hostile,
    lxd::{Lxd, REMOTE},
    moto::Moto,
    postgres::Postgres,
    proofhouse::{Proofhouse, Role, Version},
    proxy::TcpProxy,
    rabbit::Rabbit,
    swift::Swift,
};

/// What the results are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Swift with tempauth.
    Swift,
    /// moto's S3.
    S3,
}

/// A role's process.
pub(super) struct Member {
    /// Of workers the name by which the table knows them.
    pub(super) name: String,
    /// `dispatcher`, `worker` or `web`.
    pub(super) role: &'static str,
    process: Mutex<Proofhouse>,
    /// Its data folder, where that is a small disk.
    pub(super) disk: Option<SmallDisk>,
}

impl Member {
    async fn start(role: &'static str, name: &str, process: Role, disk: Option<SmallDisk>) -> Result<Self> {
        let process = match &disk {
            Some(disk) => process.arg("--data", disk.path().join("data").display().to_string()),
            None => process,
        };
        Ok(Self { role, name: name.to_owned(), process: Mutex::new(process.start().await?), disk })
    }

    /// Its process, unless a fault has it in hand.
    pub(super) fn free(&self) -> Option<MutexGuard<'_, Proofhouse>> {
        self.process.try_lock().ok()
    }

    /// Its process, once no fault has it in hand.
    pub(super) async fn process(&self) -> MutexGuard<'_, Proofhouse> {
        self.process.lock().await
    }
}

enum Objects {
    Swift(Box<Swift>),
    S3(Moto),
}

/// Everything.
pub(super) struct Parts {
    /// To the processes.
    pub(super) orders: Orders,
    /// The broker.
    pub(super) rabbit: Rabbit,
    /// The broker's URL for one who may do everything.
    pub(super) bus: String,
    /// Before the broker, for dispatchers and webs.
    pub(super) dispatchers_link: TcpProxy,
    /// Before the broker, for workers.
    pub(super) workers_link: TcpProxy,
    /// The server that counts and, between two failovers, its standby.
    pub(super) databases: Mutex<(Postgres, Option<Postgres>)>,
    /// Before the database.
    pub(super) database_link: TcpProxy,
    /// The store fails here.
    pub(super) front: Front,
    /// And here, before that.
    pub(super) store_link: TcpProxy,
    /// The processes.
    pub(super) members: Vec<Member>,
    /// Of starts and ends of tests.
    pub(super) ledger: PathBuf,
    /// Where the real autopkgtest runs.
    pub(super) lxd: Option<Lxd>,
    cluster: Cluster,
    objects: Objects,
}

/// The database's name.
const NAME: &str = "faults";

impl Parts {
    /// Starts all. `planted`: the error that is built in, if any. `whole`: with what only root can make, small disks for the database
    /// and the data folders of a dispatcher and a worker, and an LXD with a worker of its own.
    pub(super) async fn start(store: Store, planted: Option<&str>, whole: bool) -> Result<Self> {
        let rabbit = Rabbit::start_with("consumer_timeout = 60000").await?;
        let postgres = if whole { Postgres::start_on_small_disk().await? } else { Postgres::start().await? };
        let bus = rabbit.secured("/").await?;
        let database = postgres.secured(NAME).await?;
        let database_link = TcpProxy::start(address(postgres.port())).await?;
        let cluster = Cluster::on(bus.clone(), database_link.before(&database)?)?;
        let dispatchers_link = TcpProxy::start(rabbit.tls_address()).await?;
        let workers_link = TcpProxy::start(rabbit.tls_address()).await?;
        let (objects, port) = match store {
            Store::Swift => {
                let swift = Swift::start().await?;
                let port = swift.port();
                (Objects::Swift(Box::new(swift)), port)
            }
            Store::S3 => {
                let moto = Moto::start().await?;
                let port = moto.port();
                (Objects::S3(moto), port)
            }
        };
        let front = Front::start(address(port)).await?;
        let store_link = TcpProxy::start(front.address()).await?;
        let orders = Orders::new(cluster.folder())?;
        let ledger = cluster.folder().join("ledger");
        let mut parts = Self {
            orders,
            rabbit,
            bus,
            dispatchers_link,
            workers_link,
            databases: Mutex::new((postgres, None)),
            database_link,
            front,
            store_link,
            members: Vec::new(),
            ledger,
            lxd: None,
            cluster,
            objects,
        };
        parts.start_members(planted, whole).await?;
        if whole {
            parts.start_lxd(planted).await?;
        }
        Ok(parts)
    }

    async fn start_members(&mut self, planted: Option<&str>, whole: bool) -> Result<()> {
        let disk = |wanted: bool| if wanted && whole { SmallDisk::mount(96).map(Some) } else { Ok(None) };
        for n in 0..2 {
            let role = self.role(self.cluster.dispatcher(), &self.dispatchers_link, "dispatcher", planted)?;
            let role = role.arg("--retry-attempts", "100").arg("--releases", "noble,bookworm");
            self.members.push(Member::start("dispatcher", "", role, disk(n == 0)?).await?);
        }
        for (n, name) in ["one", "two", "three"].into_iter().enumerate() {
            let role = self.role(self.cluster.worker(name), &self.workers_link, "worker", planted)?;
            let stand_in = concat!(env!("CARGO_MANIFEST_DIR"), "/src/faults/stand_in.sh");
            let role = role.arg("--slots", "4").arg("--autopkgtest", stand_in);
            let role = role.env("STAND_IN_LEDGER", self.ledger.display().to_string());
            self.members.push(Member::start("worker", name, role, disk(n == 0)?).await?);
        }
        for _ in 0..2 {
            let role = self.role(self.cluster.web(), &self.dispatchers_link, "web", planted)?;
            self.members.push(Member::start("web", "", role, None).await?);
        }
        Ok(())
    }

    /// A worker for bookworm that runs the real autopkgtest in containers.
    async fn start_lxd(&mut self, planted: Option<&str>) -> Result<()> {
        let lxd = Lxd::start().await?;
        let sources = self.cluster.folder().join("sources");
        hostile::write_sources(&sources, &hostile::honest().collect::<Vec<_>>())?;
        let role = self.role(self.cluster.worker("lxd"), &self.workers_link, "worker", planted)?;
        let role = role
            .arg("--releases", "bookworm")
            .arg("--provider", "lxd")
            .arg("--lxd-remote", REMOTE)
            .arg("--lxd-image", lxd.image())
            .arg("--slots", "2")
            .arg("--autopkgtest", concat!(env!("CARGO_MANIFEST_DIR"), "/src/faults/real.sh"))
            .env("REAL_SOURCES", sources.display().to_string())
            .env("STAND_IN_LEDGER", self.ledger.display().to_string())
            .envs(lxd.env());
        self.members.push(Member::start("worker", "lxd", role, None).await?);
        self.lxd = Some(lxd);
        Ok(())
    }

    /// The containers of LXD.
    pub(super) async fn containers(&self) -> Result<Vec<String>> {
        let Some(lxd) = &self.lxd else { return Ok(vec![]) };
        let listed = lxd.lxc(&["list", &format!("{REMOTE}:"), "-c", "n", "-f", "csv"]).await?;
        Ok(listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// A role on these servers.
    fn role(&self, role: Role, link: &TcpProxy, name: &str, planted: Option<&str>) -> Result<Role> {
        let (key, folder) = self.orders.env();
        let store = self.store_link.address();
        let (url, env) = match &self.objects {
            Objects::Swift(swift) => {
                let account = swift.first_account();
                let env =
                    account.env_of("admin").into_iter().filter(|(key, _)| key != "OS_AUTH_URL").collect();
                (format!("swift+http://{store}/auth/v1.0"), env)
            }
            Objects::S3(moto) => (format!("s3://?endpoint=http://{store}&region=eu-west-1"), moto.s3_env()),
        };
        let role = role.arg("--store", url).envs(env).env(key, folder).quiet().version(Version::Faulty);
        let role = role.arg("--bus", link.before(&self.cluster.bus_of(name))?);
        Ok(planted.into_iter().fold(role, |role, planted| role.env("PROOFHOUSE_PLANTED", planted)))
    }

    /// Whose process this is.
    pub(super) fn member_of(&self, pid: Pid) -> Option<&Member> {
        self.members.iter().find(|member| {
            member.free().is_some_and(|process| process.process().pid().is_ok_and(|its| its == pid))
        })
    }

    /// Members of a role.
    pub(super) fn of_role(&self, role: &str) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.role == role)
    }

    /// The database's URL for one who may do everything.
    pub(super) fn database(&self) -> &str {
        &self.cluster.database
    }

    /// The broker's URL for a gate.
    pub(super) fn gate(&self) -> String {
        self.cluster.bus_of("gate")
    }

    /// The sites, and a token for them.
    pub(super) async fn sites(&self) -> Result<(Vec<String>, String)> {
        let mut sites = Vec::new();
        for web in self.of_role("web") {
            sites.push(web.process().await.site_url()?);
        }
        let database = self.cluster.database_of("operator");
        let args = ["token", "add", "faults", "--person", "joe", "--json", "--database", &database];
        let output = Version::This.run(&args, &[]).await?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok((sites, said["secret"].as_str().context("a secret")?.to_owned()))
    }

    /// A standby takes the place of the database's server, which is lost; another standby follows it.
    pub(super) async fn fail_over(&self) -> Result<()> {
        let mut databases = self.databases.lock().await;
        let standby = databases.1.take().context("a standby")?;
        databases.0.kill9().await?;
        standby.promote().await?;
        self.database_link.redirect(address(standby.port()));
        databases.0 = standby;
        Ok(())
    }

    /// Gives the database a standby where it has none.
    pub(super) async fn has_standby(&self) -> Result<()> {
        let mut databases = self.databases.lock().await;
        if databases.1.is_none() {
            databases.1 = Some(databases.0.standby().await?);
        }
        Ok(())
    }

    /// Ends what is left of faults: everything runs and is reachable.
    pub(super) async fn mend(&self) -> Result<()> {
        self.front.set(super::front::Weather::Fair);
        for link in [&self.dispatchers_link, &self.workers_link, &self.database_link, &self.store_link] {
            link.resume();
            link.delay(Duration::ZERO);
            link.restore().await?;
        }
        for member in &self.members {
            member.process().await.becomes_ready().await?;
        }
        Ok(())
    }
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
