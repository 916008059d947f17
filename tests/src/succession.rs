//! Two dispatchers under load: the one that leads dies, stops, hangs, or loses its database; the other takes over. The count
//! stays exact, and no leader's end keeps work waiting for long.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use sqlx::PgConnection;

use crate::{
    cluster::{Cluster, PATIENCE, Results},
    proofhouse::Proofhouse,
    proxy::TcpProxy,
    shared,
    storm::{Order, all_done, check, connect},
    stream::Stream,
    wait::wait_for,
};

/// Longer than a leadership.
const LEASE_SECONDS: u64 = 6;

/// How often each end comes, and how long a hanging leader hangs.
#[derive(Debug, Clone, Copy)]
pub struct Succession {
    /// Each kind of end comes so often.
    pub rounds: usize,
    /// Longer than a leadership and a lease.
    pub freeze: Duration,
    /// Nothing may wait for so long only because nobody leads. None where other tests slow the machine down: there it is said
    /// alone.
    pub gap: Option<Duration>,
}

/// How a leadership ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
    Frozen,
    CutOff,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped by SIGTERM",
            Self::Frozen => "frozen in a transaction",
            Self::CutOff => "cut off from the database",
        })
    }
}

/// A dispatcher with a proxy before its database.
struct Dispatcher {
    process: Proofhouse,
    link: TcpProxy,
}

struct Parts {
    cluster: Cluster,
    database: PgConnection,
    dispatchers: [Dispatcher; 2],
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leader {
    place: usize,
    epoch: i64,
}

impl Succession {
    /// Has leaders end, and checks what is left.
    ///
    /// # Errors
    /// The gap was too long, a request was lost or ran twice, or the standby was not ready.
    pub async fn run(self) -> Result<()> {
        let mut parts = Parts::start().await?;
        let worker = |name| parts.cluster.worker(name).arg("--slots", "4");
        let _workers = (worker("one").start().await?, worker("two").start().await?);
        let Results::Folder(store) = &parts.cluster.results else { bail!("a folder") };
        let (store, order) = (store.clone(), Order::default());
        parts.standby_is_ready().await?;
        let stream =
            Stream::start(&parts.cluster.bus_of("gate"), 40, Duration::from_millis(220), &["LAST=1"]).await?;
        let requests = tokio::select! {
            done = self.work(&mut parts, stream) => done?,
            never = order.watch(&store) => never,
        };
        check(requests, &parts.cluster, &store, &order).await?;
        parts.each_ran_once(requests, self.gap).await
    }

    async fn work(self, parts: &mut Parts, stream: Stream) -> Result<usize> {
        for round in 1..=self.rounds {
            for end in [End::Killed, End::Frozen, End::Stopped, End::CutOff] {
                let gap =
                    parts.end(end, self.freeze).await.with_context(|| format!("{end}, round {round}"))?;
                println!("leader {end}: the next grant came after {:.1} s", gap.as_secs_f64());
                ensure!(self.gap.is_none_or(|most| gap < most), "{end}: {gap:?} without a grant");
            }
        }
        let requests = stream.end().await?;
        let cluster = &parts.cluster;
        wait_for("every request's end", PATIENCE * 2, async || all_done(requests, cluster).await.ok())
            .await?;
        Ok(requests)
    }
}

impl Parts {
    async fn start() -> Result<Self> {
        let cluster = Cluster::on_folder().await?;
        let dispatchers = [Dispatcher::start(&cluster).await?, Dispatcher::start(&cluster).await?];
        let database = connect(&cluster.database).await?;
        Ok(Self { cluster, database, dispatchers })
    }

    /// Who leads now; none while nobody does, or one that was here before.
    async fn leader(&mut self) -> Result<Option<Leader>> {
        let (holder, epoch): (String, i64) =
            sqlx::query_as("SELECT holder, epoch FROM leadership").fetch_one(&mut self.database).await?;
        for (place, dispatcher) in self.dispatchers.iter().enumerate() {
            if holder.ends_with(&format!(":{}", dispatcher.process.process().pid()?)) {
                return Ok(Some(Leader { place, epoch }));
            }
        }
        Ok(None)
    }

    /// Waits for a grant of an epoch behind this one; microseconds since 1970.
    async fn granted_after(&mut self, epoch: i64) -> Result<i64> {
        wait_for("a grant of the next leader", PATIENCE, async || {
            let sql = "SELECT min(granted_us) FROM attempts WHERE epoch > $1";
            let first = sqlx::query_scalar(sql).bind(epoch).fetch_one(&mut self.database).await;
            first.ok().flatten()
        })
        .await
    }

    /// Ends the leadership, waits for the next one's first grant, and has the fallen one come back. Returns the time without.
    async fn end(&mut self, end: End, freeze: Duration) -> Result<Duration> {
        let leader = wait_for("a leader", PATIENCE, async || self.leader().await.ok().flatten()).await?;
        self.granted_after(leader.epoch - 1).await?;
        let begin = self.strike(end, leader.place).await?;
        let granted = self.granted_after(leader.epoch).await?;
        let gap = Duration::from_micros(u64::try_from(granted - begin).unwrap_or(0));
        self.recover(end, leader, begin, freeze).await?;
        Ok(gap)
    }

