//! Results: the index of what lies in the store. Only what is stored is shown; private ones only where they are asked for.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Database, DbError, connection::args};
use crate::{
    names::{Package, Pair},
    outcome::{Class, ExitCode},
    run_id::RunId,
};

/// A result.
#[derive(Debug, Clone, FromRow)]
pub struct ResultRow {
    /// Its number, for paging.
    pub id: i64,
    /// The job, where it was ours.
    pub job_id: Option<i64>,
    /// The container.
    pub container: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// The run id.
    pub run_id: String,
    /// The run's name.
    pub uuid: Option<String>,
    /// What was tested.
    pub version: String,
    /// Separated by blanks.
    pub triggers: Option<String>,
    /// `all-proposed=1,testname=x`.
    pub env: Option<String>,
    /// Who asked.
    pub requester: Option<String>,
    /// autopkgtest's exit code, or ours.
    pub exit_code: i64,
    /// Whole seconds.
    pub duration_seconds: i64,
    /// Only named people may see it.
    pub private: bool,
    /// Who may read a private one, a name a line.
    pub readable_by: String,
    /// What decided that it is a result; none where another system wrote it.
    pub rule: Option<String>,
    /// Why an operator called it off, where that is what the result says; the job's row has it.
    pub called_off: Option<String>,
}

macro_rules! result_columns {
    () => {
        "id, job_id, container, release, arch, package, run_id, uuid, version, triggers, env, requester, exit_code, \
         duration_seconds, private, readable_by, rule, \
         CASE WHEN rule = 'cancelled' THEN (SELECT cancel FROM jobs WHERE jobs.id = results.job_id) END AS called_off"
    };
}

impl ResultRow {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode(i32::try_from(self.exit_code).unwrap_or(i32::MIN))
    }

    /// The class that pages show.
    pub fn class(&self) -> Class {
        self.code().class()
    }
}

/// The latest result of a package on a release and arch.
#[derive(Debug, Clone, FromRow)]
pub struct LatestRow {
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The run id.
    pub run_id: String,
    /// What was tested.
    pub version: String,
    /// autopkgtest's exit code, or ours.
    pub exit_code: i64,
}

/// What `/recent` shows.
#[derive(Debug, Clone, Default)]
pub struct RecentFilter {
    /// Only this release.
    pub release: Option<String>,
    /// Only this architecture.
    pub arch: Option<String>,
    /// Only this requester's.
    pub user: Option<String>,
    /// Only this class.
    pub class: Option<Class>,
    /// Skip so many.
    pub offset: i64,
    /// At most so many.
    pub limit: i64,
}

impl Database {
    /// Public results, newest first.
    pub async fn recent(&self, filter: &RecentFilter) -> Result<Vec<ResultRow>, DbError> {
        // Codes of a class, as a text that LIKE can look into; "other" is what no class names.
        let codes = filter.class.map(class_codes);
        let other = filter.class == Some(Class::Otherfail);
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE stored AND NOT private
                    AND ($1 IS NULL OR release = $1) AND ($2 IS NULL OR arch = $2) AND ($3 IS NULL OR requester = $3)
                    AND ($4 IS NULL OR (($5 AND exit_code NOT IN (0, 2, 4, 6, 8, 12, 14, 16, 20, 99))
                        OR $4 LIKE '%,' || CAST(exit_code AS TEXT) || ',%'))
                  ORDER BY run_id DESC, id DESC LIMIT $6 OFFSET $7"
            ),
            args![
                filter.release.clone(),
                filter.arch.clone(),
                filter.user.clone(),
                codes,
                other,
                filter.limit,
                filter.offset
            ],
        )
        .await
    }

    /// Public results of a package on a release and arch, newest first, before `before` (exclusive), at most `limit`.
    /// Runs with PPAs are not among them: `all_containers` adds them.
    pub async fn results_of(
        &self,
        package: &Package,
        pair: &Pair,
        all_containers: bool,
        before: Option<&RunId>,
        limit: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND stored AND NOT private
                    AND ($4 OR container = 'autopkgtest-' || release) AND ($5 IS NULL OR run_id < $5)
                  ORDER BY run_id DESC, id DESC LIMIT $6"
            ),
            args![
                package.as_str(),
                pair.release.as_str(),
                pair.arch.as_str(),
                all_containers,
                before.map(RunId::as_str),
                limit
            ],
        )
        .await
    }

    /// One result by its run id; private ones too: the caller checks who asks.
    pub async fn result(
        &self,
        package: &Package,
        pair: &Pair,
        run_id: &RunId,
    ) -> Result<Vec<ResultRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND run_id = $4 AND stored ORDER BY id"
            ),
            args![package.as_str(), pair.release.as_str(), pair.arch.as_str(), run_id.as_str()],
        )
        .await
    }

    /// Results with a run id, whatever their package, at most `limit`; private ones too: the caller checks who asks.
    pub async fn results_by_run_id(&self, run_id: &RunId, limit: i64) -> Result<Vec<ResultRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE run_id = $1 AND stored ORDER BY id LIMIT $2"
            ),
            args![run_id.as_str(), limit],
        )
        .await
    }

    /// The result of a job, once it is stored.
    pub async fn result_of_job(&self, job: i64) -> Result<Option<ResultRow>, DbError> {
        self.optional(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE job_id = $1 AND stored ORDER BY id DESC LIMIT 1"
            ),
            args![job],
        )
        .await
    }

    /// A result by its uuid, where no job is known for it.
    pub async fn result_by_uuid(&self, uuid: Uuid) -> Result<Option<ResultRow>, DbError> {
        self.optional(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE uuid = $1 AND stored ORDER BY id DESC LIMIT 1"
            ),
            args![uuid.to_string()],
        )
        .await
    }

    /// The latest public result of a package in each release and arch, of distribution runs.
    pub async fn latest_of(&self, package: &Package) -> Result<Vec<LatestRow>, DbError> {
        self.all(
            "SELECT r.release, r.arch, r.run_id, r.version, r.exit_code FROM results r
             JOIN (SELECT release, arch, max(run_id) AS newest FROM results
                   WHERE package = $1 AND stored AND NOT private AND container = 'autopkgtest-' || release
                   GROUP BY release, arch) n
               ON n.release = r.release AND n.arch = r.arch AND n.newest = r.run_id
             WHERE r.package = $1 AND r.stored AND NOT r.private AND r.container = 'autopkgtest-' || r.release
             ORDER BY r.release, r.arch",
            args![package.as_str()],
        )
        .await
    }

    /// Names of packages with public results that begin with `prefix`, sorted, at most `limit`.
    pub async fn package_names(&self, prefix: &str, limit: i64) -> Result<Vec<String>, DbError> {
        // The name after all that begin so: '~' sorts behind every character of a package's name.
        let end = format!("{prefix}~");
        let rows: Vec<(String,)> = self
            .all(
                "SELECT DISTINCT package FROM results WHERE package >= $1 AND package < $2 AND stored AND NOT private
                 ORDER BY package LIMIT $3",
                args![prefix, end, limit],
            )
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

const fn class_codes(class: Class) -> &'static str {
    match class {
        Class::Pass => ",0,2,",
        Class::Neutral => ",8,",
        Class::Fail => ",4,6,12,14,",
        Class::Tmpfail => ",16,",
        Class::Error => ",20,",
        Class::Denylisted => ",99,",
        Class::Otherfail => ",",
    }
}
