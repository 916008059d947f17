//! Publication: the run id, and the transaction that records a result.

use super::{
    AttemptRow, Database, DbError, JobRow, JobState,
    attempts::attempt_columns,
    connection::{Tx, args},
    jobs::job_columns,
};
use crate::{
    layout::Series,
    names::BadName,
    outcome::{ExitCode, decided_by},
    params::Trigger,
    protocol::{AttemptId, Ended},
    request::Request,
    run_id::RunId,
};

/// A publication that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where.
    pub series: Series,
    /// Under which id.
    pub run_id: RunId,
    /// What the result says.
    pub exit_code: ExitCode,
    /// The rule of the log that decided, if any did.
    pub rule: Option<String>,
}

impl Publication {
    /// Of an attempt that is being published; none of any other.
    pub fn of(attempt: &AttemptRow, series: Series) -> Result<Option<Self>, DbError> {
        let Some(run_id) = &attempt.run_id else { return Ok(None) };
        let run_id = run_id.parse().map_err(|e: BadName| DbError::Value(e.to_string()))?;
        let code = attempt.exit_code.and_then(|code| i32::try_from(code).ok());
        let exit_code = code.map_or(ExitCode::UNEXPECTED, ExitCode);
        Ok(Some(Self { series, run_id, exit_code, rule: attempt.rule.clone() }))
    }
}

/// What came of an ask to publish.
#[derive(Debug)]
pub enum PublishOutcome {
    /// Granted and committed.
    Granted(Publication),
    /// Another publication of the series is open.
    Wait,
    /// The attempt is over.
    Over,
}

/// What came of a result without a run.
#[derive(Debug, PartialEq, Eq)]
pub enum SyntheticOutcome {
    /// Recorded under this id.
    Recorded(RunId),
    /// A publication of the series is open.
    Wait,
    /// The job does not stand any more where it stood.
    Over,
}

/// What is recorded of a completed run.
#[derive(Debug, Clone)]
pub struct Completed {
    /// Which attempt.
    pub id: AttemptId,
    /// The id that was granted.
    pub run_id: RunId,
    /// The bytes of `result.tar`.
    pub result_tar: Vec<u8>,
}

/// A result without a run: a list says so, the pair is switched off, or a bad request is answered.
#[derive(Debug, Clone)]
pub struct SyntheticResult {
    /// The job.
    pub job: i64,
    /// The exit code.
    pub exit_code: i32,
    /// What gates read as the version.
    pub version: String,
    /// What decided on it.
    pub rule: &'static str,
    /// Where the job stood when that was decided; it must stand there still.
    pub from: JobState,
}

