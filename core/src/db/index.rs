//! The index, filled from the store: what is there already stays as it is. And how far a rebuild has got.
//!
//! A batch goes to the database as one JSON text: one constant statement for any number of rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError,
    connection::{Tx, args},
};
use crate::{
    index::{FoundRun, StoredResult},
    layout::{Container, Series},
    run_id::RunId,
};

/// A run in a batch.
#[derive(Serialize)]
struct Key<'a> {
    n: usize,
    container: &'a str,
    release: &'a str,
    arch: &'a str,
    package: &'a str,
    run_id: &'a str,
}

impl<'a> Key<'a> {
    fn of(n: usize, run: &'a FoundRun) -> Self {
        let Series { container, pair, package } = &run.series;
        Self {
            n,
            container: container.as_str(),
            release: pair.release.as_str(),
            arch: pair.arch.as_str(),
            package: package.as_str(),
            run_id: run.run_id.as_str(),
        }
    }
}

/// A result in a batch.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    uuid: Option<String>,
    version: &'a str,
    triggers: Option<&'a str>,
    env: &'a str,
    requester: Option<&'a str>,
    exit_code: i32,
    duration_seconds: i64,
    private: bool,
    readable_by: String,
    rule: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(n: usize, result: &'a StoredResult) -> Self {
        let said = &result.said;
        Self {
            key: Key::of(n, &result.run),
            uuid: said.uuid.map(|uuid| uuid.to_string()),
            version: &said.version,
            triggers: said.triggers.as_deref(),
            env: &said.env,
            requester: said.requester.as_deref(),
            exit_code: said.exit_code,
            duration_seconds: said.duration_seconds,
            private: result.run.series.container.is_private(),
            readable_by: result.readable_by.join("\n"),
            rule: said.rule.as_deref(),
        }
    }
}

fn json<T: Serialize>(rows: &[T]) -> Result<String, DbError> {
    serde_json::to_string(rows).map_err(|error| DbError::Value(error.to_string()))
}

macro_rules! keys_of_postgres {
    () => {
        "FROM json_to_recordset($1::json) AS n (n BIGINT, container TEXT, release TEXT, arch TEXT, package TEXT, run_id TEXT"
    };
}
macro_rules! keys_of_sqlite {
    () => {
        "FROM (SELECT value ->> 'n' AS n, value ->> 'container' AS container, value ->> 'release' AS release,
            value ->> 'arch' AS arch, value ->> 'package' AS package, value ->> 'run_id' AS run_id"
    };
}
macro_rules! unless_known {
    () => {
        " WHERE NOT EXISTS (SELECT 1 FROM results r WHERE r.container = n.container AND r.release = n.release
            AND r.arch = n.arch AND r.package = n.package AND r.run_id = n.run_id)"
    };
}
macro_rules! insert {
    () => {
        // A job only where everything else is the same: a file in the store can claim any uuid.
        "INSERT INTO results (job_id, container, release, arch, package, run_id, uuid, version, triggers, env, requester,
            exit_code, duration_seconds, private, readable_by, rule, stored, recorded_us)
         SELECT (SELECT j.id FROM jobs j WHERE j.id = coalesce((SELECT id FROM jobs WHERE uuid = n.uuid),
                    (SELECT job_id FROM job_uuids WHERE uuid = n.uuid))
                AND j.release = n.release AND j.arch = n.arch AND j.package = n.package AND j.private = n.private),
            n.container, n.release, n.arch, n.package, n.run_id, n.uuid, n.version, n.triggers, n.env, n.requester,
            n.exit_code, n.duration_seconds, n.private, n.readable_by, n.rule, $2, $3 "
    };
}
macro_rules! unless_there {
    () => {
        " WHERE true ORDER BY n.n ON CONFLICT (container, release, arch, package, run_id) DO NOTHING"
    };
}

const UNKNOWN_POSTGRES: &str = concat!("SELECT n.n ", keys_of_postgres!(), ") ", unless_known!());
const UNKNOWN_SQLITE: &str =
    concat!("SELECT n.n ", keys_of_sqlite!(), " FROM json_each($1)) AS n ", unless_known!());
const INSERT_POSTGRES: &str = concat!(
    insert!(),
    keys_of_postgres!(),
    ", uuid TEXT, version TEXT, triggers TEXT, env TEXT, requester TEXT, exit_code BIGINT, duration_seconds BIGINT,
        private BOOLEAN, readable_by TEXT, rule TEXT)",
    unless_there!()
);
const INSERT_SQLITE: &str = concat!(
    insert!(),
    keys_of_sqlite!(),
    ", value ->> 'uuid' AS uuid, value ->> 'version' AS version, value ->> 'triggers' AS triggers, value ->> 'env' AS env,
        value ->> 'requester' AS requester, value ->> 'exit_code' AS exit_code,
        value ->> 'duration_seconds' AS duration_seconds, value ->> 'private' AS private,
        value ->> 'readable_by' AS readable_by, value ->> 'rule' AS rule FROM json_each($1)) AS n",
    unless_there!()
);

macro_rules! raise {
    () => {
        "INSERT INTO series (container, release, arch, package, last_run_id)
         SELECT n.container, n.release, n.arch, n.package, n.run_id "
    };
}
macro_rules! where_greater {
    () => {
        " ON CONFLICT (container, release, arch, package) DO UPDATE SET last_run_id = excluded.last_run_id
         WHERE series.last_run_id < excluded.last_run_id"
    };
}
const RAISE_ONE: &str = concat!(
    "INSERT INTO series (container, release, arch, package, last_run_id) VALUES ($1, $2, $3, $4, $5)",
    where_greater!()
);
const RAISE_POSTGRES: &str =
    concat!(raise!(), keys_of_postgres!(), ") WHERE true ORDER BY n.n", where_greater!());
