//! What gates still wait for.

use sqlx::FromRow;

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};

/// Which of what gates wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GateFilter {
    /// Only this release.
    pub release: Option<String>,
    /// Only this architecture.
    pub arch: Option<String>,
    /// Only this context.
    pub context: Option<String>,
    /// Microseconds since 1970: only what came before; 0: all.
    pub before_us: i64,
    /// Only jobs with a greater number.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// What gates wait for because of one upload.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GateRow {
    /// The first trigger, empty where there is none.
    pub trigger: String,
    /// Microseconds since 1970: when the first of it came.
    pub oldest_us: i64,
    /// So many wait,
    pub waiting: i64,
    /// run or are being published,
    pub running: i64,
    /// or are parked.
    pub parked: i64,
}

/// Unfinished jobs that everybody may see and gates wait for, of one trigger and queue.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GateCount {
    /// Of which release.
    pub release: String,
    /// Of which architecture.
    pub arch: String,
    /// Of which context.
    pub context: String,
    /// What they are of.
    #[sqlx(flatten)]
    pub of: GateRow,
}

/// What a person asked for without a trigger is nobody else's: a requester says so, or the lane that the job stood in.
macro_rules! gates {
    () => {
        "(trigger <> '' OR (requesters = '' AND COALESCE(lane, '') <> '?' AND COALESCE(lane, '') NOT LIKE '% people %'))"
    };
}

macro_rules! gate_counts {
    () => {
        "min(received_us) AS oldest_us,
         CAST(sum(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END) AS BIGINT) AS waiting,
         CAST(sum(CASE WHEN state IN ('waiting', 'parked') THEN 0 ELSE 1 END) AS BIGINT) AS running,
         CAST(sum(CASE WHEN state = 'parked' THEN 1 ELSE 0 END) AS BIGINT) AS parked
         FROM jobs WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked')"
    };
}

macro_rules! of_state {
    ($state:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            job_columns!(),
            " FROM jobs WHERE state = '",
            $state,
            "' AND id > $1 AND ",
            gates!(),
            " AND ($2 IS NULL OR release = $2)
                AND ($3 IS NULL OR arch = $3) AND ($4 IS NULL OR context = $4) AND ($5 = 0 OR received_us < $5)
                ORDER BY id LIMIT $6) AS ",
            $state
        )
    };
}

impl Database {
    /// Unfinished jobs that gates wait for, in the order in which they came: all but those that a person asked for
    /// without a trigger.
    pub async fn gates_wait_for(&self, filter: &GateFilter) -> Result<Vec<JobRow>, DbError> {
        // State by state, so that each is read in the order of its index.
        self.all(
            concat!(
                of_state!("waiting"),
                " UNION ALL ",
                of_state!("running"),
                " UNION ALL ",
                of_state!("publishing"),
                " UNION ALL ",
                of_state!("storing"),
                " UNION ALL ",
                of_state!("parked"),
                " ORDER BY id LIMIT $6"
            ),
            args![
                filter.after,
                filter.release.clone(),
                filter.arch.clone(),
                filter.context.clone(),
                filter.before_us,
                filter.limit
            ],
        )
        .await
    }

    /// The same by trigger, oldest first; where `before_us` is given, of what came before. It reads all unfinished jobs: not
    /// for pages.
    pub async fn gates_by_trigger(&self, before_us: Option<i64>) -> Result<Vec<GateRow>, DbError> {
        self.all(
            concat!(
                "SELECT trigger, ",
                gate_counts!(),
                " AND ",
                gates!(),
                " AND received_us < $1 GROUP BY trigger ORDER BY oldest_us, min(id)"
            ),
            args![before_us.unwrap_or(i64::MAX)],
        )
        .await
    }

    /// What everybody may see of them by trigger and queue. It reads all unfinished jobs, too.
    pub async fn public_gates(&self) -> Result<Vec<GateCount>, DbError> {
        self.all(
            concat!(
                "SELECT trigger, release, arch, context, ",
                gate_counts!(),
                " AND ",
                gates!(),
                " AND NOT private GROUP BY trigger, release, arch, context"
            ),
            vec![],
        )
        .await
    }
}
