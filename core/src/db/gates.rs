//! What gates still wait for.

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

macro_rules! of_state {
    ($state:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            job_columns!(),
            " FROM jobs WHERE state = '",
            $state,
            "' AND id > $1 AND (trigger <> '' OR requesters = '') AND ($2 IS NULL OR release = $2)
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
}
