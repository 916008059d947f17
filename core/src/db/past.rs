//! What pages show of the past, from summaries: lists by key, none of them longer to read than it is to show.

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError, ResultRow, Standing,
    connection::args,
    results::result_columns,
    summary::{json, over, rows},
};
use crate::names::{Package, Pair};

/// In which order standings are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingOrder {
    /// The slowest first.
    Slow,
    /// Those that were not run for longest first.
    Old,
}

/// Which failing packages are listed.
#[derive(Debug, Clone, Default)]
pub struct FailingFilter {
    /// Only this release.
    pub release: Option<String>,
    /// Only this architecture.
    pub arch: Option<String>,
    /// True: only those that passed before; false: only those that never did.
    pub has_passed: Option<bool>,
    /// Behind this one: since when, package, release, arch.
    pub after: Option<[String; 4]>,
    /// At most so many.
    pub limit: i64,
}

/// A package whose results differ for the same inputs.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FlakyRow {
    /// The package.
    pub package: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// How often.
    pub flips: i64,
    /// The last time.
    pub last_run_id: String,
}

/// Counts of an hour.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct HourRow {
    /// Its begin, in microseconds; 0: of all time.
    pub hour: i64,
    /// The release; empty where that says nothing.
    pub release: String,
    /// The architecture; empty where that says nothing.
    pub arch: String,
    /// A class, context, pool or fault.
    pub name: String,
    /// How many.
    pub n: i64,
    /// The sum of what was measured.
    pub total: i64,
    /// The greatest.
    pub most: i64,
}

/// By what counts of hours are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepBy {
    /// By architecture.
    Arch,
    /// By class, context, pool or fault.
    Name,
}

/// Counts of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StepRow {
    /// Its begin, in microseconds.
    pub step: i64,
    /// What they are put together by.
    pub name: String,
    /// How many.
    pub n: i64,
    /// The sum of what was measured.
    pub total: i64,
    /// The greatest.
    pub most: i64,
}

/// A result whose predecessor is looked for.
#[derive(Serialize)]
struct Place<'a> {
    n: usize,
    container: &'a str,
    release: &'a str,
    arch: &'a str,
    package: &'a str,
    run_id: &'a str,
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A source package with results.
    Package,
    /// Somebody who asked.
    User,
    /// A container of results with a PPA.
    Container,
}

impl NameKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::User => "user",
            Self::Container => "container",
        }
    }
}

macro_rules! steps_by {
    ($name:literal) => {
        concat!(
            "SELECT hour - hour % $3 AS step, ",
            $name,
            " AS name, CAST(sum(n) AS BIGINT) AS n, CAST(sum(total) AS BIGINT) AS total, max(most) AS most FROM hours
             WHERE what = $1 AND hour >= $2 AND ($4 IS NULL OR release = $4) GROUP BY 1, 2 ORDER BY 1, 2"
        )
    };
}

macro_rules! standing_columns {
    () => {
        "release, arch, package, class, run_id, version, duration_seconds, passed_run_id, passed_version, failing_since, runs"
    };
}

/// A pattern for LIKE, with `\\` before what it would take for more than itself.
fn like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The end of what begins so: behind every character of a name.
fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