const RAISE_SQLITE: &str = concat!(
    raise!(),
    keys_of_sqlite!(),
    " FROM json_each($1)) AS n WHERE true ORDER BY n.n",
    where_greater!()
);

/// How far a rebuild has got in a container.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Reindexed {
    /// Objects up to this name were looked at.
    pub marker: String,
    /// All of them were.
    pub finished: bool,
}

impl Database {
    /// Those of `runs` that are not in the index, by their places in the list.
    pub async fn unknown_runs(&self, runs: &[FoundRun]) -> Result<BTreeSet<usize>, DbError> {
        let keys: Vec<Key<'_>> = runs.iter().enumerate().map(|(n, run)| Key::of(n, run)).collect();
        let sql = if self.is_sqlite() { UNKNOWN_SQLITE } else { UNKNOWN_POSTGRES };
        let rows: Vec<(i64,)> = self.all(sql, args![json(&keys)?]).await?;
        Ok(rows.into_iter().filter_map(|(n,)| usize::try_from(n).ok()).collect())
    }

    /// Adds results that the index does not have; those that it has stay as they are. Gives how many were new.
    ///
    /// What is published later gets a greater run id than any of `seen`, the results' runs or more. `progress` is how far a
    /// rebuild has got with it in a container.
    pub async fn index(
        &self,
        seen: &[FoundRun],
        results: &[StoredResult],
        progress: Option<(&Container, &str)>,
    ) -> Result<u64, DbError> {
        let mut sorted: Vec<&StoredResult> = results.iter().collect();
        // In one order everywhere: two that add the same rows never wait for each other in a ring.
        sorted.sort_by(|a, b| a.run.cmp(&b.run));
        let rows: Vec<Row<'_>> =
            sorted.into_iter().enumerate().map(|(n, result)| Row::of(n, result)).collect();
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        let sql = if self.is_sqlite() { INSERT_SQLITE } else { INSERT_POSTGRES };
        let new = if rows.is_empty() { 0 } else { tx.execute(sql, args![json(&rows)?, true, now]).await? };
        let last: Vec<Key<'_>> = greatest(seen).enumerate().map(|(n, run)| Key::of(n, run)).collect();
        let sql = if self.is_sqlite() { RAISE_SQLITE } else { RAISE_POSTGRES };
        tx.execute(sql, args![json(&last)?]).await?;
        if let Some((container, marker)) = progress {
            tx.execute(
                "INSERT INTO reindexed (container, marker, finished) VALUES ($1, $2, $3)
                 ON CONFLICT (container) DO UPDATE SET marker = excluded.marker, finished = excluded.finished",
                args![container.as_str(), marker, false],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(new)
    }

    /// How far a rebuild has got in a container. None where none has begun.
    pub async fn reindexed(&self, container: &Container) -> Result<Option<Reindexed>, DbError> {
        self.optional(
            "SELECT marker, finished FROM reindexed WHERE container = $1",
            args![container.as_str()],
        )
        .await
    }

    /// A rebuild has looked at everything in a container.
    pub async fn reindex_finished(&self, container: &Container) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO reindexed (container, marker, finished) VALUES ($1, '', $2)
             ON CONFLICT (container) DO UPDATE SET finished = excluded.finished",
            args![container.as_str(), true],
        )
        .await
        .map(drop)
    }

    /// Forgets how far a rebuild has got in a container: the next one begins at its start.
    pub async fn reindex_anew(&self, container: &Container) -> Result<(), DbError> {
        self.execute("DELETE FROM reindexed WHERE container = $1", args![container.as_str()]).await.map(drop)
    }

    /// Has the leader sum all results up anew. Of results that were deleted the summaries still know, and would count them
    /// twice once they are back.
    ///
    /// Who rebuilds may change the index and no summary. So it takes the edition of one result away: 0, which the leader never
    /// gives, tells it to begin anew and to give another one.
    pub async fn sum_up_anew(&self) -> Result<(), DbError> {
        self.execute(
            "UPDATE results SET edition = 0
             WHERE id = (SELECT id FROM results WHERE edition > 0 ORDER BY edition, id LIMIT 1)",
            vec![],
        )
        .await
        .map(drop)
    }

    /// True where a result has this number.
    pub async fn is_result(&self, number: i64) -> Result<bool, DbError> {
        let sql = "SELECT id FROM results WHERE id = $1";
        Ok(self.optional::<(i64,)>(sql, args![number]).await?.is_some())
    }

    /// The greatest number of a result that came with this edition.
    pub async fn last_of_edition(&self, edition: i64) -> Result<Option<i64>, DbError> {
        let (last,): (Option<i64>,) =
            self.one("SELECT max(id) FROM results WHERE edition = $1", args![edition]).await?;
        Ok(last)
    }
}

/// The run with the greatest id of each series, in the series' order.
fn greatest(runs: &[FoundRun]) -> impl Iterator<Item = &FoundRun> {
    let mut all: BTreeMap<&Series, &FoundRun> = BTreeMap::new();
    for run in runs {
        let last = all.entry(&run.series).or_insert(run);
        if last.run_id < run.run_id {
            *last = run;
        }
    }
    all.into_values()
}

impl Tx<'_> {
    /// Remembers a run id of a series where it is greater than the last one. False where it is not.
    pub(super) async fn raise_series(&mut self, series: &Series, run_id: &RunId) -> Result<bool, DbError> {
        let Series { container, pair, package } = series;
        let raised = self
            .execute(
                RAISE_ONE,
                args![
                    container.as_str(),
                    pair.release.as_str(),
                    pair.arch.as_str(),
                    package.as_str(),
                    run_id.as_str()
                ],
            )
            .await?;
        Ok(raised == 1)
    }
}
