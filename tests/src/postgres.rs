//! A PostgreSQL of one's own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::{User, geteuid};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{
    certificates::authority,
    disk::SmallDisk,
    keeper::{Keeper, run},
    ports::free_port,
    proofhouse::Version,
    roles::{ROLE_PASSWORD, as_role},
    wait::wait_until_ok,
};

/// The superuser.
pub const USER: &str = "tester";
/// Its password, easy to find where it must not be.
pub const PASSWORD: &str = "postgres-sekrit";

/// Owns the databases that are set up as an administrator does it.
pub const OWNER: &str = "proofhouse_owner";
/// The roles that are shipped.
pub const ROLES: [&str; 3] = ["proofhouse_dispatcher", "proofhouse_web", "proofhouse_operator"];

/// The server leaves a small System V segment behind when it is killed; its id stands in the pid file.
const HOOK: &str = r#"[ ! -e "$DIR/data/postmaster.pid" ] ||
    ipcrm -m "$(awk 'NR == 7 { print $2 }' "$DIR/data/postmaster.pid")" 2>/dev/null"#;

/// A running server. Its databases sort by ICU's English rules, as many in production do: a list that
/// needs byte order and forgot `COLLATE "C"` shows it here.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    bin: PathBuf,
    keeper: Keeper,
    /// As in production: what is committed is on the disk. Else nothing needs to be, and the roles that are shipped come over
    /// TLS alone.
    durable: bool,
    /// Where its data is, if that is a disk that can be full.
    disk: Option<SmallDisk>,
    roles: tokio::sync::Mutex<()>,
}

/// The size of a small disk, in MiB: several times what a bench of faults writes, and the log.
const SMALL: u16 = 768;

impl Postgres {
    /// Makes a cluster and starts it (about 3 s).
    pub async fn start() -> Result<Self> {
        Self::start_as(false, None).await
    }

    /// The same with its data on a disk that can be full; its standbys have such disks, too. It needs root.
    pub async fn start_on_small_disk() -> Result<Self> {
        Self::start_as(false, Some(SmallDisk::mount(SMALL)?)).await
    }

    /// The same with fsync, for figures.
    pub async fn start_durable() -> Result<Self> {
        Self::start_as(true, None).await
    }

    async fn start_as(durable: bool, disk: Option<SmallDisk>) -> Result<Self> {
        let postgres = Self {
            durable,
            disk,
            port: free_port()?,
            bin: newest_bin()?,
            keeper: Keeper::with_hook("postgres", &std::env::temp_dir(), HOOK)?,
            roles: tokio::sync::Mutex::default(),
        };
        postgres.make_cluster().await?;
        postgres.start_again().await?;
        let mut server = PgConnection::connect(&postgres.url("postgres")).await?;
        let owner = format!("CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{ROLE_PASSWORD}'");
        server.execute(AssertSqlSafe(owner)).await?;
        Ok(postgres)
    }

