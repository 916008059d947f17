//! The job table with years of results in it, filled past the product, and summed up by it.

use std::time::Instant;

use anyhow::{Context, Result};
use proofhouse_core::db::Database;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use super::made::Made;
use crate::numbers::median;

/// So many bytes, or rows, at once.
const PIECE: usize = 1 << 20;
const ROWS: usize = 500;
/// As the leader does.
const BATCH: i64 = 1000;

/// A connection that may do everything.
pub(crate) enum Filler {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Filler {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(url).await?;
            connection.execute("PRAGMA synchronous = OFF").await?;
            return Ok(Self::Sqlite(connection));
        }
        Ok(Self::Postgres(PgConnection::connect(url).await?))
    }

    pub(crate) async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => connection.execute(sql).await.map(drop),
            Self::Sqlite(connection) => connection.execute(sql).await.map(drop),
        }
        .context("a statement of the bench")
    }

    /// Fills a table with rows that have the same columns, and makes its indexes afterwards.
    pub(crate) async fn fill(&mut self, table: &str, rows: impl Iterator<Item = Value>) -> Result<()> {
        let indexes = self.without_indexes(table).await?;
        let mut rows = rows.peekable();
        let first = rows.peek().and_then(Value::as_object).context("a row")?;
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        let names = names.join(", ");
        match self {
            Self::Postgres(connection) => {
                let mut copy = connection.copy_in_raw(&format!("COPY {table} ({names}) FROM STDIN")).await?;
                let mut piece = String::with_capacity(2 * PIECE);
                for row in rows {
                    line(&row, &mut piece);
                    if piece.len() > PIECE {
                        copy.send(piece.as_bytes()).await?;
                        piece.clear();
                    }
                }
                copy.send(piece.as_bytes()).await?;
                copy.finish().await?;
            }
            Self::Sqlite(connection) => {
                let values: Vec<String> = first.keys().map(|name| format!("value ->> '{name}'")).collect();
                let values = values.join(", ");
                let sql = format!("INSERT INTO {table} ({names}) SELECT {values} FROM json_each($1)");
                let mut all = connection.begin().await?;
                while rows.peek().is_some() {
                    let piece = Value::Array(rows.by_ref().take(ROWS).collect());
                    sqlx::query(AssertSqlSafe(sql.clone()))
                        .bind(piece.to_string())
                        .execute(&mut *all)
                        .await?;
                }
                all.commit().await?;
            }
        }
        for index in indexes {
            self.execute(&index).await?;
        }
        // As statements find it that come when it was there for a while.
        match self {
            Self::Postgres(_) => self.execute(&format!("VACUUM (ANALYZE) {table}")).await,
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Does what a database does by itself in time.
    pub(crate) async fn tidy(&mut self) -> Result<()> {
        match self {
            Self::Postgres(_) => self.execute("VACUUM (ANALYZE)").await,
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// How long the least takes, in milliseconds.
    pub(crate) async fn round_trip(&mut self) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..100 {
            let start = Instant::now();
            self.execute("SELECT 1").await?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(median(&times))
    }

    /// Drops a table's indexes, and gives what makes them anew.
    async fn without_indexes(&mut self, table: &str) -> Result<Vec<String>> {
        let found: Vec<(String, String)> = match self {
            Self::Postgres(connection) => {
                let sql = "SELECT indexname::text, indexdef FROM pg_indexes WHERE tablename = $1
                           AND indexname NOT LIKE '%\\_pkey'";
                sqlx::query_as(sql).bind(table).fetch_all(connection).await?
            }
            Self::Sqlite(connection) => {
                let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = $1 AND sql IS NOT NULL";
                sqlx::query_as(sql).bind(table).fetch_all(connection).await?
            }
        };
        for (name, _) in &found {
            if matches!(self, Self::Postgres(_)) {
                self.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")).await?;
            }
            self.execute(&format!("DROP INDEX IF EXISTS {name}")).await?;
        }
        Ok(found.into_iter().map(|(_, sql)| sql).collect())
    }
}

/// A row as COPY reads it.
fn line(row: &Value, out: &mut String) {
    for (n, value) in row.as_object().into_iter().flat_map(serde_json::Map::values).enumerate() {
        if n > 0 {
            out.push('\t');
        }
        match value {
            Value::Null => out.push_str("\\N"),
            Value::String(text) => {
                out.push_str(&text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n"));
            }
            other => out.push_str(&other.to_string()),
        }
    }
    out.push('\n');
}

/// Fills the index with so many results, the oldest first, as they came; the leader has given them editions. Returns how
/// many were written a second.
pub(crate) async fn fill_results(filler: &mut Filler, made: &Made, results: u64) -> Result<f64> {
    let start = Instant::now();
    let rows = (0..results).rev().map(|age| {
        let line = made.result(age);
        json!({
            "container": line.container, "release": line.release, "arch": line.arch, "package": line.package,
            "run_id": line.run_id, "uuid": line.uuid.to_string(), "version": line.version, "triggers": line.triggers,
            "env": line.env, "requester": line.requester, "exit_code": line.exit_code, "duration_seconds": line.seconds,
            "private": line.private, "readable_by": if line.private { "acme" } else { "" }, "rule": "exit-code",
            "stored": true, "recorded_us": made.now.as_microsecond(), "edition": 1 + (results - age) / 1000,
        })
    });
    filler.fill("results", rows).await?;
    Ok(rate(results, start))
}

/// Sums up what is stored, as the leader does; returns how many a second.
pub(crate) async fn sum_up(database: &Database, epoch: i64) -> Result<f64> {
    let (start, mut all) = (Instant::now(), 0);
    loop {
        let given = database.next_edition(epoch, BATCH).await?;
        let summed = database.sum_up(epoch, BATCH).await?;
        if given == 0 && summed == 0 {
            return Ok(rate(all, start));
        }
        all += summed as u64;
    }
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn rate(number: u64, since: Instant) -> f64 {
    number as f64 / since.elapsed().as_secs_f64()
}
