//! What somebody asked for and is not done.

use super::{Database, DbError, JobRow, connection::args, jobs::job_columns};

macro_rules! open_of {
    ($index:literal, $is:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs ",
            $index,
            " WHERE requesters <> '' AND state IN ('waiting', 'running', 'publishing', 'storing', 'parked') AND id > $1
                AND NOT private AND ",
            $is,
            " ORDER BY id LIMIT $4"
        )
    };
}

/// A requester is a whole line.
macro_rules! by {
    ($index:literal) => {
        open_of!($index, "replace($2 || requesters || $2, $3, '') <> $2 || requesters || $2")
    };
}

/// The text of a PPA ends with its name, or goes on with a fingerprint. Another text of the request may read the same.
macro_rules! with_ppa {
    ($index:literal) => {
        open_of!($index, "(replace(body, $2, '') <> body OR replace(body, $3, '') <> body)")
    };
}

impl Database {
    /// True where anybody may see a job that is not done and whose first trigger is this one.
    pub async fn is_open_trigger(&self, trigger: &str) -> Result<bool, DbError> {
        let sql = "SELECT id FROM jobs WHERE trigger = $1 AND NOT private
                    AND state IN ('waiting', 'running', 'publishing', 'storing', 'parked') LIMIT 1";
        Ok(self.optional::<(i64,)>(sql, args![trigger]).await?.is_some())
    }

    /// Public jobs that somebody asked for, alone or among others, and that are not done, in the order in which they came,
    /// behind the number `after`. It reads what all people asked for and is not done.
    pub async fn open_jobs_by(&self, person: &str, after: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        // SQLite cannot know how few of the open jobs people asked for.
        let sql = if self.is_sqlite() { by!("INDEXED BY jobs_open_people") } else { by!("") };
        self.all(sql, args![after, "\n", format!("\n{person}\n"), limit]).await
    }

    /// Public jobs that somebody asked for and that are not done, whose request names `owner/name`, in the order in which they
    /// came, behind the number `after`: those with this PPA are among them. It reads what all people asked for and is not done.
    pub async fn open_jobs_naming(&self, ppa: &str, after: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        let sql = if self.is_sqlite() { with_ppa!("INDEXED BY jobs_open_people") } else { with_ppa!("") };
        self.all(sql, args![after, format!("\"{ppa}\""), format!("\"{ppa}:"), limit]).await
    }
}
