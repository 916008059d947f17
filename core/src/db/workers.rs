//! Workers as they last announced themselves, for pages and operators.

use serde::Serialize;
use sqlx::FromRow;

use super::{Database, DbError, connection::args};
use crate::protocol::{Announce, WorkerId};

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
}

impl Database {
    /// Writes down what a worker said.
    pub async fn worker_announced(&self, id: &WorkerId, said: &Announce) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let pools: Vec<&str> = said.pools.iter().map(AsRef::as_ref).collect();
        tx.execute(
            "INSERT INTO workers (name, incarnation, host, pools, slots, draining, unable, version, seen_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, host = excluded.host,
                pools = excluded.pools, slots = excluded.slots, draining = excluded.draining, unable = excluded.unable,
                version = excluded.version, seen_us = excluded.seen_us",
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
            "SELECT name, incarnation, host, pools, slots, draining, unable, version, seen_us FROM workers ORDER BY name",
            vec![],
        )
        .await
    }
}
