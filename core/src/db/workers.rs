//! Workers as they last announced themselves, for pages and operators.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Database, DbError, JobRow,
    connection::{Tx, args},
    jobs::job_columns,
};
use crate::{
    names::WorkerName,
    protocol::{Announce, Wanted, WorkerId},
};

/// A worker.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct WorkerRow {
    /// Its name.
    pub name: String,
    /// This life of it.
    pub incarnation: String,
    /// Its machine.
    pub host: String,
    /// The pools it serves, separated by blanks.
    pub pools: String,
    /// How many tests it runs at once.
    pub slots: i64,
    /// It was told to stop.
    pub draining: bool,
    /// Why it takes no work.
    pub unable: Option<String>,
    /// The program's version.
    pub version: String,
    /// Microseconds since 1970.
    pub seen_us: i64,
    /// What an operator wants of it; see [`Wanted::from_stored`].
    pub wanted: String,
}

impl WorkerRow {
    /// True once its process has said that it ends.
    pub const fn has_left(&self) -> bool {
        self.incarnation.is_empty()
    }

    /// True where it has left, or nothing was heard of it for so long that it counts as gone.
    pub const fn is_away(&self, now_us: i64) -> bool {
        self.has_left() || self.seen_us + AWAY_US < now_us
    }
}

/// A worker announces itself again and again; one that has not for so long is gone: two minutes.
const AWAY_US: i64 = 120_000_000;

/// An attempt that a worker holds, for operators.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct HeldRow {
    /// The worker's name.
    pub worker: String,
    /// The job.
    pub job_id: i64,
    /// From 1.
    pub attempt: i64,
    /// The package.
    pub package: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// Microseconds since 1970.
    pub granted_us: i64,
}

/// A job that a worker holds, for pages.
#[derive(Debug, Clone, FromRow)]
pub struct HeldJob {
    /// The job.
    #[sqlx(flatten)]
    pub job: JobRow,
    /// The worker's name.
    pub worker: String,
    /// Microseconds since 1970.
    pub granted_us: i64,
}

/// A worker of which nothing was heard for so long, and of which nothing is wanted, is forgotten: 30 days.
const FORGOTTEN_US: i64 = 30 * 86_400_000_000;

impl Database {
    /// Writes down what a worker said.
    ///
    /// What is wanted of it stays through its restarts, but for [`Wanted::Retire`]: that was for the life that ended. One that
    /// was to retire and leaves is not known any more.
    pub async fn worker_announced(&self, epoch: i64, id: &WorkerId, said: &Announce) -> Result<(), DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        if said.leaving {
            tx.worker_left(id).await?;
            return tx.commit().await;
        }
        let now = tx.now_us().await?;
        let pools: Vec<&str> = said.pools.iter().map(AsRef::as_ref).collect();
        tx.execute(
            "INSERT INTO workers (name, incarnation, host, pools, slots, draining, unable, version, seen_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, host = excluded.host,
                pools = excluded.pools, slots = excluded.slots, draining = excluded.draining, unable = excluded.unable,
                version = excluded.version, seen_us = excluded.seen_us,
                wanted = CASE WHEN workers.wanted = 'retire' AND workers.incarnation <> excluded.incarnation THEN 'work'
                    ELSE workers.wanted END",
            args![
                id.name.as_str(),
                id.incarnation.to_string(),
                &said.host,
                pools.join(" "),
                i64::from(said.slots),
                said.draining,
                said.unable.clone(),
                &said.version,
                now,
            ],
        )
        .await?;
        tx.commit().await
    }

    /// All workers by name.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, DbError> {
        self.all(
            "SELECT name, incarnation, host, pools, slots, draining, unable, version, seen_us, wanted FROM workers
             ORDER BY name",
            vec![],
        )
        .await
    }

    /// What workers hold, oldest first.
    pub async fn held(&self) -> Result<Vec<HeldRow>, DbError> {
        self.all(
            "SELECT a.worker, a.job_id, a.attempt, j.package, j.release, j.arch, a.granted_us
             FROM attempts a JOIN jobs j ON j.id = a.job_id
             WHERE a.state IN ('running', 'publishing') ORDER BY a.granted_us",
            vec![],
        )
        .await
    }

    /// The jobs that workers hold, oldest first, at most `limit`; private ones too: the caller says none of them.
    pub async fn held_jobs(&self, limit: i64) -> Result<Vec<HeldJob>, DbError> {
        self.all(
            concat!(
                "SELECT worker, granted_us, ",
                job_columns!(),
                " FROM (SELECT job_id, worker, granted_us FROM attempts WHERE state IN ('running', 'publishing')
                    ORDER BY granted_us LIMIT $1) held JOIN jobs ON jobs.id = held.job_id ORDER BY granted_us"
            ),
            args![limit],
        )
        .await
    }

    /// The workers of which something else is wanted than work, with their last lives.
    pub async fn wanted(&self) -> Result<BTreeMap<WorkerName, (Option<Uuid>, Wanted)>, DbError> {
        let rows: Vec<(String, String, String)> =
            self.all("SELECT name, incarnation, wanted FROM workers WHERE wanted <> 'work'", vec![]).await?;
        let read = |(name, incarnation, wanted): (String, String, String)| {
            Some((name.parse().ok()?, (incarnation.parse().ok(), Wanted::from_stored(&wanted))))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Says what is wanted of a worker, unless its process was told to end already. False where that is so, or where there
    /// is none of that name.
    pub async fn want(&self, name: &WorkerName, wanted: Wanted) -> Result<bool, DbError> {
        let changed = self
            .execute(
                "UPDATE workers SET wanted = $1 WHERE name = $2 AND wanted <> 'retire'",
                args![wanted.as_str(), name.as_str()],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Forgets a worker. False where there is none of that name.
    pub async fn forget_worker(&self, name: &WorkerName) -> Result<bool, DbError> {
        Ok(self.execute("DELETE FROM workers WHERE name = $1", args![name.as_str()]).await? == 1)
    }

    /// Forgets workers that are gone for good: of fleets that grow and shrink under ever new names.
    pub async fn forget_gone_workers(&self) -> Result<(), DbError> {
        let now = self.now_us().await?;
        self.execute("DELETE FROM workers WHERE seen_us < $1 AND wanted = 'work'", args![now - FORGOTTEN_US])
            .await
            .map(drop)
    }
}

impl Tx<'_> {
    /// The row of another life under the same name is not touched.
    async fn worker_left(&mut self, id: &WorkerId) -> Result<(), DbError> {
        let who = || args![id.name.as_str(), id.incarnation.to_string()];
        self.execute("DELETE FROM workers WHERE name = $1 AND incarnation = $2 AND wanted = 'retire'", who())
            .await?;
        self.execute(
            "UPDATE workers SET incarnation = '', slots = 0 WHERE name = $1 AND incarnation = $2",
            who(),
        )
        .await
        .map(drop)
    }
}
