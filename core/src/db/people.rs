//! What somebody asked for and is not done.

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};

macro_rules! open_of {
    ($index:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs ",
            $index,
            " WHERE requesters <> '' AND state IN ('waiting', 'running', 'publishing', 'storing', 'parked') AND id > $1
                AND NOT private AND replace($2 || requesters || $2, $3, '') <> $2 || requesters || $2
              ORDER BY id LIMIT $4"
        )
    };
}

impl Database {
    /// Public jobs that somebody asked for, alone or among others, and that are not done, in the order in which they came,
    /// behind the number `after`. It reads what all people asked for and is not done.
    pub async fn open_jobs_by(&self, person: &str, after: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        // SQLite cannot know how few of the open jobs people asked for.
        let sql = if self.is_sqlite() { open_of!("INDEXED BY jobs_open_people") } else { open_of!("") };
        self.all(sql, args![after, "\n", format!("\n{person}\n"), limit]).await
    }
}
