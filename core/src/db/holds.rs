//! Pauses and caps: set and taken back by operators, obeyed by the leader. Each change is in the audit log.

use serde::Serialize;
use sqlx::FromRow;

use super::{Database, DbError, LaneCount, connection::args};
use crate::queue::{Cap, CapKind, Lane, Pause, PoolRules};

/// How many jobs a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Serialize)]
pub struct Capped {
    /// Those that wait.
    pub waiting: i64,
    /// Those that run or are being published.
    pub running: i64,
}

macro_rules! counted {
    ($which:literal) => {
        concat!(
            "SELECT count(CASE WHEN state = 'waiting' THEN 1 END) AS waiting,
                count(CASE WHEN state <> 'waiting' THEN 1 END) AS running
             FROM jobs WHERE state IN ('waiting', 'running', 'publishing') AND ",
            $which
        )
    };
}

impl Database {
    /// Begins a pause, of which number and time are given here. Returns the number, that of its entry in the audit log:
    /// entries stay, so that the number of a pause that has ended never becomes another's. `held`: how many jobs wait that
    /// it holds.
    pub async fn pause(&self, pause: &Pause, what: &str, held: i64) -> Result<i64, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let id = tx.add_audit(&pause.person, "pause", what, held).await?;
        tx.execute(
            "INSERT INTO pauses (id, release, arch, context, person, reason, since_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                id,
                pause.release.clone(),
                pause.arch.clone(),
                pause.context.clone(),
                &pause.person,
                &pause.reason,
                now,
            ],
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Ends pauses. Returns those that were there. `held`: how many jobs wait that they held.
    pub async fn resume(
        &self,
        pauses: &[i64],
        person: &str,
        what: &str,
        held: i64,
    ) -> Result<Vec<i64>, DbError> {
        let mut tx = self.begin().await?;
        let mut ended = Vec::new();
        for id in pauses {
            if tx.execute("DELETE FROM pauses WHERE id = $1", args![*id]).await? == 1 {
                ended.push(*id);
            }
        }
        tx.add_audit(person, "resume", what, held).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// The jobs that a cap counts. It looks at all that wait: not for each decision.
    pub async fn capped(&self, kind: CapKind, name: &str) -> Result<Capped, DbError> {
        let (statement, values) = match kind {
            CapKind::Package => (counted!("package = $1"), args![name]),
            CapKind::Trigger => (counted!("trigger = $1"), args![name]),
            CapKind::Requester => {
                // The first of several lines.
                let statement = counted!("(requesters = $1 OR substr(requesters, 1, length($2)) = $2)");
                (statement, args![name, format!("{name}\n")])
            }
            CapKind::Pool => (counted!("state <> 'waiting' AND pool = $1"), args![name]),
        };
        self.one(statement, values).await
    }

    /// The jobs that a pool's cap counts; those that several pools may run wait in each.
    pub async fn capped_in_pool(&self, rules: &PoolRules, pool: &str) -> Result<Capped, DbError> {
        let serves = |count: &LaneCount| {
            let lane: Option<Lane> = count.lane.as_ref().and_then(|lane| lane.parse().ok());
            lane.is_some_and(|lane| rules.pools_of(&lane).iter().any(|one| one.as_str() == pool))
        };
        let waiting = self.lane_counts().await?.iter().filter(|count| serves(count)).map(|c| c.waiting).sum();
        Ok(Capped { waiting, ..self.capped(CapKind::Pool, pool).await? })
    }

    /// Sets a cap, in the place of one of the same kind and name. The time is given here.
    pub async fn set_cap(&self, cap: &Cap, what: &str) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        tx.execute(
            "INSERT INTO caps (kind, name, most, person, since_us) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (kind, name) DO UPDATE
                SET most = excluded.most, person = excluded.person, since_us = excluded.since_us",
            args![&cap.kind, &cap.name, cap.most, &cap.person, now],
        )
        .await?;
        tx.add_audit(&cap.person, "cap", what, 0).await?;
        tx.commit().await
    }

    /// Takes a cap back. False where there is none.
    pub async fn remove_cap(
        &self,
        kind: CapKind,
        name: &str,
        person: &str,
        what: &str,
    ) -> Result<bool, DbError> {
        let mut tx = self.begin().await?;
        let removed =
            tx.execute("DELETE FROM caps WHERE kind = $1 AND name = $2", args![kind.as_str(), name]).await?;
        if removed == 0 {
            return Ok(false);
        }
        tx.add_audit(person, "uncap", what, 0).await?;
        tx.commit().await?;
        Ok(true)
    }
}