    /// Makes a new, empty database (letters, digits, `_`), in place of an older one of that name, and returns its URL.
    pub async fn database(&self, name: &str) -> Result<String> {
        anyhow::ensure!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "bad name {name:?}");
        let mut server = PgConnection::connect(&self.url("postgres")).await?;
        server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))).await?;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).await?;
        server.close().await?;
        Ok(self.url(name))
    }

    /// A new database as an administrator sets it up: its owner migrates it, then come the roles that are shipped. Returns
    /// the superuser's URL, over TLS; see [`as_role`].
    pub async fn secured(&self, name: &str) -> Result<String> {
        self.secured_by(Version::This, name).await
    }

    /// As [`Self::secured`], by a version.
    pub async fn secured_by(&self, version: Version, name: &str) -> Result<String> {
        let url = self.database(name).await?
            + "?sslmode=verify-full&sslrootcert="
            + &authority()?.file().display().to_string();
        let mut server = PgConnection::connect(&url).await?;
        server.execute(AssertSqlSafe(format!("ALTER DATABASE \"{name}\" OWNER TO {OWNER}"))).await?;
        self.migrate(version, &url).await?;
        Ok(url)
    }

    /// The owner migrates a database to what a version needs, and makes the roles that it ships; they get their passwords.
    pub async fn migrate(&self, version: Version, url: &str) -> Result<()> {
        let owners = as_role(url, OWNER)?;
        // While other tests take all of the machine it may not answer in time.
        let mut tries = 0;
        let migrated = loop {
            let migrated = version.run(&["database", "migrate", "--database", &owners], &[]).await?;
            tries += 1;
            if tries == 10 || !String::from_utf8_lossy(&migrated.stderr).contains(" is away: ") {
                break migrated;
            }
        };
        anyhow::ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        // Roles belong to the whole server: no two tests change them at once.
        let _one_at_a_time = self.roles.lock().await;
        let mut owner = PgConnection::connect(&owners).await?;
        let roles = fs::read_to_string(version.roles()?)?;
        sqlx::raw_sql(AssertSqlSafe(roles)).execute(&mut owner).await?;
        let mut server = PgConnection::connect(url).await?;
        for role in ROLES {
            let password = format!("ALTER ROLE {role} PASSWORD '{ROLE_PASSWORD}'");
            server.execute(AssertSqlSafe(password)).await?;
        }
        Ok(())
    }

    /// A server that follows this one, for the time when this one is lost: from here on every commit waits for it. Its port is its
    /// own; its databases, roles and passwords are this one's.
    pub async fn standby(&self) -> Result<Self> {
        let keeper = Keeper::with_hook("postgres", &std::env::temp_dir(), HOOK)?;
        let (bin, durable, roles) = (self.bin.clone(), self.durable, tokio::sync::Mutex::default());
        let disk = self.disk.as_ref().map(|_| SmallDisk::mount(SMALL)).transpose()?;
        let standby = Self { port: free_port()?, bin, keeper, durable, disk, roles };
        let user = standby.prepare_folder()?;
        authority()?.server_files(standby.keeper.dir(), user.as_ref())?;
        let mut copy = standby.command("pg_basebackup");
        copy.args([
            "--dbname",
            &self.url("postgres"),
            "--write-recovery-conf",
            "--no-sync",
            "--checkpoint=fast",
        ]);
        copy.arg("--pgdata").arg(standby.data());
        run(copy).await?;
        standby.start_again().await?;
        self.waits_for_standby(true).await?;
        Ok(standby)
    }

    /// Whether commits wait for a standby.
    async fn waits_for_standby(&self, wanted: bool) -> Result<()> {
        let names = if wanted { "*" } else { "" };
        self.set("synchronous_standby_names", names).await
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let mut server = PgConnection::connect(&self.url("postgres")).await?;
        // Itself it must be able to go back.
        server.execute("SET default_transaction_read_only = off").await?;
        server.execute("SET synchronous_commit = local").await?;
        server.execute(AssertSqlSafe(format!("ALTER SYSTEM SET {name} = '{value}'"))).await?;
        server.execute("SELECT pg_reload_conf()").await?;
        Ok(server.close().await?)
    }

    /// Makes a standby the server that counts; it has no standby of its own yet.
    pub async fn promote(&self) -> Result<()> {
        let mut server = PgConnection::connect(&self.url("postgres")).await?;
        server.execute("SELECT pg_promote()").await?;
        server.close().await?;
        self.waits_for_standby(false).await
    }

    /// Asks it to stop at once, with what is under way rolled back, and waits for its end.
    pub async fn stop(&self) -> Result<()> {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--mode=fast", "--pgdata"]).arg(self.data());
        run(stop).await.map(drop)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server without a warning.
    pub async fn kill9(&self) -> Result<()> {
        self.keeper.kill9().await
    }

    /// Leaves no room on its small disk while `wait` lasts. Where it ended of that, it is started again, as its keeper does.
    pub async fn full(&self, wait: impl Future<Output = ()>) -> Result<()> {
        let disk = self.disk.as_ref().context("the database has no small disk")?;
        disk.fill()?;
        wait.await;
        disk.free()?;
        let connect = async || PgConnection::connect(&self.url("postgres")).await?.close().await;
        if wait_until_ok("PostgreSQL to recover", Duration::from_secs(5), connect).await.is_err() {
            self.kill9().await?;
            self.start_again().await?;
        }
        Ok(())
    }

    /// Starts it again after [`Self::kill9`], on the same port and data, and waits until it serves. What is left of a killed server
    /// looks like no process of ours for a moment, and keeps the next one from starting.
    pub async fn start_again(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            match self.start_once().await {
                Err(error) if tries < 50 && format!("{error:#}").contains("pre-existing shared memory") => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                started => return started,
            }
        }
    }

    async fn start_once(&self) -> Result<()> {
        let mut command = self.command("postgres");
        let port = self.port.to_string();
        command.arg("-D").arg(self.data()).args(["-p", &port, "-k", "", "-h", "127.0.0.1", "-N", "200"]);
        if !self.durable {
            // The operating system survives what tests do to the server, so nothing needs to reach the disk.
            command.arg("-F");
        }
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        if self.disk.is_some() {
            command.args(["-c", "max_wal_size=128MB"]);
        }
        command.args(["-c", "ssl=on"]);
        for (setting, name) in [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")] {
            command.arg("-c").arg(format!("{setting}={}", self.keeper.dir().join(name).display()));
        }
        let server = self.keeper.spawn("server", &mut command)?;
        let attempt = async || PgConnection::connect(&self.url("postgres")).await?.close().await;
        server.wait_until_ok("PostgreSQL to take connections", Duration::from_secs(120), attempt).await
    }

    async fn make_cluster(&self) -> Result<()> {
        let dir = self.keeper.dir();
        let password = dir.join("password");
        fs::write(&password, PASSWORD)?;
        let user = self.prepare_folder()?;
        authority()?.server_files(dir, user.as_ref())?;
        if let Some(user) = user {
            chown(&password, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(self.data()).arg("--pwfile").arg(&password).args(["-U", USER]);
        initdb.args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--locale-provider=icu", "--icu-locale=en-US"]);
        run(initdb).await?;
        if self.durable {
            return Ok(());
        }
        // What is shipped goes over TLS alone.
        let rules = self.data().join("pg_hba.conf");
        let usual = fs::read_to_string(&rules)?;
        Ok(fs::write(&rules, format!("hostnossl all {} all reject\n{usual}", ROLES.join(",")))?)
    }

    /// The server's user may work in the folder; returns that user, where it is not ours.
    fn prepare_folder(&self) -> Result<Option<User>> {
        let user = geteuid().is_root().then(|| User::from_name("postgres")).transpose()?.flatten();
        anyhow::ensure!(user.is_some() || !geteuid().is_root(), "there is no user postgres");
        let dir = self.keeper.dir();
        if let Some(user) = &user {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
            chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        if let Some(disk) = &self.disk {
            let data = disk.path().join("data");
            fs::create_dir(&data)?;
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
            if let Some(user) = &user {
                chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
            symlink(&data, self.data())?;
        }
        Ok(user)
    }

    fn data(&self) -> PathBuf {
        self.keeper.dir().join("data")
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = self.keeper.command("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            self.keeper.command(program)
        };
        command.current_dir(self.keeper.dir());
        command
    }
}

/// The programs of the newest version; Debian keeps them out of PATH.
fn newest_bin() -> Result<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let versions = fs::read_dir(root).with_context(|| format!("{} (postgresql)", root.display()))?;
    versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| root.join(version.to_string()).join("bin"))
        .context("no PostgreSQL is installed")
}
