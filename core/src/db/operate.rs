//! What operators do to many jobs at once: in small transactions, each conditioned on where the jobs still stand, and
//! counted in the command's entry of the audit log.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Database, DbError, JobState, connection::args, jobs::id_by_uuid};
use crate::{
    queue::{ANSWERS, EMERGENCY},
    request::{BadRequest, Request},
};

/// So many at most are changed in one transaction: nobody else waits for their rows for long.
pub const OPERATED_AT_ONCE: usize = 1000;

/// A job as those see it who choose among many.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OperatedRow {
    /// Its number.
    pub id: i64,
    /// What it is called outside.
    pub uuid: String,
    /// `ubuntu`, `huge`, `ppa`, `upstream`.
    pub context: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// The request's body, credentials sealed.
    pub body: String,
    /// Only named people may see it.
    pub private: bool,
    /// Who asked, one a line.
    pub requesters: String,
    /// Where it stands.
    pub state: String,
    /// Where it stands while it waits: see [`crate::queue`].
    pub lane: Option<String>,
    /// Microseconds since 1970.
    pub received_us: i64,
}

macro_rules! operated_columns {
    () => {
        "id, uuid, context, release, arch, package, body, private, requesters, state, lane, received_us"
    };
}

impl OperatedRow {
    /// The request, credentials sealed.
    pub fn request(&self) -> Result<Request, BadRequest> {
        Request::parse(self.body.as_bytes())
    }
}

/// A waiting job that is to stand in another lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMove {
    /// The job.
    pub job: i64,
    /// The lane in which it was seen: it stays where it stands in another one by now.
    pub from: String,
    /// The lane into which it goes.
    pub to: String,
}

