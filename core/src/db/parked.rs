//! Jobs that are parked: their attempts are spent, and an operator decides.

use std::str::FromStr as _;

use sqlx::FromRow;

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};
use crate::outcome::Fault;

/// A parked job, and how its last attempt ended.
#[derive(Debug, Clone, FromRow)]
pub struct ParkedRow {
    /// The job.
    #[sqlx(flatten)]
    pub job: JobRow,
    /// The fault of its last attempt; none where it was parked without one.
    pub last_fault: Option<String>,
    /// The rule of the log that matched in its last attempt.
    pub last_rule: Option<String>,
}

macro_rules! parked_columns {
    () => {
        concat!(
            job_columns!(),
            ", (SELECT a.fault FROM attempts a WHERE a.job_id = jobs.id AND a.attempt = jobs.attempts) AS last_fault,
              (SELECT a.rule FROM attempts a WHERE a.job_id = jobs.id AND a.attempt = jobs.attempts) AS last_rule"
        )
    };
}

impl ParkedRow {
    /// The reason of those that nobody can read.
    pub const UNREADABLE: &str = "unreadable";
    /// The reason of those that could not be answered without a run.
    pub const NOT_ANSWERED: &str = "not-answered";

    /// The name of the reason: the rule where one decided on the last attempt, else its fault.
    pub fn reason(&self) -> &str {
        if !self.is_readable() {
            return Self::UNREADABLE;
        }
        let fault = self.last_fault.as_deref().unwrap_or(Self::NOT_ANSWERED);
        match (Fault::from_str(fault), &self.last_rule) {
            (Ok(Fault::LogRule | Fault::BrokeTestbed), Some(rule)) => rule,
            _ => fault,
        }
    }

    /// False where another version wrote what this one cannot read: it cannot be retried.
    pub fn is_readable(&self) -> bool {
        self.job.request().is_ok() && self.job.pair().is_ok()
    }
}

/// Which parked jobs. None: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Of this release.
    pub release: Option<String>,
    /// Of this architecture.
    pub arch: Option<String>,
    /// Of this package.
    pub package: Option<String>,
    /// Whose last attempt ended with this fault, as [`Database::public_parked_faults`] names it.
    pub fault: Option<String>,
    /// With a greater number.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

impl Database {
    /// Jobs that are parked since before `cutoff_us` and may be answered, with a greater number than `after`, at most `limit`.
    pub async fn unanswered_before(
        &self,
        cutoff_us: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<JobRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state = 'parked' AND NOT unanswerable AND changed_us < $1 AND id > $2
                 ORDER BY id LIMIT $3"
            ),
            args![cutoff_us, after, limit],
        )
        .await
    }

    /// No gate is told of this parked job until an operator has it retried.
    pub async fn never_answer(&self, job: i64) -> Result<(), DbError> {
        let sql = "UPDATE jobs SET unanswerable = $1 WHERE id = $2 AND state = 'parked'";
        self.execute(sql, args![true, job]).await.map(|_| ())
    }

    /// Parked jobs with a greater number than `after`, at most `limit`.
    pub async fn parked(&self, after: i64, limit: i64) -> Result<Vec<ParkedRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                parked_columns!(),
                " FROM jobs WHERE state = 'parked' AND id > $1 ORDER BY id LIMIT $2"
            ),
            args![after, limit],
        )
        .await
    }

    /// Parked jobs that everybody may see, in the order in which they came.
    pub async fn public_parked(&self, filter: &ParkedFilter) -> Result<Vec<JobRow>, DbError> {
        let ParkedFilter { release, arch, package, fault, after, limit } = filter.clone();
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state = 'parked' AND NOT private AND id > $1 AND ($2 IS NULL OR release = $2)
                    AND ($3 IS NULL OR arch = $3) AND ($4 IS NULL OR package = $4) AND ($5 IS NULL OR $5 = coalesce(
                        (SELECT a.fault FROM attempts a WHERE a.job_id = jobs.id AND a.attempt = jobs.attempts), $6))
                  ORDER BY id LIMIT $7"
            ),
            args![after, release, arch, package, fault, ParkedRow::NOT_ANSWERED, limit],
        )
        .await
    }

    /// How many parked jobs everybody may know of.
    pub async fn public_parked_count(&self) -> Result<i64, DbError> {
        let (count,): (i64,) =
            self.one("SELECT count(*) FROM jobs WHERE state = 'parked' AND NOT private", vec![]).await?;
        Ok(count)
    }

    /// How many of them ended with each fault, the most first; the name of those without one is [`ParkedRow::NOT_ANSWERED`].
    pub async fn public_parked_faults(&self) -> Result<Vec<(String, i64)>, DbError> {
        self.all(
            "SELECT coalesce((SELECT a.fault FROM attempts a WHERE a.job_id = jobs.id AND a.attempt = jobs.attempts), $1)
                AS name, count(*) FROM jobs WHERE state = 'parked' AND NOT private GROUP BY 1 ORDER BY 2 DESC, 1",
            args![ParkedRow::NOT_ANSWERED],
        )
        .await
    }

    /// A job by its number, wherever it stands, with the end of its last attempt.
    pub async fn with_last_attempt(&self, job: i64) -> Result<Option<ParkedRow>, DbError> {
        self.optional(concat!("SELECT ", parked_columns!(), " FROM jobs WHERE id = $1"), args![job]).await
    }

    /// Has parked jobs wait again, as if they had not been tried. One that is not parked any more stays as it is.
    ///
    /// Returns those that wait now. All in one transaction: hand in a few hundred at most.
    pub async fn retry_parked(&self, jobs: &[i64]) -> Result<Vec<i64>, DbError> {
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let mut retried = Vec::with_capacity(jobs.len());
        for job in jobs {
            let done = tx
                .execute(
                    "UPDATE jobs SET state = 'waiting', tried_before = attempts, not_before_us = 0, reason = NULL,
                        changed_us = $1, unanswerable = $3 WHERE id = $2 AND state = 'parked'",
                    args![now, *job, false],
                )
                .await?;
            if done == 1 {
                retried.push(*job);
            }
        }
        tx.commit().await?;
        Ok(retried)
    }
}
