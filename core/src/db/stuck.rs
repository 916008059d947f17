//! What takes longer than it should: tests that run on and on, that are tried again, or that wait and wait.

use sqlx::FromRow;

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};

/// Which of them.
#[derive(Debug, Clone, Default)]
pub struct StuckFilter {
    /// Only this release.
    pub release: Option<String>,
    /// Only this architecture.
    pub arch: Option<String>,
    /// What time it is, in microseconds since 1970.
    pub now_us: i64,
    /// Only jobs with a greater number.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// A job that everybody may see and that takes longer than it should.
#[derive(Debug, Clone, FromRow)]
pub struct StuckRow {
    /// The job.
    #[sqlx(flatten)]
    pub job: JobRow,
    /// Since when it runs; none: it waits. Microseconds since 1970.
    pub granted_us: Option<i64>,
    /// When its attempt is ended at the latest.
    pub absolute_end_us: Option<i64>,
    /// How long the newest result of the same test took.
    pub usual_seconds: Option<i64>,
}

impl StuckRow {
    /// A test that runs this many times as long as the newest result of the same took,
    pub const TIMES: i64 = 2;
    /// and so much longer (for its testbed), runs long.
    pub const MORE_SECONDS: i64 = 900;
    /// What waits longer than this waits long.
    pub const WAITS_SECONDS: i64 = 86_400;

    /// Attempts that count before this one, or before the next.
    pub const fn failed_attempts(&self) -> i64 {
        let made = self.job.attempts - self.job.tried_before;
        if self.granted_us.is_some() { made - 1 } else { made }
    }

    /// For how long it runs, in seconds.
    pub fn runs_for(&self, now_us: i64) -> Option<i64> {
        self.granted_us.map(|granted| (now_us - granted) / 1_000_000)
    }

    /// It runs longer than is usual, or than it may.
    pub fn runs_long(&self, now_us: i64) -> bool {
        let usual = self.usual_seconds.map(|seconds| seconds * Self::TIMES + Self::MORE_SECONDS);
        self.runs_for(now_us).zip(usual).is_some_and(|(runs, usual)| runs > usual)
            || self.absolute_end_us.is_some_and(|end| end < now_us)
    }

    /// What came before this waits long. Microseconds since 1970.
    pub const fn long_ago(now_us: i64) -> i64 {
        now_us - Self::WAITS_SECONDS * 1_000_000
    }

    /// It waits longer than a day.
    pub const fn waits_long(&self, now_us: i64) -> bool {
        self.granted_us.is_none() && self.job.received_us < Self::long_ago(now_us)
    }
}

macro_rules! waiting_columns {
    () => {
        concat!(
            job_columns!(),
            ", CAST(NULL AS BIGINT) AS granted_us, CAST(NULL AS BIGINT) AS absolute_end_us,
              CAST(NULL AS BIGINT) AS usual_seconds"
        )
    };
}

impl Database {
    /// What runs longer than is usual or is tried again, by number; private runs are not among it. It reads what runs and what
    /// waits for another attempt, which is little of all that is open.
    pub async fn stuck(&self, filter: &StuckFilter) -> Result<Vec<StuckRow>, DbError> {
        let StuckFilter { release, arch, now_us, after, limit } = filter;
        self.all(
            concat!(
                "SELECT * FROM (SELECT * FROM (SELECT ",
                job_columns!(),
                ", granted_us, absolute_end_us, (SELECT s.duration_seconds FROM standings s WHERE s.package = jobs.package
                    AND s.release = jobs.release AND s.arch = jobs.arch) AS usual_seconds
                  FROM (SELECT job_id, granted_us, absolute_end_us FROM attempts
                    WHERE state IN ('running', 'publishing') AND job_id > $1) held JOIN jobs ON jobs.id = held.job_id
                  WHERE NOT private AND ($2 IS NULL OR release = $2) AND ($3 IS NULL OR arch = $3)) runs
                WHERE attempts > tried_before + 1 OR absolute_end_us < $4 OR $4 - granted_us > (usual_seconds * $5 + $6) * 1000000
                ORDER BY id LIMIT $7) runs_long
                UNION ALL SELECT * FROM (SELECT ",
                waiting_columns!(),
                " FROM jobs WHERE state = 'waiting' AND attempts > tried_before AND id > $1 AND NOT private
                    AND ($2 IS NULL OR release = $2) AND ($3 IS NULL OR arch = $3) ORDER BY id LIMIT $7) again
                ORDER BY id LIMIT $7"
            ),
            args![
                *after,
                release.clone(),
                arch.clone(),
                *now_us,
                StuckRow::TIMES,
                StuckRow::MORE_SECONDS,
                *limit
            ],
        )
        .await
    }

    /// Those that wait since before `cutoff_us`, among the next `limit` that wait, oldest first; private ones too.
    pub async fn waits_since_before(
        &self,
        cutoff_us: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StuckRow>, DbError> {
        // Numbers by themselves, which an index has: for whole rows PostgreSQL may take the table's key, with all that is done.
        self.all(
            concat!(
                "SELECT ",
                waiting_columns!(),
                " FROM (SELECT id AS first FROM jobs WHERE state = 'waiting' AND id > $1 ORDER BY id LIMIT $2) next
                  JOIN jobs ON jobs.id = next.first WHERE received_us < $3 ORDER BY id"
            ),
            args![after, limit, cutoff_us],
        )
        .await
    }
}