impl Database {
    /// Grants a run id, greater than every earlier one of its series.
    pub async fn open_publication(
        &self,
        epoch: i64,
        ended: &Ended,
        series: &Series,
    ) -> Result<PublishOutcome, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let id = ended.id;
        let open: Option<AttemptRow> = tx
            .optional(
                concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE job_id = $1 AND attempt = $2"),
                args![id.job, i64::from(id.attempt)],
            )
            .await?;
        let (Some(open), Some(job)) = (open, tx.job(id.job).await?) else { return Ok(PublishOutcome::Over) };
        match open.state.as_str() {
            "running" => {}
            // A commit whose answer was lost.
            "publishing" => {
                let publication = Publication::of(&open, series.clone())?;
                return Ok(publication.map_or(PublishOutcome::Over, PublishOutcome::Granted));
            }
            _ => return Ok(PublishOutcome::Over),
        }
        let Some(run_id) = tx.next_run_id(&job, series, now).await? else { return Ok(PublishOutcome::Wait) };
        tx.execute(
            "UPDATE attempts SET state = 'publishing', container = $1, run_id = $2, exit_code = $3, version = $4,
                duration_seconds = $5, detail = $6, rule = $7 WHERE job_id = $8 AND attempt = $9",
            args![
                series.container.as_str(),
                run_id.as_str(),
                i64::from(ended.exit_code.0),
                ended.version.clone(),
                ended.duration_seconds,
                &ended.detail,
                ended.rule.as_ref().map(|rule| rule.name.clone()),
                id.job,
                i64::from(id.attempt)
            ],
        )
        .await?;
        tx.execute("UPDATE jobs SET state = 'publishing', changed_us = $1 WHERE id = $2", args![now, id.job])
            .await?;
        tx.commit().await?;
        Ok(PublishOutcome::Granted(Publication {
            series: series.clone(),
            run_id,
            exit_code: ended.exit_code,
            rule: ended.rule.as_ref().map(|rule| rule.name.clone()),
        }))
    }

    /// Records a result and what is still to be done outside. False where the attempt is not publishing under that id.
    pub async fn complete(&self, epoch: i64, done: Completed) -> Result<bool, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let row: Option<AttemptRow> = tx
            .optional(
                concat!(
                    "UPDATE attempts SET state = 'recorded', ended_us = $1
                     WHERE job_id = $2 AND attempt = $3 AND state = 'publishing' AND run_id = $4 RETURNING ",
                    attempt_columns!()
                ),
                args![now, done.id.job, i64::from(done.id.attempt), done.run_id.as_str()],
            )
            .await?;
        let (Some(row), Some(job)) = (row, tx.job(done.id.job).await?) else {
            return tx.completed_before(&done).await;
        };
        let series = super::attempts::series_of(&job, row.container.as_deref().unwrap_or_default())?;
        let version = row.version.as_deref().and_then(|v| v.split_once(' ')).map_or("unknown", |(_, v)| v);
        let result = Recorded {
            job,
            series,
            run_id: done.run_id,
            exit_code: row.exit_code.unwrap_or_else(|| ExitCode::UNEXPECTED.0.into()),
            version: version.to_owned(),
            duration: row.duration_seconds.unwrap_or_default(),
            rule: row.rule.unwrap_or_else(|| decided_by::EXIT_CODE.to_owned()),
        };
        tx.record(now, &result, done.result_tar, None).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records a result where no worker is involved; `files` makes `result.tar` and `log.gz` for the run id.
    pub async fn record_synthetic(
        &self,
        epoch: i64,
        synthetic: &SyntheticResult,
        series: &Series,
        result_tar: Vec<u8>,
        log_gz: Vec<u8>,
    ) -> Result<SyntheticOutcome, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        // The row is locked from here on: an operator may have it retried in this very moment.
        let job: Option<JobRow> = tx
            .optional(
                concat!(
                    "UPDATE jobs SET changed_us = $1 WHERE id = $2 AND state = $3 RETURNING ",
                    job_columns!()
                ),
                args![now, synthetic.job, synthetic.from.as_str()],
            )
            .await?;
        let Some(job) = job else { return Ok(SyntheticOutcome::Over) };
        let Some(run_id) = tx.next_run_id(&job, series, now).await? else {
            return Ok(SyntheticOutcome::Wait);
        };
        let result = Recorded {
            job,
            series: series.clone(),
            run_id: run_id.clone(),
            exit_code: i64::from(synthetic.exit_code),
            version: synthetic.version.clone(),
            duration: 0,
            rule: synthetic.rule.to_owned(),
        };
        tx.record(now, &result, result_tar, Some(log_gz)).await?;
        tx.commit().await?;
        Ok(SyntheticOutcome::Recorded(run_id))
    }
}

struct Recorded {
    job: JobRow,
    series: Series,
    run_id: RunId,
    exit_code: i64,
    version: String,
    duration: i64,
    rule: String,
}

impl Recorded {
    /// `testcomplete`'s body (contract "Completion message"); none for a private run.
    fn message(&self, request: &Request) -> Option<String> {
        if self.job.private {
            return None;
        }
        let message = serde_json::json!({
            "architecture": self.job.arch,
            "container": self.series.container,
            "duration": self.duration,
            "exitcode": self.exit_code,
            "package": self.job.package,
            // Bare: readers put it into their database as it is.
            "testpkg_version": self.version,
            "release": self.job.release,
            "requester": self.job.requesters.lines().next().unwrap_or_default(),
            "swift_dir": self.series.folder(&self.run_id),
            "triggers": triggers(request),
            "env": env(request),
            "uuid": self.job.uuid,
        });
        Some(message.to_string())
    }
}

