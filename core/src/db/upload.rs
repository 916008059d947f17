//! All that one upload set off, as narrow rows: the largest set off more than a hundred thousand tests.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError,
    connection::args,
    sets::numbers,
    summary::{json, over, rows},
};
use crate::request::Request;

/// So many tests are looked at in one statement.
const AT_ONCE: usize = 5000;

/// A result that an upload set off.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UploadResult {
    /// Its number.
    pub id: i64,
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
    /// autopkgtest's exit code, or ours.
    pub exit_code: i64,
}

/// An unfinished job that an upload set off.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UploadJob {
    /// Its number.
    pub id: i64,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// Where it stands, as the table has it.
    pub state: String,
    /// Where it stands while it waits.
    pub lane: Option<String>,
    /// The request's body, where it may name a PPA; else empty.
    pub body: String,
}

/// A test, and the run before which its past is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestBefore<'a> {
    /// The container.
    pub container: &'a str,
    /// The release.
    pub release: &'a str,
    /// The architecture.
    pub arch: &'a str,
    /// The package.
    pub package: &'a str,
    /// The run id.
    pub run_id: &'a str,
}

#[derive(Serialize)]
struct Numbered<'a> {
    n: usize,
    #[serde(flatten)]
    test: &'a TestBefore<'a>,
}

/// What a test said before: exit codes in which it had its say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaidBefore {
    /// Of the newest baseline, `migration-reference/0`.
    pub baseline: Option<i64>,
    /// Of the newest run before.
    pub before: Option<i64>,
}

macro_rules! open_jobs {
    ($filter:literal) => {
        concat!(
            "SELECT id, release, arch, package, state, lane, CASE WHEN body LIKE '%ppas%' THEN body ELSE '' END AS body
             FROM jobs WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked') AND NOT private AND ",
            $filter
        )
    };
}

impl Database {
    /// Public results that an upload set off, the `limit` that came last, those first.
    pub async fn results_of_upload(&self, trigger: &str, limit: i64) -> Result<Vec<UploadResult>, DbError> {
        self.all(
            "SELECT r.id, r.container, r.release, r.arch, r.package, r.run_id, r.exit_code
             FROM (SELECT result FROM triggered WHERE trigger = (SELECT id FROM triggers WHERE name = $1)
                   ORDER BY result DESC LIMIT $2) d
             JOIN results r ON r.id = d.result WHERE r.stored AND NOT r.private ORDER BY r.id DESC",
            args![trigger, limit],
        )
        .await
    }

    /// Unfinished public jobs whose first trigger is this upload.
    pub async fn jobs_of_upload(&self, trigger: &str) -> Result<Vec<UploadJob>, DbError> {
        self.all(open_jobs!("trigger = $1 ORDER BY id"), args![trigger]).await
    }

    /// Those of these jobs that are unfinished and public.
    pub async fn upload_jobs(&self, ids: &[i64]) -> Result<Vec<UploadJob>, DbError> {
        let sql = if self.is_sqlite() {
            open_jobs!("id IN (SELECT value FROM json_each($1)) ORDER BY id")
        } else {
            open_jobs!("id = ANY($1) ORDER BY id")
        };
        if ids.is_empty() { Ok(Vec::new()) } else { self.all(sql, args![numbers(ids)]).await }
    }

    /// The numbers of unfinished public jobs by each trigger that is not their first. It reads all unfinished jobs: not for
    /// each page.
    pub async fn further_triggers(&self) -> Result<HashMap<String, Vec<i64>>, DbError> {
        // Two triggers have two slashes.
        let rows: Vec<(i64, String)> = self
            .all(
                "SELECT id, body FROM jobs WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked')
                    AND NOT private AND body LIKE '%/%/%' ORDER BY id",
                vec![],
            )
            .await?;
        let mut further: HashMap<String, Vec<i64>> = HashMap::new();
        for (id, body) in rows {
            let Ok(request) = Request::parse(body.as_bytes()) else { continue };
            for trigger in request.triggers.iter().skip(1).filter(|_| !request.is_private()) {
                further.entry(trigger.to_string()).or_default().push(id);
            }
        }
        Ok(further)
    }

    /// What each of these tests said before a run.
    pub async fn said_before_runs(&self, tests: &[TestBefore<'_>]) -> Result<Vec<SaidBefore>, DbError> {
        let sql = over!(
            self,
            "SELECT n.n,
                (SELECT b.exit_code FROM results b WHERE b.package = n.package AND b.release = n.release AND b.arch = n.arch
                    AND b.container = n.container AND b.triggers = 'migration-reference/0' AND b.stored AND NOT b.private
                    AND b.exit_code IN (0, 2, 4, 6, 8, 12, 14) ORDER BY b.run_id DESC LIMIT 1) AS baseline,
                (SELECT p.exit_code FROM results p WHERE p.package = n.package AND p.release = n.release AND p.arch = n.arch
                    AND p.container = n.container AND p.run_id < n.run_id AND p.stored AND NOT p.private
                    AND p.exit_code IN (0, 2, 4, 6, 8, 12, 14) ORDER BY p.run_id DESC LIMIT 1) AS before",
            (n BIGINT, container TEXT, release TEXT, arch TEXT, package TEXT, run_id TEXT),
            ""
        );
        let mut said = vec![SaidBefore::default(); tests.len()];
        for (tests, said) in tests.chunks(AT_ONCE).zip(said.chunks_mut(AT_ONCE)) {
            let numbered: Vec<Numbered<'_>> =
                tests.iter().enumerate().map(|(n, test)| Numbered { n, test }).collect();
            let found: Vec<(i64, Option<i64>, Option<i64>)> = self.all(sql, args![json(&numbered)?]).await?;
            for (n, baseline, before) in found {
                if let Some(place) = usize::try_from(n).ok().and_then(|n| said.get_mut(n)) {
                    *place = SaidBefore { baseline, before };
                }
            }
        }
        Ok(said)
    }
}
