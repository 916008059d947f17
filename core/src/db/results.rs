//! Results: the index of what lies in the store. Only what is stored is shown; private ones only where they are asked for.

use std::collections::BTreeSet;

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

pub(super) use result_columns;

/// The class of an exit code: [`ExitCode::class`] as an expression, the one of the index `results_class`.
macro_rules! class_of {
    () => {
        "(CASE WHEN exit_code IN (0, 2) THEN 'pass' WHEN exit_code = 8 THEN 'neutral' \
         WHEN exit_code IN (4, 6, 12, 14) THEN 'fail' WHEN exit_code = 16 THEN 'tmpfail' WHEN exit_code = 20 THEN 'error' \
         WHEN exit_code = 99 THEN 'denylisted' ELSE 'otherfail' END)"
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
    /// Only this package's.
    pub package: Option<String>,
    /// Only this requester's.
    pub user: Option<String>,
    /// Only this class.
    pub class: Option<Class>,
    /// Older than this one: its run id and number.
    pub before: Option<(String, i64)>,
    /// Skip so many.
    pub offset: i64,
    /// At most so many.
    pub limit: i64,
}

impl RecentFilter {
    fn is_narrow(&self) -> bool {
        self.release.is_some() || self.arch.is_some() || self.class.is_some()
    }

    /// The newest of each kind, or of each pair of a package, are merged.
    fn is_merged(&self) -> bool {
        self.package.is_some() || self.user.is_none() && self.is_narrow()
    }
}

/// So many of a person's results are looked through for those that fit: no list costs more, however few do.
pub const LOOKED_THROUGH: i64 = if cfg!(test) { 5 } else { 10_000 };
/// So many rows of each release, arch and class, or of each pair, are merged at once.
const CHUNK: i64 = 1000;
/// More results than this that are not summed up yet are not looked through for their kinds.
const FRESH: usize = 1000;

/// The newest of a package on a release and architecture, by the index of its runs.
macro_rules! of_package {
    ($pair:literal) => {
        concat!(
            "SELECT ",
            result_columns!(),
            " FROM results WHERE package = $2 AND ",
            $pair,
            " AND stored AND NOT private AND ($3 IS NULL OR requester = $3) AND ($4 IS NULL OR ",
            class_of!(),
            " = $4) AND (run_id, id) < ($5, $6) ORDER BY run_id DESC, id DESC LIMIT $7"
        )
    };
}

/// The newest results before a place, of a person or of all.
macro_rules! newest_of {
    ($who:literal) => {
        concat!(
            "SELECT ",
            result_columns!(),
            " FROM results WHERE ",
            $who,
            " AND stored AND NOT private AND (run_id, id) < ($2, $3) ORDER BY run_id DESC, id DESC LIMIT $4 OFFSET $5"
        )
    };
}

/// Those of a person that fit, among as many of the newest before a place as are looked through.
macro_rules! of_person {
    () => {
        concat!(
            "SELECT ",
            result_columns!(),
            " FROM results WHERE id IN (SELECT id FROM (SELECT id, run_id, release, arch, exit_code FROM results
                WHERE requester = $1 AND stored AND NOT private AND (run_id, id) < ($2, $3)
                ORDER BY run_id DESC, id DESC LIMIT $4) looked
             WHERE ($5 IS NULL OR release = $5) AND ($6 IS NULL OR arch = $6) AND ($7 IS NULL OR ",
            class_of!(),
            " = $7) ORDER BY run_id DESC, id DESC LIMIT $8 OFFSET $9) ORDER BY run_id DESC, id DESC"
        )
    };
}

/// Where a list begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// With the newest.
    #[default]
    Newest,
    /// With the oldest.
    Oldest,
}

/// Before this place are all: a comparison that always is one is served by an index.
fn newest() -> (String, i64) {
    ("\u{10ffff}".to_owned(), i64::MAX)
}

/// Behind this place are all.
const fn oldest() -> (String, i64) {
    (String::new(), i64::MIN)
}

