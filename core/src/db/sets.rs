//! Rows of many keys at once, for lists whose rows were chosen before.

use serde::Serialize;

use super::{
    Database, DbError, JobRow, ResultRow,
    connection::{Value, args},
    jobs::job_columns,
    results::result_columns,
    summary::{json, over, rows},
};

/// A test whose length is asked for.
#[derive(Serialize)]
struct Test<'a> {
    n: usize,
    package: &'a str,
    release: &'a str,
    arch: &'a str,
}

/// Numbers of rows, as a value of a statement.
pub(super) fn numbers(ids: &[i64]) -> Value {
    ids.iter().copied().map(Some).collect::<Vec<Option<i64>>>().into()
}

impl Database {
    /// Stored results by their numbers, in no order; private ones too: the caller checks who asks.
    pub async fn results_by_number(&self, ids: &[i64]) -> Result<Vec<ResultRow>, DbError> {
        let sql = if self.is_sqlite() {
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE id IN (SELECT value FROM json_each($1)) AND stored"
            )
        } else {
            concat!("SELECT ", result_columns!(), " FROM results WHERE id = ANY($1) AND stored")
        };
        if ids.is_empty() { Ok(Vec::new()) } else { self.all(sql, args![numbers(ids)]).await }
    }

    /// Jobs by their numbers, in no order; private ones too: the caller checks who asks.
    pub async fn jobs_by_number(&self, ids: &[i64]) -> Result<Vec<JobRow>, DbError> {
        let sql = if self.is_sqlite() {
            concat!("SELECT ", job_columns!(), " FROM jobs WHERE id IN (SELECT value FROM json_each($1))")
        } else {
            concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = ANY($1)")
        };
        if ids.is_empty() { Ok(Vec::new()) } else { self.all(sql, args![numbers(ids)]).await }
    }

    /// How many seconds each of these tests (package, release, arch) took when it last had its say.
    pub async fn usual_seconds(&self, tests: &[[&str; 3]]) -> Result<Vec<Option<i64>>, DbError> {
        let wanted: Vec<Test<'_>> = tests
            .iter()
            .enumerate()
            .map(|(n, [package, release, arch])| Test { n, package, release, arch })
            .collect();
        let sql = over!(
            self,
            "SELECT n.n, (SELECT s.duration_seconds FROM standings s WHERE s.package = n.package AND s.release = n.release
                AND s.arch = n.arch) AS seconds",
            (n BIGINT, package TEXT, release TEXT, arch TEXT),
            ""
        );
        let mut seconds = vec![None; tests.len()];
        let found: Vec<(i64, Option<i64>)> =
            if wanted.is_empty() { Vec::new() } else { self.all(sql, args![json(&wanted)?]).await? };
        for (n, found) in found {
            if let Some(place) = usize::try_from(n).ok().and_then(|n| seconds.get_mut(n)) {
                *place = found;
            }
        }
        Ok(seconds)
    }
}
