//! Jobs that are parked: their attempts are spent, and an operator decides.

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};

impl Database {
    /// Parked jobs since before `cutoff_us`, with a greater number than `after`, at most `limit`.
    pub async fn parked_before(
        &self,
        cutoff_us: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<JobRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state = 'parked' AND changed_us < $1 AND id > $2 ORDER BY id LIMIT $3"
            ),
            args![cutoff_us, after, limit],
        )
        .await
    }
}
