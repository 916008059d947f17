//! Attempts: the grant, and every end but a result.

use sqlx::FromRow;

use super::{
    Database, DbError, JobRow, JobState,
    connection::{Tx, args},
    jobs::job_columns,
};
use crate::{
    layout::Series,
    names::Pool,
    outcome::Fault,
    protocol::{AttemptId, Ended, WorkerId},
    queue::ANSWERS,
};

/// A worker by name, this life of it, and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRef {
    /// Name and incarnation.
    pub id: WorkerId,
    /// The machine.
    pub host: String,
}

/// An attempt as the table has it.
#[derive(Debug, Clone, FromRow)]
pub struct AttemptRow {
    /// The job.
    pub job_id: i64,
    /// From 1.
    pub attempt: i64,
    /// The worker's name.
    pub worker: String,
    /// That life of it.
    pub incarnation: String,
    /// Its machine.
    pub host: String,
    /// Microseconds since 1970.
    pub granted_us: i64,
    /// Microseconds since 1970.
    pub absolute_end_us: i64,
    /// running, publishing, recorded, ended.
    pub state: String,
    /// Where it publishes.
    pub container: Option<String>,
    /// The run id that was granted.
    pub run_id: Option<String>,
    /// How the runner ended.
    pub exit_code: Option<i64>,
    /// What was tested.
    pub version: Option<String>,
    /// Whole seconds.
    pub duration_seconds: Option<i64>,
    /// Why it is no result.
    pub fault: Option<String>,
    /// More for operators.
    pub detail: Option<String>,
    /// The rule of the log that decided.
    pub rule: Option<String>,
    /// Microseconds since 1970.
    pub ended_us: Option<i64>,
}

macro_rules! attempt_columns {
    () => {
        "job_id, attempt, worker, incarnation, host, granted_us, absolute_end_us, state, container, run_id, exit_code, \
         version, duration_seconds, fault, detail, rule, ended_us"
    };
}
pub(crate) use attempt_columns;

impl AttemptRow {
    /// Which attempt.
    pub fn id(&self) -> AttemptId {
        AttemptId { job: self.job_id, attempt: i32::try_from(self.attempt).unwrap_or(i32::MAX) }
    }

    /// True where this life of this worker was granted it.
    pub fn is_of(&self, worker: &WorkerId) -> bool {
        self.worker == worker.name.as_str() && self.incarnation == worker.incarnation.to_string()
    }

    /// Who holds it.
    pub fn holder(&self) -> Result<WorkerRef, DbError> {
        let bad = || DbError::Value(format!("the worker of attempt {}", self.id()));
        let name = self.worker.parse().map_err(|_| bad())?;
        let incarnation = self.incarnation.parse().map_err(|_| bad())?;
        Ok(WorkerRef { id: WorkerId { name, incarnation }, host: self.host.clone() })
    }
}

/// An attempt that is not over, with its job: what a new leader inherits.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: AttemptRow,
    /// Its job.
    pub job: JobRow,
}

/// What came of an ask for an offer.
#[derive(Debug)]
pub enum GrantOutcome {
    /// Committed.
    Granted(Box<JobRow>),
    /// The job does not wait any more, or for another attempt.
    Refused,
}