    /// Returns when that was: microseconds since 1970.
    async fn strike(&mut self, end: End, place: usize) -> Result<i64> {
        if end == End::Frozen {
            self.freeze_in_a_transaction(place).await?;
            return now_us();
        }
        let Dispatcher { process, link } = &self.dispatchers[place];
        let begin = now_us()?;
        match end {
            End::Killed => process.kill9().await?,
            End::Stopped => process.sigterm()?,
            End::CutOff => {
                link.refuse().await?;
                link.cut();
            }
            End::Frozen => {}
        }
        Ok(begin)
    }

    /// Stops a process at the worst moment: it holds the lock of the leadership.
    async fn freeze_in_a_transaction(&mut self, place: usize) -> Result<()> {
        wait_for("the leader to be in a transaction", PATIENCE, async || {
            let process = self.dispatchers[place].process.process().clone();
            process.signal(Signal::SIGSTOP).ok()?;
            // Another's transaction is over when it is looked for again.
            let first = self.open_transaction().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if first.is_some() && self.open_transaction().await? == first {
                return Some(());
            }
            process.signal(Signal::SIGCONT).ok()?;
            tokio::time::sleep(Duration::from_millis(3)).await;
            None
        })
        .await
    }

    /// The inner option: a transaction that waits for its client.
    async fn open_transaction(&mut self) -> Option<Option<(i32, String)>> {
        let sql = "SELECT pid, xact_start::text FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'idle in transaction' ORDER BY xact_start LIMIT 1";
        sqlx::query_as(sql).fetch_optional(&mut self.database).await.ok()
    }

    async fn recover(&mut self, end: End, fallen: Leader, begin: i64, freeze: Duration) -> Result<()> {
        let Dispatcher { process, link } = &mut self.dispatchers[fallen.place];
        match end {
            End::Killed => process.start_again().await?,
            End::Stopped => {
                ensure!(process.wait(PATIENCE).await?.success(), "it was asked to stop");
                process.start_again().await?;
            }
            End::Frozen => {
                let frozen = Duration::from_micros(u64::try_from(now_us()? - begin)?);
                tokio::time::sleep(freeze.saturating_sub(frozen)).await;
                process.process().signal(Signal::SIGCONT)?;
            }
            End::CutOff => {}
        }
        if matches!(end, End::Frozen | End::CutOff) {
            let line = format!("no longer leading (epoch {})", fallen.epoch);
            wait_for(&line, PATIENCE, async || process.log().contains(&line).then_some(())).await?;
        }
        link.restore().await?;
        process.becomes_ready().await
    }

    /// One leads and one waits; both are healthy and ready, and only one consumes.
    async fn standby_is_ready(&mut self) -> Result<()> {
        let leader = wait_for("a leader", PATIENCE, async || self.leader().await.ok().flatten()).await?;
        for (place, Dispatcher { process, .. }) in self.dispatchers.iter().enumerate() {
            process.becomes_ready().await?;
            let leads = format!("proofhouse_leader {}", u8::from(place == leader.place));
            ensure!(process.metrics().await?.lines().any(|line| line == leads), "{leads}");
        }
        let vhost = self.cluster.bus.rsplit('/').next().context("a vhost")?;
        let listed = shared::rabbit().await?.ctl(&["list_queues", "-p", vhost, "name", "consumers"]).await?;
        for queue in ["debci-noble-amd64", "proofhouse.asks", "proofhouse.renewals"] {
            ensure!(listed.lines().any(|line| line == format!("{queue}\t1")), "{listed}");
        }
        Ok(())
    }

    /// No worker died: each request was granted once, started once, and work never waited long for a leader.
    async fn each_ran_once(mut self, requests: usize, gap: Option<Duration>) -> Result<()> {
        let starts = self.cluster.starts().len();
        let (attempts, last): (i64, i64) = sqlx::query_as("SELECT count(*), max(attempt) FROM attempts")
            .fetch_one(&mut self.database)
            .await?;
        ensure!(
            (starts, usize::try_from(attempts)?, last) == (requests, requests, 1),
            "{requests} requests, {starts} starts, {attempts} attempts, the greatest is {last}"
        );
        // Between two grants, from when something waited on.
        let sql = "SELECT max(granted_us - greatest(before_us, waits_since_us)) FROM (
                SELECT a.granted_us, lag(a.granted_us) OVER (ORDER BY a.granted_us) AS before_us,
                    min(j.received_us) OVER (ORDER BY a.granted_us ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS waits_since_us
                FROM attempts a JOIN jobs j ON j.id = a.job_id) AS grants WHERE before_us IS NOT NULL";
        let longest: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.database).await?;
        let longest = Duration::from_micros(u64::try_from(longest)?);
        println!("the longest time without a grant while something waited: {:.1} s", longest.as_secs_f64());
        ensure!(gap.is_none_or(|most| longest < most), "{longest:?} without a grant");
        Ok(())
    }
}

impl Dispatcher {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let server = SocketAddr::from(([127, 0, 0, 1], shared::postgres().await?.port()));
        let link = TcpProxy::start(server).await?;
        let role = cluster.dispatcher().arg("--database", link.before(&cluster.database_of("dispatcher"))?);
        let process = role.arg("--lease-seconds", LEASE_SECONDS.to_string()).start().await?;
        Ok(Self { process, link })
    }
}

fn now_us() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?)
}
