//! Pauses and caps: set and taken back by operators, obeyed by the leader. Each change is in the audit log.

use super::{Database, DbError, connection::args};
use crate::queue::{Cap, CapKind, Pause};

impl Database {
    /// Begins a pause, of which number and time are given here. Returns the number. `held`: how many jobs wait that it holds.
    pub async fn pause(&self, pause: &Pause, what: &str, held: i64) -> Result<i64, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let row: Option<(i64,)> = tx
            .optional(
                "INSERT INTO pauses (release, arch, context, person, reason, since_us)
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                args![
                    pause.release.clone(),
                    pause.arch.clone(),
                    pause.context.clone(),
                    &pause.person,
                    &pause.reason,
                    now,
                ],
            )
            .await?;
        let (id,) = row.ok_or_else(|| DbError::Value("no id returned".to_owned()))?;
        tx.add_audit(&pause.person, "pause", what, held).await?;
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
