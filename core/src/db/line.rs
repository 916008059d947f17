//! One queue of clients, `CONTEXT-RELEASE-ARCH`, as its page shows it.

use sqlx::FromRow;

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};
use crate::names::{Context, Pair};

/// A lane in which jobs wait.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LaneLoad {
    /// The lane, as text; none or [`crate::queue::ASKED`] where the leader has not sorted them yet.
    pub lane: Option<String>,
    /// How many wait.
    pub waiting: i64,
    /// How many of them wait for the end of a pause before their next attempt.
    pub pausing: i64,
}

/// Which part of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFilter {
    /// Which of the pair's queues.
    pub context: Context,
    /// Release and arch.
    pub pair: Pair,
    /// Only this package.
    pub package: Option<String>,
    /// Only jobs whose first trigger is this one.
    pub trigger: Option<String>,
    /// Those that came last first.
    pub newest: bool,
    /// Only jobs behind this number in that order; 0: from the begin.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

macro_rules! queue_part {
    ($behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs WHERE state = 'waiting' AND context = $1 AND release = $2 AND arch = $3 AND ",
            $behind,
            " AND ($5 IS NULL OR (package = $5 AND NOT private)) AND ($6 IS NULL OR (trigger = $6 AND NOT private))
              ORDER BY ",
            $order,
            " LIMIT $7"
        )
    };
}

impl Database {
    /// All lanes in which jobs wait. It reads every waiting job's index entry: not for each page.
    pub async fn lane_loads(&self, now_us: i64) -> Result<Vec<LaneLoad>, DbError> {
        self.all(
            "SELECT lane, count(*) AS waiting,
                CAST(sum(CASE WHEN not_before_us > $1 THEN 1 ELSE 0 END) AS BIGINT) AS pausing
             FROM jobs WHERE state = 'waiting' GROUP BY lane",
            args![now_us],
        )
        .await
    }

    /// What waits in a queue, in the order in which it came or from its end, behind `after`, at most `limit`. Where a package
    /// or a trigger is asked for, no private job is among them: it would tell of it.
    pub async fn queue_part(&self, filter: &QueueFilter) -> Result<Vec<JobRow>, DbError> {
        let QueueFilter { context, pair, package, trigger, newest, after, limit } = filter;
        let (sql, behind) = match *newest {
            false => (queue_part!("id > $4", "id"), *after),
            true if *after == 0 => (queue_part!("id < $4", "id DESC"), i64::MAX),
            true => (queue_part!("id < $4", "id DESC"), *after),
        };
        self.all(
            sql,
            args![
                context.as_str(),
                pair.release.as_str(),
                pair.arch.as_str(),
                behind,
                package.clone(),
                trigger.clone(),
                *limit
            ],
        )
        .await
    }

    /// When the first and the last of the jobs that wait in a queue came, in microseconds.
    pub async fn queue_ends(&self, context: Context, pair: &Pair) -> Result<Option<(i64, i64)>, DbError> {
        let (oldest, newest): (Option<i64>, Option<i64>) = self
            .one(
                "SELECT (SELECT received_us FROM jobs WHERE state = 'waiting' AND context = $1 AND release = $2 AND arch = $3
                            ORDER BY id LIMIT 1),
                        (SELECT received_us FROM jobs WHERE state = 'waiting' AND context = $1 AND release = $2 AND arch = $3
                            ORDER BY id DESC LIMIT 1)",
                args![context.as_str(), pair.release.as_str(), pair.arch.as_str()],
            )
            .await?;
        Ok(oldest.zip(newest))
    }
}