impl Database {
    /// How a package fares, by release and arch.
    pub async fn standings_of(&self, package: &Package) -> Result<Vec<Standing>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                standing_columns!(),
                " FROM standings WHERE package = $1 ORDER BY release, arch"
            ),
            args![package.as_str()],
        )
        .await
    }

    /// Packages whose newest result is a failure, those that fail for longest first.
    pub async fn failing(&self, filter: &FailingFilter) -> Result<Vec<Standing>, DbError> {
        let [since, package, release, arch] = filter.after.clone().unwrap_or_default();
        self.all(
            concat!(
                "SELECT ",
                standing_columns!(),
                " FROM standings WHERE failing_since IS NOT NULL AND ($1 IS NULL OR release = $1) AND ($2 IS NULL OR arch = $2)
                    AND ($3 = 2 OR $3 = CASE WHEN passed_run_id IS NULL THEN 0 ELSE 1 END)
                    AND (failing_since, package, release, arch) > ($4, $5, $6, $7)
                  ORDER BY failing_since, package, release, arch LIMIT $8"
            ),
            args![
                filter.release.clone(),
                filter.arch.clone(),
                filter.has_passed.map_or(2, i64::from),
                since,
                package,
                release,
                arch,
                filter.limit
            ],
        )
        .await
    }

    /// The first standings of these pairs.
    pub async fn standings(
        &self,
        order: StandingOrder,
        pairs: &[Pair],
        limit: i64,
    ) -> Result<Vec<Standing>, DbError> {
        let sql = match order {
            StandingOrder::Slow => concat!(
                "SELECT ",
                standing_columns!(),
                " FROM standings WHERE release = $1 AND arch = $2 ORDER BY duration_seconds DESC, package DESC LIMIT $3"
            ),
            StandingOrder::Old => concat!(
                "SELECT ",
                standing_columns!(),
                " FROM standings WHERE release = $1 AND arch = $2 ORDER BY run_id, package LIMIT $3"
            ),
        };
        let mut all: Vec<Standing> = Vec::new();
        for pair in pairs {
            all.extend(self.all(sql, args![pair.release.as_str(), pair.arch.as_str(), limit]).await?);
        }
        match order {
            StandingOrder::Slow => all.sort_by_key(|s| std::cmp::Reverse(s.duration_seconds)),
            StandingOrder::Old => all.sort_by(|a, b| a.run_id.cmp(&b.run_id)),
        }
        all.truncate(usize::try_from(limit).unwrap_or_default());
        Ok(all)
    }

    /// Packages whose results differed for the same inputs since `from`, a run id; the most often first.
    pub async fn flaky(
        &self,
        release: Option<String>,
        arch: Option<String>,
        from: &str,
        limit: i64,
    ) -> Result<Vec<FlakyRow>, DbError> {
        self.all(
            "SELECT package, release, arch, count(*) AS flips, max(run_id) AS last_run_id FROM flips
             WHERE run_id >= $1 AND ($2 IS NULL OR release = $2) AND ($3 IS NULL OR arch = $3)
             GROUP BY package, release, arch ORDER BY flips DESC, package, release, arch LIMIT $4",
            args![from, release, arch, limit],
        )
        .await
    }

    /// What was counted by the hour, from `from_us` on; from 0 on: of all time and every hour.
    pub async fn hours(&self, what: &str, from_us: i64) -> Result<Vec<HourRow>, DbError> {
        self.all(
            "SELECT hour, release, arch, name, n, total, most FROM hours WHERE what = $1 AND hour >= $2
             ORDER BY hour, release, arch, name",
            args![what, from_us],
        )
        .await
    }

    /// What was counted from `from_us` on (more than 0), put together by steps of so many microseconds, whole hours each, of
    /// one release or of all.
    pub async fn steps(
        &self,
        what: &str,
        by: StepBy,
        from_us: i64,
        step_us: i64,
        release: Option<&str>,
    ) -> Result<Vec<StepRow>, DbError> {
        let sql = match by {
            StepBy::Arch => steps_by!("arch"),
            StepBy::Name => steps_by!("name"),
        };
        self.all(sql, args![what, from_us.max(1), step_us, release]).await
    }

    /// What was counted of all time.
    pub async fn all_time(&self, what: &str) -> Result<Vec<HourRow>, DbError> {
        self.all(
            "SELECT hour, release, arch, name, n, total, most FROM hours WHERE what = $1 AND hour = 0
             ORDER BY release, arch, name",
            args![what],
        )
        .await
    }

    /// Names that begin with `prefix`, sorted, behind `after`.
    pub async fn names_from(
        &self,
        kind: NameKind,
        prefix: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, DbError> {
        let rows: Vec<(String,)> = self
            .all(
                "SELECT name FROM names WHERE kind = $1 AND name >= $2 AND name < $3 AND name > $4 ORDER BY name LIMIT $5",
                args![kind.as_str(), prefix, end_of(prefix), after, limit],
            )
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Names that hold `text` anywhere, sorted.
    pub async fn names_with(&self, kind: NameKind, text: &str, limit: i64) -> Result<Vec<String>, DbError> {
        let rows: Vec<(String,)> = self
            .all(
                "SELECT name FROM names WHERE kind = $1 AND name LIKE $2 ESCAPE '\\' ORDER BY name LIMIT $3",
                args![kind.as_str(), format!("%{}%", like(text)), limit],
            )
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Uploads, `source/version`, that set results off and begin with `prefix`, sorted, behind `after`.
    pub async fn triggers_from(&self, prefix: &str, after: &str, limit: i64) -> Result<Vec<String>, DbError> {
        let rows: Vec<(String,)> = self
            .all(
                "SELECT name FROM triggers WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4",
                args![prefix, end_of(prefix), after, limit],
            )
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Public results that an upload set off, the last that came first, before the result `before`.
    pub async fn triggered(
        &self,
        trigger: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE id IN (SELECT d.result FROM triggered d JOIN triggers t ON t.id = d.trigger
                    WHERE t.name = $1 AND ($2 IS NULL OR d.result < $2) ORDER BY d.result DESC LIMIT $3)
                    AND stored AND NOT private ORDER BY id DESC"
            ),
            args![trigger, before, limit],
        )
        .await
    }

    /// Public results of a container, newest first, before `before` (a run id and its number).
    pub async fn results_in(
        &self,
        container: &str,
        before: Option<(String, i64)>,
        limit: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        let (run_id, id) = before.unzip();
        self.all(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE container = $1 AND container <> 'autopkgtest-' || release AND stored AND NOT private
                    AND ($2 IS NULL OR (run_id, id) < ($2, $3)) ORDER BY run_id DESC, id DESC LIMIT $4"
            ),
            args![container, run_id, id, limit],
        )
        .await
    }

    /// Public results of the same test as one, nearest first: those after it, or those before it.
    pub async fn neighbours(
        &self,
        of: &ResultRow,
        after: bool,
        limit: i64,
    ) -> Result<Vec<ResultRow>, DbError> {
        let sql = if after {
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND container = $4 AND run_id > $5 AND stored
                    AND NOT private ORDER BY run_id LIMIT $6"
            )
        } else {
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND container = $4 AND run_id < $5 AND stored
                    AND NOT private ORDER BY run_id DESC LIMIT $6"
            )
        };
        self.all(sql, args![&of.package, &of.release, &of.arch, &of.container, &of.run_id, limit]).await
    }

    /// The exit code of the newest result before each of these, of the same test, in which the test had its say.
    pub async fn said_before(&self, results: &[&ResultRow]) -> Result<Vec<Option<i64>>, DbError> {
        let places: Vec<Place<'_>> = results
            .iter()
            .enumerate()
            .map(|(n, row)| Place {
                n,
                container: &row.container,
                release: &row.release,
                arch: &row.arch,
                package: &row.package,
                run_id: &row.run_id,
            })
            .collect();
        let sql = over!(
            self,
            "SELECT n.n, (SELECT p.exit_code FROM results p WHERE p.package = n.package AND p.release = n.release
                AND p.arch = n.arch AND p.container = n.container AND p.run_id < n.run_id AND p.stored AND NOT p.private
                AND p.exit_code IN (0, 2, 4, 6, 8, 12, 14) ORDER BY p.run_id DESC LIMIT 1) AS code",
            (n BIGINT, container TEXT, release TEXT, arch TEXT, package TEXT, run_id TEXT),
            ""
        );
        let found: Vec<(i64, Option<i64>)> = self.all(sql, args![json(&places)?]).await?;
        let mut codes = vec![None; results.len()];
        for (n, code) in found {
            if let Some(place) = usize::try_from(n).ok().and_then(|n| codes.get_mut(n)) {
                *place = code;
            }
        }
        Ok(codes)
    }

    /// The newest public result of the same test before one that passed or had nothing to test, among the thousand before it.
    pub async fn passed_before(&self, of: &ResultRow) -> Result<Option<ResultRow>, DbError> {
        self.optional(
            concat!(
                "SELECT ",
                result_columns!(),
                " FROM (SELECT * FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND container = $4
                    AND run_id < $5 AND stored AND NOT private ORDER BY run_id DESC LIMIT 1000) results
                  WHERE exit_code IN (0, 2, 8) ORDER BY run_id DESC LIMIT 1"
            ),
            args![&of.package, &of.release, &of.arch, &of.container, &of.run_id],
        )
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_only_what_is_written() {
        assert_eq!((like("a_b%c\\"), end_of("a")), ("a\\_b\\%c\\\\".to_owned(), "a\u{10ffff}".to_owned()));
    }
}