impl Database {
    /// Waiting jobs with a greater number than `after`, oldest first, at most `limit`.
    pub async fn operated_waiting(&self, after: i64, limit: i64) -> Result<Vec<OperatedRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                operated_columns!(),
                " FROM jobs WHERE state = 'waiting' AND id > $1 ORDER BY id LIMIT $2"
            ),
            args![after, limit],
        )
        .await
    }

    /// Running jobs, not those whose results are being published, as [`Database::operated_waiting`].
    pub async fn operated_running(&self, after: i64, limit: i64) -> Result<Vec<OperatedRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                operated_columns!(),
                " FROM jobs WHERE state = 'running' AND id > $1 ORDER BY id LIMIT $2"
            ),
            args![after, limit],
        )
        .await
    }

    /// Those of [`Database::operated_waiting`] that were there by `since_us`, microseconds since 1970, and came to wait
    /// again since; not what an operator called off already.
    pub async fn operated_again(
        &self,
        since_us: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<OperatedRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                operated_columns!(),
                " FROM jobs WHERE state = 'waiting' AND id > $1 AND received_us <= $3 AND changed_us >= $3
                    AND cancel IS NULL ORDER BY id LIMIT $2"
            ),
            args![after, limit, since_us],
        )
        .await
    }

    /// Emergencies that are not over: they wait, run, are being published, or are parked; as
    /// [`Database::operated_waiting`].
    pub async fn operated_emergencies(&self, after: i64, limit: i64) -> Result<Vec<OperatedRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                operated_columns!(),
                " FROM jobs WHERE state IN ('waiting', 'running', 'publishing', 'parked') AND lane LIKE $3 AND id > $1
                    ORDER BY id LIMIT $2"
            ),
            args![after, limit, format!("{EMERGENCY} %")],
        )
        .await
    }

    /// A job by one of its uuids, wherever it stands.
    pub async fn operated(&self, uuid: Uuid) -> Result<Option<OperatedRow>, DbError> {
        self.optional(
            concat!("SELECT ", operated_columns!(), " FROM jobs WHERE id = ", id_by_uuid!()),
            args![uuid.to_string()],
        )
        .await
    }

    /// How many jobs wait.
    pub async fn waiting_count(&self) -> Result<i64, DbError> {
        let (count,): (i64,) = self.one("SELECT count(*) FROM jobs WHERE state = 'waiting'", vec![]).await?;
        Ok(count)
    }

    /// Jobs of git sources from the first that waits, which wait, run or are done, with a greater number than `after`,
    /// oldest first, at most `limit`. There may be others among them.
    pub async fn from_first_waiting_git(&self, after: i64, limit: i64) -> Result<Vec<OperatedRow>, DbError> {
        // The work grows with what came since the first one that waits, not with history.
        let first = "SELECT min(id) - 1 FROM jobs WHERE state = 'waiting' AND body LIKE '%-git\"%'";
        let after = match after {
            0 => self.one::<(Option<i64>,)>(first, vec![]).await?.0,
            after => Some(after),
        };
        let Some(after) = after else { return Ok(Vec::new()) };
        self.all(
            concat!(
                "SELECT ",
                operated_columns!(),
                " FROM jobs WHERE id > $1 AND state IN ('waiting', 'running', 'publishing', 'storing', 'done')
                    AND body LIKE '%-git\"%' ORDER BY id LIMIT $2"
            ),
            args![after, limit],
        )
        .await
    }

    /// Puts waiting jobs into other lanes, and with `unfinished` also those that run, are being published, or are parked:
    /// it is where they wait if they ever do again. Returns those that went.
    pub async fn move_lanes(
        &self,
        audit: i64,
        moves: &[LaneMove],
        unfinished: bool,
    ) -> Result<Vec<i64>, DbError> {
        let all: Vec<_> = moves.iter().map(|m| (m.job, &m.from, &m.to)).collect();
        let statement = if self.is_sqlite() {
            "UPDATE jobs SET lane = v.new
             FROM (SELECT value ->> 0 AS job, value ->> 1 AS old, value ->> 2 AS new FROM json_each($1)) AS v
             WHERE jobs.id = v.job AND jobs.lane = v.old
                AND (jobs.state = 'waiting' OR ($2 AND jobs.state IN ('running', 'publishing', 'parked')))
             RETURNING jobs.id"
        } else {
            "UPDATE jobs SET lane = v.new
             FROM (SELECT (value ->> 0)::bigint AS job, value ->> 1 AS old, value ->> 2 AS new
                   FROM jsonb_array_elements($1::jsonb) AS value) AS v
             WHERE jobs.id = v.job AND jobs.lane = v.old
                AND (jobs.state = 'waiting' OR ($2 AND jobs.state IN ('running', 'publishing', 'parked')))
             RETURNING jobs.id"
        };
        let jobs: Vec<i64> = moves.iter().map(|m| m.job).collect();
        let all = serde_json::to_string(&all).unwrap_or_default();
        self.operate(audit, &jobs, statement, args![all, unfinished]).await
    }

    /// Ends waiting jobs without a result. Returns those that ended.
    pub async fn end_all_waiting(
        &self,
        audit: i64,
        jobs: &[i64],
        state: JobState,
        reason: &str,
    ) -> Result<Vec<i64>, DbError> {
        let now = self.now_us().await?;
        let statement = if self.is_sqlite() {
            "UPDATE jobs SET state = $2, reason = $3, changed_us = $4
             WHERE id IN (SELECT value FROM json_each($1)) AND state = 'waiting' RETURNING id"
        } else {
            "UPDATE jobs SET state = $2, reason = $3, changed_us = $4
             WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS value)
                AND state = 'waiting' RETURNING id"
        };
        self.operate(audit, jobs, statement, args![list(jobs), state.as_str(), reason, now]).await
    }

    /// Has waiting jobs answered to their gates without a run. Returns those that are; some were to be answered already.
    pub async fn answer_all_waiting(
        &self,
        audit: i64,
        jobs: &[i64],
        reason: &str,
        (code, log): (i32, &str),
    ) -> Result<Vec<i64>, DbError> {
        let statement = if self.is_sqlite() {
            "UPDATE jobs SET cancel = $2, reason = $2, answer_code = $3, answer_log = $4, lane = $5, not_before_us = 0
             WHERE id IN (SELECT value FROM json_each($1)) AND state = 'waiting' AND answer_code IS NULL RETURNING id"
        } else {
            "UPDATE jobs SET cancel = $2, reason = $2, answer_code = $3, answer_log = $4, lane = $5, not_before_us = 0
             WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS value)
                AND state = 'waiting' AND answer_code IS NULL RETURNING id"
        };
        self.operate(audit, jobs, statement, args![list(jobs), reason, code, log, ANSWERS]).await
    }

    /// Asks the leader to end running jobs, and, where an answer is given, to tell their gates. Returns those that were not
    /// to end yet.
    pub async fn cancel_all_running(
        &self,
        audit: i64,
        jobs: &[i64],
        reason: &str,
        answer: Option<(i32, &str)>,
    ) -> Result<Vec<i64>, DbError> {
        let (code, log) = answer.map_or((None, None), |(code, log)| (Some(i64::from(code)), Some(log)));
        let statement = if self.is_sqlite() {
            "UPDATE jobs SET cancel = $2, answer_code = $3, answer_log = $4
             WHERE id IN (SELECT value FROM json_each($1)) AND state = 'running' AND cancel IS NULL RETURNING id"
        } else {
            "UPDATE jobs SET cancel = $2, answer_code = $3, answer_log = $4
             WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS value)
                AND state = 'running' AND cancel IS NULL RETURNING id"
        };
        self.operate(audit, jobs, statement, args![list(jobs), reason, code, log]).await
    }

    /// One statement and its count in one transaction.
    async fn operate(
        &self,
        audit: i64,
        jobs: &[i64],
        statement: &'static str,
        values: Vec<super::connection::Value>,
    ) -> Result<Vec<i64>, DbError> {
        let mut tx = self.begin().await?;
        if !tx.is_sqlite() {
            // In the order in which intake takes them: nobody waits for one another.
            let lock = "SELECT id FROM jobs
                WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb) AS value)
                ORDER BY id FOR NO KEY UPDATE";
            tx.execute(lock, args![list(jobs)]).await?;
        }
        let changed: Vec<(i64,)> = tx.all(statement, values).await?;
        tx.count_in_audit(audit, changed.len()).await?;
        tx.commit().await?;
        Ok(changed.into_iter().map(|(job,)| job).collect())
    }
}

/// Numbers as one argument.
fn list(jobs: &[i64]) -> String {
    serde_json::to_string(jobs).unwrap_or_default()
}