/// The runs of a test behind a place.
macro_rules! of_test {
    ($behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            result_columns!(),
            " FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND stored AND NOT private
                AND ($4 OR container = 'autopkgtest-' || release) AND (run_id, id) ",
            $behind,
            " ($5, $6) ORDER BY run_id ",
            $order,
            ", id ",
            $order,
            " LIMIT $7"
        )
    };
}

/// The places of the newest results of a release, architecture and class before a place: the rows are read of those alone that
/// are shown.
macro_rules! places_of {
    ($release:literal, $arch:literal, $class:literal) => {
        concat!(
            "SELECT run_id, id FROM results WHERE release = ",
            $release,
            " AND arch = ",
            $arch,
            " AND ",
            class_of!(),
            " = ",
            $class,
            " AND stored AND NOT private AND (run_id, id) < ($2, $3) ORDER BY run_id DESC, id DESC LIMIT $4"
        )
    };
}

macro_rules! latest_of {
    ($pairs:literal) => {
        concat!(
            "SELECT r.release, r.arch, r.run_id, r.version, r.exit_code FROM (
                SELECT release, arch FROM standings WHERE package = $1 UNION ",
            $pairs,
            ") n JOIN results r ON r.id = (SELECT l.id FROM results l WHERE l.package = $1 AND l.release = n.release
                AND l.arch = n.arch AND l.stored AND NOT l.private AND l.container = 'autopkgtest-' || n.release
                ORDER BY l.run_id DESC LIMIT 1) ORDER BY r.release, r.arch"
        )
    };
}

