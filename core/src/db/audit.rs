//! What operators did: who, what, to how many jobs.

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError,
    connection::{Tx, args},
};

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// Microseconds since 1970.
    pub at_us: i64,
    /// Who.
    pub person: String,
    /// The command's name.
    pub action: String,
    /// To what, as a JSON object: what the operator typed.
    pub what: String,
    /// How many jobs were changed, or are held back.
    pub jobs: i64,
}

impl Database {
    /// Begins an entry, before anything is changed; what is done under its number is counted in it.
    pub async fn begin_audit(&self, person: &str, action: &str, what: &str) -> Result<i64, DbError> {
        let mut tx = self.begin().await?;
        let id = tx.add_audit(person, action, what, 0).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Entries with a greater number than `after`, not older than `since_us`, oldest first, at most `limit`.
    pub async fn audit(
        &self,
        after: i64,
        since_us: i64,
        person: Option<&str>,
        limit: i64,
    ) -> Result<Vec<AuditRow>, DbError> {
        self.all(
            "SELECT id, at_us, person, action, what, jobs FROM audit
             WHERE id > $1 AND at_us >= $2 AND ($3 IS NULL OR person = $3) ORDER BY id LIMIT $4",
            args![after, since_us, person, limit],
        )
        .await
    }
}

impl Tx<'_> {
    pub(super) async fn add_audit(
        &mut self,
        person: &str,
        action: &str,
        what: &str,
        jobs: i64,
    ) -> Result<i64, DbError> {
        let now = self.now_us().await?;
        let row: Option<(i64,)> = self
            .optional(
                "INSERT INTO audit (at_us, person, action, what, jobs) VALUES ($1, $2, $3, $4, $5) RETURNING id",
                args![now, person, action, what, jobs],
            )
            .await?;
        row.map(|(id,)| id).ok_or_else(|| DbError::Value("no id returned".to_owned()))
    }

    /// Counts what was changed in the same transaction.
    pub(super) async fn count_in_audit(&mut self, audit: i64, changed: usize) -> Result<(), DbError> {
        let changed = i64::try_from(changed).unwrap_or(i64::MAX);
        self.execute("UPDATE audit SET jobs = jobs + $1 WHERE id = $2", args![changed, audit])
            .await
            .map(|_| ())
    }
}
