//! The outbox: what a committed decision still has to do outside. Every entry can be done twice.

use sqlx::FromRow;

use super::{
    Database, DbError, JobRow,
    connection::{Tx, args},
    jobs::job_columns,
};
use crate::outcome::Fault;

/// Longer than any pause before a result is stored.
const LONGEST_PAUSE_US: i64 = 300_000_000;

/// What an operator, and who waits for it, is told of an answer that cannot be stored.
const ANSWER_REFUSED: &str =
    "its answer could not be stored, and is not tried again until an operator has the test retried";

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

    /// True for a result without a run: no worker stored its log.
    pub const fn is_answer(&self) -> bool {
        self.log_gz.is_some()
    }

    /// Why its job is parked when the store refuses it.
    const fn refusal(&self) -> &'static str {
        if self.is_answer() { ANSWER_REFUSED } else { Fault::Store.sentence() }
    }

    /// The last part of its folder.
    fn run_id(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or_default()
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
    ///
    /// False where the entry is over: another leader is done with it, or took the result back while this one was frozen, and
    /// what this one wrote since is swept then.
    pub async fn result_stored(&self, entry: &OutboxRow) -> Result<bool, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        // The entry is locked from here on, here as where it is refused.
        let open = tx
            .execute("UPDATE outbox SET error = NULL WHERE id = $1 AND kind = 'publish'", args![entry.id])
            .await?;
        if open == 0 {
            tx.sweep_unless_stored(entry, now).await?;
            tx.commit().await?;
            return Ok(false);
        }
        tx.execute("UPDATE results SET stored = $1 WHERE job_id = $2", args![true, entry.job_id]).await?;
        tx.execute(
            "UPDATE jobs SET state = 'done', changed_us = $1 WHERE id = $2 AND state = 'storing'",
            args![now, entry.job_id],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The entry is done with. False where it was over before, or became another.
    pub async fn outbox_done(&self, entry: &OutboxRow) -> Result<bool, DbError> {
        let sql = "DELETE FROM outbox WHERE id = $1 AND kind = $2";
        Ok(self.execute(sql, args![entry.id, &entry.kind]).await? == 1)
    }

    /// The entry failed; it is due again after `pause_us`.
    pub async fn outbox_failed(
        &self,
        entry: &OutboxRow,
        tries: i64,
        error: &str,
        pause_us: i64,
    ) -> Result<(), DbError> {
        let now = self.now_us().await?;
        self.execute(
            "UPDATE outbox SET tries = $1, error = $2, not_before_us = $3 WHERE id = $4 AND kind = $5",
            args![tries, error, now + pause_us, entry.id, &entry.kind],
        )
        .await
        .map(|_| ())
    }

    /// The store refuses a result for good: it is taken back, for nobody has seen it, and its job is parked. The series is
    /// open to others then, and what lies in the run's folder is swept. An answer without a run is not tried again by itself:
    /// it would be refused again. False where it is in the store after all.
    pub async fn outbox_refused(&self, entry: &OutboxRow, error: &str) -> Result<bool, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let open = tx
            .execute(
                "UPDATE outbox SET kind = 'sweep', result_tar = NULL, log_gz = NULL, message = NULL, tries = 0,
                    not_before_us = $1 WHERE id = $2 AND kind = 'publish'",
                args![now, entry.id],
            )
            .await?;
        let parked = tx
            .execute(
                "UPDATE jobs SET state = 'parked', reason = $1, not_before_us = 0, changed_us = $2, unanswerable = $3
                 WHERE id = $4 AND state = 'storing'",
                args![entry.refusal(), now, entry.is_answer(), entry.job_id],
            )
            .await?;
        if open == 0 || parked == 0 {
            return Ok(false);
        }
        // Its row was never shown: the job's next result takes it.
        tx.execute(
            "UPDATE attempts SET state = 'ended', fault = $1, detail = $2
             WHERE job_id = $3 AND state = 'recorded'",
            args![Fault::Store.as_str(), error, entry.job_id],
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

impl Tx<'_> {
    /// Has a folder swept, unless a result that is shown lies there.
    async fn sweep_unless_stored(&mut self, entry: &OutboxRow, now: i64) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO outbox (kind, job_id, container, folder, not_before_us, tries)
             SELECT 'sweep', $1, $2, $3, $4, 0 WHERE NOT EXISTS
                (SELECT 1 FROM results r JOIN jobs j ON j.release = r.release AND j.arch = r.arch AND j.package = r.package
                 WHERE j.id = $1 AND r.container = $2 AND r.run_id = $5 AND r.stored)",
            args![entry.job_id, &entry.container, &entry.folder, now, entry.run_id()],
        )
        .await
        .map(|_| ())
    }
}