/// `a/1 b/2`, or none.
fn triggers(request: &Request) -> Option<String> {
    let all: Vec<String> = request.triggers.iter().map(Trigger::to_string).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// `all-proposed=1,testname=x`: what sets a run apart from one of the same triggers.
fn env(request: &Request) -> String {
    let all_proposed = request.all_proposed.then(|| "all-proposed=1".to_owned());
    let testname = request.testname.as_ref().map(|t| format!("testname={t}"));
    all_proposed.into_iter().chain(testname).collect::<Vec<_>>().join(",")
}

impl Tx<'_> {
    pub(crate) async fn job(&mut self, id: i64) -> Result<Option<JobRow>, DbError> {
        self.optional(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1"), args![id]).await
    }

    /// A commit whose answer was lost counts.
    async fn completed_before(&mut self, done: &Completed) -> Result<bool, DbError> {
        let row: Option<(i64,)> = self
            .optional(
                "SELECT job_id FROM attempts WHERE job_id = $1 AND attempt = $2 AND state = 'recorded' AND run_id = $3",
                args![done.id.job, i64::from(done.id.attempt), done.run_id.as_str()],
            )
            .await?;
        Ok(row.is_some())
    }

    /// The next run id of a series, and remembers it. None while the publication of the last one is open: the table knows
    /// of one that the leader does not, where the answer to a commit was lost.
    async fn next_run_id(
        &mut self,
        job: &JobRow,
        series: &Series,
        now: i64,
    ) -> Result<Option<RunId>, DbError> {
        let key = || {
            args![
                series.container.as_str(),
                series.pair.release.as_str(),
                series.pair.arch.as_str(),
                series.package.as_str()
            ]
        };
        let last: Option<(String,)> = self
            .optional(
                "SELECT last_run_id FROM series WHERE container = $1 AND release = $2 AND arch = $3 AND package = $4",
                key(),
            )
            .await?;
        let last = last
            .map(|(text,)| text.parse::<RunId>())
            .transpose()
            .map_err(|e: BadName| DbError::Value(e.to_string()))?;
        if let Some(last) = &last
            && self.is_open(series, last).await?
        {
            return Ok(None);
        }
        let now = jiff::Timestamp::from_microsecond(now).map_err(|e| DbError::Value(e.to_string()))?;
        let run_id = RunId::next(now, &job.run_hash(), last.as_ref());
        // Another system's result was indexed in the meantime: whoever asked asks again, and gets a greater id.
        if !self.raise_series(series, &run_id).await? {
            return Ok(None);
        }
        Ok(Some(run_id))
    }

    /// True while a run is being uploaded, or its `result.tar` is on the way to the store.
    async fn is_open(&mut self, series: &Series, run_id: &RunId) -> Result<bool, DbError> {
        let Series { container, pair, package } = series;
        let row: Option<(i64,)> = self
            .optional(
                "SELECT r.id FROM results r JOIN jobs j ON j.id = r.job_id
                 WHERE r.container = $1 AND r.release = $2 AND r.arch = $3 AND r.package = $4 AND r.run_id = $5
                    AND NOT r.stored AND j.state = 'storing'
                 UNION ALL
                 SELECT a.job_id FROM attempts a JOIN jobs j ON j.id = a.job_id
                 WHERE a.state = 'publishing' AND a.container = $1 AND j.release = $2 AND j.arch = $3 AND j.package = $4
                    AND a.run_id = $5",
                args![
                    container.as_str(),
                    pair.release.as_str(),
                    pair.arch.as_str(),
                    package.as_str(),
                    run_id.as_str()
                ],
            )
            .await?;
        Ok(row.is_some())
    }

    async fn record(
        &mut self,
        now: i64,
        result: &Recorded,
        result_tar: Vec<u8>,
        log_gz: Option<Vec<u8>>,
    ) -> Result<(), DbError> {
        let Recorded { job, series, run_id, .. } = result;
        let request = job.request().map_err(|e| DbError::Value(format!("job {} ({})", job.id, e.kind())))?;
        let readable_by: Vec<String> = request.readable_by.iter().map(ToString::to_string).collect();
        // One that the store refused before was never shown: this one takes its row.
        self.execute(
            "INSERT INTO results (job_id, container, release, arch, package, run_id, uuid, version, triggers, env,
                requester, exit_code, duration_seconds, private, readable_by, stored, recorded_us, rule)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             ON CONFLICT (job_id) WHERE NOT stored DO UPDATE SET run_id = excluded.run_id, version = excluded.version,
                requester = excluded.requester, exit_code = excluded.exit_code,
                duration_seconds = excluded.duration_seconds, recorded_us = excluded.recorded_us, rule = excluded.rule",
            args![
                job.id,
                series.container.as_str(),
                &job.release,
                &job.arch,
                &job.package,
                run_id.as_str(),
                &job.uuid,
                &result.version,
                triggers(&request),
                env(&request),
                job.requesters.lines().next(),
                result.exit_code,
                result.duration,
                job.private,
                readable_by.join("\n"),
                false,
                now,
                &result.rule
            ],
        )
        .await?;
        self.execute(
            "INSERT INTO outbox (kind, job_id, container, reader, folder, result_tar, log_gz, message, not_before_us, tries)
             VALUES ('publish', $1, $2, $3, $4, $5, $6, $7, $8, 0)",
            args![
                job.id,
                series.container.as_str(),
                request.swiftuser.as_ref().map(ToString::to_string),
                series.folder(run_id),
                result_tar,
                log_gz,
                result.message(&request),
                now
            ],
        )
        .await?;
        self.execute(
            "UPDATE jobs SET state = 'storing', reason = NULL, changed_us = $1 WHERE id = $2",
            args![now, job.id],
        )
        .await?;
        Ok(())
    }
}
