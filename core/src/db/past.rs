//! What pages show of the past, from summaries: lists by key, none of them longer to read than it is to show.

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError, ResultRow,
    connection::args,
    results::result_columns,
    summary::{json, over, rows},
};

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

/// A name that is looked for.
#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A source package with results.
    Package,
    /// Somebody who asked.
    User,
    /// A PPA, `owner-name`, as its containers have it.
    Ppa,
}

impl NameKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::User => "user",
            Self::Ppa => "ppa",
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

/// A pattern for LIKE, with `\\` before what it would take for more than itself.
fn like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The end of what begins so: behind every character of a name.
fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

impl Database {
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

    /// Names that hold `text` anywhere, sorted, behind `after`.
    pub async fn names_with(
        &self,
        kind: NameKind,
        text: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, DbError> {
        let rows: Vec<(String,)> = self
            .all(
                "SELECT name FROM names WHERE kind = $1 AND name LIKE $2 ESCAPE '\\' AND name > $3 ORDER BY name LIMIT $4",
                args![kind.as_str(), format!("%{}%", like(text)), after, limit],
            )
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Those of these names that there are.
    pub async fn known_names(&self, kind: NameKind, names: &[&str]) -> Result<Vec<String>, DbError> {
        let names: Vec<Name<'_>> = names.iter().map(|name| Name { name }).collect();
        let sql = over!(
            self,
            "SELECT DISTINCT k.name",
            (name TEXT),
            "JOIN names k ON k.kind = $2 AND k.name = n.name"
        );
        let rows: Vec<(String,)> = self.all(sql, args![json(&names)?, kind.as_str()]).await?;
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
                " FROM results WHERE id IN (SELECT d.result FROM triggered d
                    WHERE d.trigger = (SELECT id FROM triggers WHERE name = $1) AND d.result < $2
                    ORDER BY d.result DESC LIMIT $3)
                    AND stored AND NOT private ORDER BY id DESC"
            ),
            args![trigger, before.unwrap_or(i64::MAX), limit],
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
