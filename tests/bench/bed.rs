//! The servers that figures are taken on, as they run for real: whatever is committed or confirmed is on the disk.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use nix::unistd::Pid;
use proofhouse_tests::{
    amqp, cluster::Cluster, postgres::Postgres, proofhouse::Role, rabbit::Rabbit, wait::wait_for,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::Form;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

/// One broker and one database server for all figures.
pub(crate) struct Bed {
    pub(crate) form: Form,
    rabbit: Rabbit,
    postgres: Postgres,
    next: AtomicU32,
}

impl Bed {
    pub(crate) async fn start(form: Form) -> Result<Self> {
        let (rabbit, postgres) = (Rabbit::start().await?, Postgres::start_durable().await?);
        Ok(Self { form, rabbit, postgres, next: AtomicU32::new(1) })
    }

    /// The broker's process.
    pub(crate) async fn broker(&self) -> Result<Pid> {
        let answer = self.rabbit.eval("os:getpid().").await?;
        let number: String = answer.chars().filter(char::is_ascii_digit).collect();
        Ok(Pid::from_raw(number.parse().context("the broker's process")?))
    }

    /// A vhost and a database that nobody used before, over plain connections: all is on one machine.
    pub(crate) async fn site(&self) -> Result<Site> {
        let name = format!("bench_{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.rabbit.secured(&name).await?;
        let bus = self.rabbit.url_for_vhost(&name).await?;
        self.postgres.secured(&name).await?;
        let database = self.postgres.url(&name);
        let mut table = PgConnection::connect(&database).await?;
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let (value,): (String,) =
                sqlx::query_as(AssertSqlSafe(format!("SHOW {setting}"))).fetch_one(&mut table).await?;
            anyhow::ensure!(value == "on", "{setting} is {value}");
        }
        let channel = amqp::connection(&bus).await?.create_channel().await?;
        let cluster = Cluster::on(bus.clone(), database)?;
        fs::create_dir(cluster.folder().join("gate"))?;
        Ok(Site { form: self.form, bus, cluster, table: tokio::sync::Mutex::new(table), channel })
    }
}

/// One figure's cluster, with connections to look and to ask by that stay open.
pub(crate) struct Site {
    pub(crate) form: Form,
    /// The broker's URL, for one who may do everything.
    pub(crate) bus: String,
    pub(crate) cluster: Cluster,
    table: tokio::sync::Mutex<PgConnection>,
    channel: Channel,
}

impl Site {
    /// A worker whose autopkgtest notes when it starts and ends.
    pub(crate) fn worker(&self, name: &str, slots: usize) -> Role {
        let file = |name: &str| self.cluster.folder().join(name).display().to_string();
        self.cluster
            .worker(name)
            .quiet()
            .arg("--slots", slots.to_string())
            .arg("--lease-seconds", "60")
            .arg("--autopkgtest", concat!(env!("CARGO_MANIFEST_DIR"), "/bench/autopkgtest.sh"))
            .env("STAND_IN_STARTS", file("starts"))
            .env("STAND_IN_ENDS", file("ends"))
    }

    /// A dispatcher for noble on these arches.
    pub(crate) fn dispatcher(&self, arches: &str) -> Role {
        self.cluster.dispatcher().quiet().arg("--arches", arches).arg("--lease-seconds", "60")
    }

    /// The folder in which tests that are held look for their release.
    pub(crate) fn gate(&self) -> PathBuf {
        self.cluster.folder().join("gate")
    }

    /// Publishes as a gate does; returns when it began to.
    pub(crate) async fn publish(&self, queue: &str, body: &[u8]) -> Result<Duration> {
        let properties =
            BasicProperties::default().with_content_encoding("UTF-8".into()).with_delivery_mode(2);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let options = BasicPublishOptions::default();
        self.channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
        Ok(now)
    }

    /// When these packages' tests started, since 1970.
    pub(crate) fn starts(&self) -> BTreeMap<String, Duration> {
        self.notes("starts")
    }

    /// When they ended.
    pub(crate) fn ends(&self) -> BTreeMap<String, Duration> {
        self.notes("ends")
    }

    fn notes(&self, file: &str) -> BTreeMap<String, Duration> {
        let text = fs::read_to_string(self.cluster.folder().join(file)).unwrap_or_default();
        let note = |line: &str| {
            let (at, package) = line.split_once(' ')?;
            Some((package.to_owned(), Duration::from_micros(at.parse().ok()?)))
        };
        text.lines().filter_map(note).collect()
    }

    /// Waits for a package's start.
    pub(crate) async fn started(&self, package: &str) -> Result<Duration> {
        wait_for(&format!("the start of {package}"), PATIENCE, async || self.starts().remove(package)).await
    }

    /// A number out of the database.
    pub(crate) async fn number(&self, sql: &'static str) -> Result<i64> {
        let (number,): (i64,) = sqlx::query_as(sql).fetch_one(&mut *self.table.lock().await).await?;
        Ok(number)
    }

    /// Waits until the database says that number.
    pub(crate) async fn reaches(&self, sql: &'static str, number: i64) -> Result<Instant> {
        wait_for(&format!("{sql}: {number}"), PATIENCE, async || {
            self.number(sql).await.is_ok_and(|found| found >= number).then(Instant::now)
        })
        .await
    }

    /// Runs statements in the database.
    pub(crate) async fn execute(&self, sql: String) -> Result<()> {
        self.table
            .lock()
            .await
            .execute(AssertSqlSafe(sql))
            .await
            .map(drop)
            .context("a statement of the bench")
    }
}

/// How long after.
pub(crate) fn ms_between(before: Duration, after: Duration) -> f64 {
    (after.as_secs_f64() - before.as_secs_f64()) * 1000.0
}