impl Database {
    /// Gives an attempt to a worker in a pool, if the job still waits for just this attempt.
    pub async fn grant(
        &self,
        epoch: i64,
        id: AttemptId,
        worker: &WorkerRef,
        pool: &Pool,
        absolute_end_seconds: u64,
    ) -> Result<GrantOutcome, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let attempt = i64::from(id.attempt);
        let job: Option<JobRow> = tx
            .optional(
                concat!(
                    "UPDATE jobs SET state = 'running', attempts = $1, changed_us = $2, pool = $4
                     WHERE id = $3 AND state = 'waiting' AND attempts = $1 - 1 RETURNING ",
                    job_columns!()
                ),
                args![attempt, now, id.job, pool.as_str()],
            )
            .await?;
        let Some(job) = job else { return tx.granted_before(id, worker).await };
        let end = now.saturating_add(
            i64::try_from(absolute_end_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000),
        );
        tx.execute(
            "INSERT INTO attempts (job_id, attempt, worker, incarnation, host, epoch, granted_us, absolute_end_us, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running')",
            args![
                id.job,
                attempt,
                worker.id.name.as_str(),
                worker.id.incarnation.to_string(),
                &worker.host,
                epoch,
                now,
                end
            ],
        )
        .await?;
        tx.commit().await?;
        Ok(GrantOutcome::Granted(Box::new(job)))
    }

    /// One attempt.
    pub async fn attempt(&self, id: AttemptId) -> Result<Option<AttemptRow>, DbError> {
        self.optional(
            concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE job_id = $1 AND attempt = $2"),
            args![id.job, i64::from(id.attempt)],
        )
        .await
    }

    /// All attempts of a job, first to last.
    pub async fn attempts_of(&self, job: i64) -> Result<Vec<AttemptRow>, DbError> {
        self.all(
            concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE job_id = $1 ORDER BY attempt"),
            args![job],
        )
        .await
    }

    /// Attempts that run or publish.
    pub async fn open_attempts(&self) -> Result<Vec<OpenAttempt>, DbError> {
        let attempts: Vec<AttemptRow> = self
            .all(
                concat!(
                    "SELECT ",
                    attempt_columns!(),
                    " FROM attempts WHERE state IN ('running', 'publishing') ORDER BY job_id"
                ),
                vec![],
            )
            .await?;
        let mut open = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            let job = self.job(attempt.job_id).await?;
            let job = job.ok_or_else(|| DbError::Value(format!("attempt {} has no job", attempt.id())))?;
            open.push(OpenAttempt { attempt, job });
        }
        Ok(open)
    }

    /// Ends an attempt without a result. The job waits again after `pause_us`, or is parked; one that an operator called off
    /// meanwhile ends as by [`Database::cancel_attempt`].
    ///
    /// What it may have uploaded is deleted through the outbox. False where the attempt was over already.
    pub async fn end_attempt(
        &self,
        epoch: i64,
        id: AttemptId,
        fault: Fault,
        ended: Option<&Ended>,
        detail: &str,
        pause_us: Option<i64>,
    ) -> Result<bool, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let row: Option<AttemptRow> = tx
            .optional(
                concat!(
                    "UPDATE attempts SET state = 'ended', fault = $1, detail = $2, ended_us = $3,
                        exit_code = coalesce($4, exit_code), version = coalesce($5, version),
                        duration_seconds = coalesce($6, duration_seconds), rule = coalesce($7, rule)
                     WHERE job_id = $8 AND attempt = $9 AND state IN ('running', 'publishing') RETURNING ",
                    attempt_columns!()
                ),
                args![
                    fault.as_str(),
                    detail,
                    now,
                    ended.map(|e| i64::from(e.exit_code.0)),
                    ended.and_then(|e| e.version.clone()),
                    ended.map(|e| e.duration_seconds),
                    ended.and_then(|e| e.rule.as_ref()).map(|rule| rule.name.clone()),
                    id.job,
                    i64::from(id.attempt)
                ],
            )
            .await?;
        let Some(row) = row else { return Ok(false) };
        let (state, not_before) = match pause_us {
            Some(pause) => (JobState::Waiting, now.saturating_add(pause)),
            None => (JobState::Parked, 0),
        };
        tx.execute(
            "UPDATE jobs SET
                state = CASE WHEN cancel IS NULL THEN $1 WHEN answer_code IS NULL THEN 'cancelled' ELSE 'waiting' END,
                lane = CASE WHEN cancel IS NULL THEN lane ELSE $6 END, reason = coalesce(cancel, $2),
                not_before_us = $3, changed_us = $4 WHERE id = $5",
            args![state.as_str(), fault.sentence(), not_before, now, id.job, ANSWERS],
        )
        .await?;
        tx.sweep_uploads(&row, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Database {
    /// Ends a running attempt because an operator called its job off: that is cancelled, or, where its gate is to have an
    /// answer, waits for that. False where it does not run any more, or has begun to be published.
    pub async fn cancel_attempt(&self, epoch: i64, id: AttemptId, reason: &str) -> Result<bool, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let ended = tx
            .execute(
                "UPDATE attempts SET state = 'ended', detail = $1, ended_us = $2
                 WHERE job_id = $3 AND attempt = $4 AND state = 'running'",
                args![reason, now, id.job, i64::from(id.attempt)],
            )
            .await?;
        if ended == 0 {
            return Ok(false);
        }
        tx.execute(
            "UPDATE jobs SET state = CASE WHEN answer_code IS NULL THEN 'cancelled' ELSE 'waiting' END, lane = $1,
                reason = $2, not_before_us = 0, changed_us = $3 WHERE id = $4",
            args![ANSWERS, reason, now, id.job],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx<'_> {
    /// A commit whose answer was lost counts: the same attempt of the same worker gets the same answer.
    async fn granted_before(&mut self, id: AttemptId, worker: &WorkerRef) -> Result<GrantOutcome, DbError> {
        let row: Option<AttemptRow> = self
            .optional(
                concat!(
                    "SELECT ",
                    attempt_columns!(),
                    " FROM attempts WHERE job_id = $1 AND attempt = $2 AND state = 'running'"
                ),
                args![id.job, i64::from(id.attempt)],
            )
            .await?;
        if !row.is_some_and(|row| row.is_of(&worker.id)) {
            return Ok(GrantOutcome::Refused);
        }
        let job = self.job(id.job).await?;
        Ok(job.map_or(GrantOutcome::Refused, |job| GrantOutcome::Granted(Box::new(job))))
    }

    /// Deletes what an attempt uploaded under its run id: now, and once more when a cut-off worker has surely stopped.
    async fn sweep_uploads(&mut self, attempt: &AttemptRow, now: i64) -> Result<(), DbError> {
        const LATER_US: i64 = 3_600_000_000;
        let (Some(container), Some(run_id)) = (&attempt.container, &attempt.run_id) else { return Ok(()) };
        let job: Option<JobRow> = self
            .optional(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1"), args![attempt.job_id])
            .await?;
        let Some(job) = job else { return Ok(()) };
        let series = series_of(&job, container)?;
        let run_id = run_id.parse().map_err(|e: crate::names::BadName| DbError::Value(e.to_string()))?;
        for due in [now, now + LATER_US] {
            self.execute(
                "INSERT INTO outbox (kind, job_id, container, folder, not_before_us, tries)
                 VALUES ('sweep', $1, $2, $3, $4, 0)",
                args![attempt.job_id, container.as_str(), series.folder(&run_id), due],
            )
            .await?;
        }
        Ok(())
    }
}

/// The series of a job in a container.
pub(crate) fn series_of(job: &JobRow, container: &str) -> Result<Series, DbError> {
    let bad = |e: crate::names::BadName| DbError::Value(e.to_string());
    Ok(Series {
        container: container.parse().map_err(bad)?,
        pair: job.pair()?,
        package: job.package.parse().map_err(bad)?,
    })
}