fn int(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Database {
    /// Public results, newest first. Of a person, narrowed down by more than a package, those among [`LOOKED_THROUGH`] alone.
    pub async fn recent(&self, filter: &RecentFilter) -> Result<Vec<ResultRow>, DbError> {
        let RecentFilter { release, arch, user, class, before, offset, limit, .. } = filter;
        if filter.is_merged() {
            return self.recent_merged(filter).await;
        }
        let (run_id, id) = before.clone().unwrap_or_else(newest);
        if !filter.is_narrow() {
            let sql = if user.is_some() { newest_of!("requester = $1") } else { newest_of!("$1 IS NULL") };
            return self.all(sql, args![user.clone(), run_id, id, *limit, *offset]).await;
        }
        let class = class.map(Class::as_str);
        let values = args![
            user.clone(),
            run_id,
            id,
            LOOKED_THROUGH,
            release.clone(),
            arch.clone(),
            class,
            *limit,
            *offset
        ];
        self.all(of_person!(), values).await
    }

    /// The place of the last result that [`Database::recent`] looks through for a filter; none where it looks at all there are.
    pub async fn looked_to(&self, filter: &RecentFilter) -> Result<Option<(String, i64)>, DbError> {
        if filter.is_merged() || !filter.is_narrow() {
            return Ok(None);
        }
        let (run_id, id) = filter.before.clone().unwrap_or_else(newest);
        let sql = "SELECT run_id, id FROM results WHERE requester = $1 AND stored AND NOT private
                    AND (run_id, id) < ($2, $3) ORDER BY run_id DESC, id DESC LIMIT 1 OFFSET $4";
        self.optional(sql, args![filter.user.clone(), run_id, id, LOOKED_THROUGH - 1]).await
    }

    /// The same of releases, architectures and classes, or of a package: the newest of each kind that there is, merged, some at
    /// a time. However seldom one of them is, no more is looked at than is shown.
    async fn recent_merged(&self, filter: &RecentFilter) -> Result<Vec<ResultRow>, DbError> {
        let mut kinds = self.kinds_of_results().await?;
        let fits = |wanted: Option<&str>, one: &str| wanted.is_none_or(|wanted| wanted == one);
        let class = filter.class.map(Class::as_str);
        kinds.retain(|(release, arch, name)| {
            fits(filter.release.as_deref(), release)
                && fits(filter.arch.as_deref(), arch)
                && fits(class, name)
        });
        let mut before = filter.before.clone().unwrap_or_else(newest);
        let (mut skipped, mut rows) = (0, Vec::new());
        loop {
            let open = filter.offset.saturating_sub(skipped) + filter.limit - int(rows.len());
            let chunk = open.min(CHUNK);
            let part = match &filter.package {
                Some(package) => self.chunk_of_package(package, filter, &kinds, &before, chunk).await?,
                None => self.chunk_of(&kinds, &before, chunk).await?,
            };
            let came = int(part.len());
            if let Some(last) = part.last() {
                before = (last.run_id.clone(), last.id);
            }
            let skip = (filter.offset - skipped).clamp(0, came);
            skipped += skip;
            rows.extend(part.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)));
            if came < chunk || int(rows.len()) >= filter.limit {
                return Ok(rows);
            }
        }
    }

    /// The newest of these kinds before a place.
    async fn chunk_of(
        &self,
        kinds: &[(String, String, String)],
        (run_id, id): &(String, i64),
        most: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        let text =
            |value: serde_json::Result<String>| value.map_err(|error| DbError::Value(error.to_string()));
        if !self.is_sqlite() {
            let sql = concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE id IN (SELECT p.id FROM json_array_elements($1::json) AS n CROSS JOIN LATERAL (",
                places_of!("n.value ->> 0", "n.value ->> 1", "n.value ->> 2"),
                ") p ORDER BY p.run_id DESC, p.id DESC LIMIT $4) ORDER BY run_id DESC, id DESC"
            );
            let kinds = text(serde_json::to_string(&kinds))?;
            return self.all(sql, args![kinds, run_id, *id, most]).await;
        }
        let mut places: Vec<(String, i64)> = Vec::new();
        for (release, arch, name) in kinds {
            let values = args![release, run_id, *id, most, arch, name];
            places.extend(self.all::<(String, i64)>(places_of!("$1", "$5", "$6"), values).await?);
        }
        places.sort_unstable_by(|a, b| b.cmp(a));
        let most = usize::try_from(most).unwrap_or_default();
        let shown: Vec<i64> = places.into_iter().take(most).map(|(_, id)| id).collect();
        let sql = concat!(
            "SELECT ",
            result_columns!(),
            " FROM results WHERE id IN (SELECT value FROM json_each($1)) ORDER BY run_id DESC, id DESC"
        );
        self.all(sql, args![text(serde_json::to_string(&shown))?]).await
    }

    /// The newest of a package before a place, on each of these releases and architectures.
    async fn chunk_of_package(
        &self,
        package: &str,
        filter: &RecentFilter,
        kinds: &[(String, String, String)],
        (run_id, id): &(String, i64),
        most: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        let RecentFilter { user, class, .. } = filter;
        let pairs: BTreeSet<(&str, &str)> =
            kinds.iter().map(|(release, arch, _)| (release.as_str(), arch.as_str())).collect();
        let values = |pairs: String, arch: Option<&str>| {
            let class = class.map(Class::as_str);
            let mut values = args![pairs, package, user.clone(), class, run_id, *id, most];
            values.extend(arch.map(Into::into));
            values
        };
        if self.is_sqlite() {
            let mut merged: Vec<ResultRow> = Vec::new();
            for (release, arch) in pairs {
                let sql = of_package!("release = $1 AND arch = $8");
                merged.extend(self.all::<ResultRow>(sql, values(release.to_owned(), Some(arch))).await?);
            }
            merged.sort_by(|a, b| (&b.run_id, b.id).cmp(&(&a.run_id, a.id)));
            merged.truncate(usize::try_from(most).unwrap_or_default());
            Ok(merged)
        } else {
            let pairs = serde_json::to_string(&pairs).map_err(|error| DbError::Value(error.to_string()))?;
            let sql = concat!(
                "SELECT r.* FROM json_array_elements($1::json) AS n CROSS JOIN LATERAL (",
                of_package!("release = n.value ->> 0 AND arch = n.value ->> 1"),
                ") r ORDER BY run_id DESC, id DESC LIMIT $7"
            );
            self.all(sql, values(pairs, None)).await
        }
    }

    /// Each release, architecture and class that public results have: by the summaries and those that are not in them yet;
    /// where too many are not, as after summaries began anew, by the index.
    pub(super) async fn kinds_of_results(&self) -> Result<Vec<(String, String, String)>, DbError> {
        let fresh: Vec<(String, String, String)> = self
            .all(
                concat!(
                    "SELECT release, arch, ",
                    class_of!(),
                    " FROM (SELECT release, arch, exit_code FROM results WHERE edition IS NOT NULL
                        AND (edition, id) > ((SELECT edition FROM summed), (SELECT result FROM summed))
                        ORDER BY edition, id LIMIT $1) behind
                     UNION ALL SELECT release, arch, ",
                    class_of!(),
                    " FROM (SELECT release, arch, exit_code FROM results WHERE stored AND edition IS NULL
                        ORDER BY id LIMIT $1) fresh"
                ),
                args![i64::try_from(FRESH).unwrap_or(i64::MAX)],
            )
            .await?;
        if fresh.len() >= FRESH {
            return self.kinds_by_index().await;
        }
        let mut kinds: BTreeSet<(String, String, String)> = fresh.into_iter().collect();
        kinds.extend(
            self.all::<(String, String, String)>(
                "SELECT release, arch, name FROM hours WHERE what = 'results' AND hour = 0 AND n > 0",
                vec![],
            )
            .await?,
        );
        Ok(kinds.into_iter().collect())
    }

    /// The same from one kind to the next in `results_class`; SQLite reads all of it.
    pub(super) async fn kinds_by_index(&self) -> Result<Vec<(String, String, String)>, DbError> {
        let sql = if self.is_sqlite() {
            concat!(
                "SELECT DISTINCT release, arch, ",
                class_of!(),
                " FROM results WHERE stored AND NOT private"
            )
        } else {
            concat!(
                "WITH RECURSIVE kinds (release, arch, name) AS (
                    (SELECT release, arch, ",
                class_of!(),
                " FROM results WHERE stored AND NOT private ORDER BY release, arch, ",
                class_of!(),
                " LIMIT 1) UNION ALL SELECT n.* FROM kinds k CROSS JOIN LATERAL (SELECT release, arch, ",
                class_of!(),
                " FROM results WHERE stored AND NOT private AND (release, arch, ",
                class_of!(),
                ") > (k.release, k.arch, k.name) ORDER BY release, arch, ",
                class_of!(),
                " LIMIT 1) n) SELECT release, arch, name FROM kinds"
            )
        };
        self.all(sql, vec![]).await
    }

    /// Public results of a package on a release and arch in this order, behind `place` (a run id and its number), at most
    /// `limit`.
    /// Runs with PPAs are not among them: `all_containers` adds them.
    pub async fn results_of(
        &self,
        package: &Package,
        pair: &Pair,
        all_containers: bool,
        order: Order,
        place: Option<(String, i64)>,
        limit: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        let (sql, first) = match order {
            Order::Newest => (of_test!("<", "DESC"), newest()),
            Order::Oldest => (of_test!(">", "ASC"), oldest()),
        };
        let (run_id, id) = place.unwrap_or(first);
        self.all(
            sql,
            args![
                package.as_str(),
                pair.release.as_str(),
                pair.arch.as_str(),
                all_containers,
                run_id,
                id,
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

    /// The latest public result of a package on each of these pairs and wherever else it has one, of distribution runs.
    pub async fn latest_of(
        &self,
        package: &Package,
        pairs: &BTreeSet<Pair>,
    ) -> Result<Vec<LatestRow>, DbError> {
        let pairs: Vec<[&str; 2]> = pairs.iter().map(|p| [p.release.as_str(), p.arch.as_str()]).collect();
        let pairs = serde_json::to_string(&pairs).map_err(|error| DbError::Value(error.to_string()))?;
        let sql = if self.is_sqlite() {
            latest_of!("SELECT value ->> 0, value ->> 1 FROM json_each($2)")
        } else {
            latest_of!("SELECT value ->> 0, value ->> 1 FROM json_array_elements($2::json)")
        };
        self.all(sql, args![package.as_str(), pairs]).await
    }

    /// True where a package has public results.
    pub async fn has_results(&self, package: &Package) -> Result<bool, DbError> {
        let found: Option<(i64,)> = self
            .optional(
                // By the index of its runs, in its order.
                "SELECT id FROM results WHERE package = $1 AND stored AND NOT private ORDER BY release, arch, run_id LIMIT 1",
                args![package.as_str()],
            )
            .await?;
        Ok(found.is_some())
    }
}
