//! The outbox: what a committed decision still has to do outside. Every entry can be done twice.

use sqlx::FromRow;

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};
use crate::outcome::Fault;

/// Longer than any pause before a result is stored.
const LONGEST_PAUSE_US: i64 = 300_000_000;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxKind {
    /// Store `log.gz` (where no worker did) and `result.tar`, show the result, send `testcomplete`.
    Publish,
    /// Delete what lies in a folder.
    Sweep,
}

/// An entry.
#[derive(Clone, FromRow)]
pub struct OutboxRow {
    /// Its number.
    pub id: i64,
    /// See [`OutboxRow::kind`].
    kind: String,
    /// The job.
    pub job_id: i64,
    /// The container.
    pub container: String,
    /// Who may read a private container.
    pub reader: Option<String>,
    /// `{release}/{arch}/{prefix}/{package}/{run_id}`.
    pub folder: String,
    /// The bytes of `result.tar`.
    pub result_tar: Option<Vec<u8>>,
    /// The bytes of `log.gz`, where no worker uploads it.
    pub log_gz: Option<Vec<u8>>,
    /// `testcomplete`'s body.
    pub message: Option<String>,
    /// How often it was tried.
    pub tries: i64,
}

impl OutboxRow {
    /// What is to be done.
    pub fn kind(&self) -> OutboxKind {
        if self.kind == "publish" { OutboxKind::Publish } else { OutboxKind::Sweep }
    }
}

impl Database {
    /// Entries that are due, oldest first, at most `limit`.
    ///
    /// A result that is to be stored far ahead counts as due: the clock was wrong when that was written.
    pub async fn outbox_due(&self, limit: i64) -> Result<Vec<OutboxRow>, DbError> {
        let now = self.now_us().await?;
        self.all(
            "SELECT id, kind, job_id, container, reader, folder, result_tar, log_gz, message, tries FROM outbox
             WHERE not_before_us <= $1 OR (kind = 'publish' AND not_before_us > $3) ORDER BY not_before_us, id LIMIT $2",
            args![now, limit, now + LONGEST_PAUSE_US],
        )
        .await
    }

    /// Jobs whose `result.tar` is recorded but not stored: their series are not open to others.
    pub async fn storing(&self) -> Result<Vec<JobRow>, DbError> {
        self.all(concat!("SELECT ", job_columns!(), " FROM jobs WHERE state = 'storing' ORDER BY id"), vec![])
            .await
    }

    /// `result.tar` is in the store: the result may be shown.
    pub async fn result_stored(&self, job: i64) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        tx.execute("UPDATE results SET stored = $1 WHERE job_id = $2", args![true, job]).await?;
        tx.execute(
            "UPDATE jobs SET state = 'done', changed_us = $1 WHERE id = $2 AND state = 'storing'",
            args![now, job],
        )
        .await?;
        tx.commit().await
    }

    /// The entry is done with.
    pub async fn outbox_done(&self, id: i64) -> Result<(), DbError> {
        self.execute("DELETE FROM outbox WHERE id = $1", args![id]).await.map(|_| ())
    }

    /// The entry failed; it is due again after `pause_us`.
    pub async fn outbox_failed(
        &self,
        id: i64,
        tries: i64,
        error: &str,
        pause_us: i64,
    ) -> Result<(), DbError> {
        let now = self.now_us().await?;
        self.execute(
            "UPDATE outbox SET tries = $1, error = $2, not_before_us = $3 WHERE id = $4",
            args![tries, error, now + pause_us, id],
        )
        .await
        .map(|_| ())
    }

    /// The store refuses a result for good: it is taken back, for nobody has seen it, and its job is parked. The series is
    /// open to others then, and what lies in the run's folder is swept. False where it is in the store after all.
    pub async fn outbox_refused(&self, entry: &OutboxRow, error: &str) -> Result<bool, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let parked = tx
            .execute(
                "UPDATE jobs SET state = 'parked', reason = $1, not_before_us = 0, changed_us = $2
                 WHERE id = $3 AND state = 'storing'",
                args![Fault::Store.sentence(), now, entry.job_id],
            )
            .await?;
        if parked == 0 {
            return Ok(false);
        }
        // Its row was never shown, and never will be.
        tx.execute("UPDATE results SET job_id = NULL WHERE job_id = $1 AND NOT stored", args![entry.job_id])
            .await?;
        tx.execute(
            "UPDATE attempts SET state = 'ended', fault = $1, detail = $2
             WHERE job_id = $3 AND state = 'recorded'",
            args![Fault::Store.as_str(), error, entry.job_id],
        )
        .await?;
        tx.execute(
            "UPDATE outbox SET kind = 'sweep', result_tar = NULL, log_gz = NULL, message = NULL, tries = 0,
                not_before_us = $1 WHERE id = $2",
            args![now, entry.id],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How many entries there are, and how many of them failed before.
    pub async fn outbox_length(&self) -> Result<(i64, i64), DbError> {
        self.one(
            "SELECT count(*), coalesce(sum(CASE WHEN tries > 0 THEN 1 ELSE 0 END), 0) FROM outbox",
            vec![],
        )
        .await
    }
}
