//! Editions of the published database: which results it holds at which number.
//!
//! A result gets its edition once it is stored, whatever its id, its run id or the time at which it came: none is missed
//! because another was quicker. An edition is thereby a fact of the job table: whoever writes edition `n`, from whichever
//! older edition, writes the same results.

use sqlx::FromRow;

use super::{Database, DbError, connection::args};

/// What the published database says of a result (contract "The published database").
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PublishedRow {
    /// The edition that it came with.
    pub edition: i64,
    /// Its number, for paging.
    pub id: i64,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// The run id.
    pub run_id: String,
    /// What was tested; never empty.
    pub version: String,
    /// Separated by blanks; never empty.
    pub triggers: String,
    /// Whole seconds.
    pub duration_seconds: i64,
    /// autopkgtest's exit code, or ours.
    pub exit_code: i64,
    /// Who asked; empty where nobody did.
    pub requester: String,
    /// `all-proposed=1,testname=x`; empty where nothing sets the run apart.
    pub env: String,
}

impl Database {
    /// The name of this job table among all: `fresh` becomes it where it has none.
    pub async fn lineage(&self, fresh: &str) -> Result<String, DbError> {
        self.execute(
            "INSERT INTO published (id, lineage) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
            args![fresh],
        )
        .await?;
        let (lineage,): (String,) = self.one("SELECT lineage FROM published WHERE id = 1", vec![]).await?;
        Ok(lineage)
    }

    /// Gives the next edition to at most `limit` stored results that have none, and says to how many.
    ///
    /// Only the leader does, and one at a time: else one number could be given twice, and a reader of the first would miss the
    /// second.
    pub async fn next_edition(&self, epoch: i64, limit: i64) -> Result<u64, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let found: Option<(i64,)> =
            tx.optional("SELECT id FROM results WHERE stored AND edition IS NULL LIMIT 1", vec![]).await?;
        if found.is_none() {
            return Ok(0);
        }
        tx.lock_summaries().await?;
        let given = tx
            .execute(
                "UPDATE results SET edition = (SELECT coalesce(max(edition), 0) + 1 FROM results WHERE edition IS NOT NULL)
                 WHERE id IN (SELECT id FROM results WHERE stored AND edition IS NULL ORDER BY id LIMIT $1)",
                args![limit],
            )
            .await?;
        tx.commit().await?;
        Ok(given)
    }

    /// The last edition that was given; 0 before the first.
    pub async fn last_edition(&self) -> Result<i64, DbError> {
        let (last,): (i64,) = self
            .one("SELECT coalesce(max(edition), 0) FROM results WHERE edition IS NOT NULL", vec![])
            .await?;
        Ok(last)
    }

    /// Public results of distribution runs with triggers and a version, by edition and number, behind `after` (both) up to
    /// `last` (inclusive), whose run id is at least `from`.
    pub async fn published_rows(
        &self,
        after: (i64, i64),
        last: i64,
        from: &str,
        limit: i64,
    ) -> Result<Vec<PublishedRow>, DbError> {
        self.all(
            "SELECT edition, id, release, arch, package, run_id, version, triggers, duration_seconds, exit_code,
                coalesce(requester, '') AS requester, coalesce(env, '') AS env FROM results
             WHERE edition IS NOT NULL AND (edition, id) > ($1, $2) AND edition <= $3 AND run_id >= $4
                AND NOT private AND container = 'autopkgtest-' || release AND triggers <> '' AND version <> ''
             ORDER BY edition, id LIMIT $5",
            args![after.0, after.1, last, from, limit],
        )
        .await
    }
}
