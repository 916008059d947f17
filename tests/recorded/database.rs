//! A database of either kind at any version of the schema, filled by SQL.

use std::path::Path;

use anyhow::{Context, Result};
use proofhouse_core::db::Database;
use proofhouse_tests::shared;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, migrate::Migrator};
use tempfile::TempDir;

/// A value of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Nothing,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_owned())
    }
}

enum Connected {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// A database of a test.
pub(crate) struct Raw {
    url: String,
    connected: Connected,
    /// Of SQLite's file.
    _folder: Option<TempDir>,
}

macro_rules! bound {
    ($sql:expr, $values:expr) => {
        $values.into_iter().fold(sqlx::query(AssertSqlSafe($sql)), |query, value| match value {
            Value::Int(v) => query.bind(v),
            Value::Text(v) => query.bind(v),
            Value::Bytes(v) => query.bind(v),
            Value::Bool(v) => query.bind(v),
            Value::Nothing => query.bind(None::<String>),
        })
    };
}

impl Raw {
    /// An empty one of each kind.
    pub(crate) async fn both(name: &str) -> Result<[Self; 2]> {
        let url = shared::postgres().await?.database(name).await?;
        let connected = Connected::Postgres(PgConnection::connect(&url).await?);
        let postgres = Self { url, connected, _folder: None };
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite://{}", folder.path().join("x.db").display());
        let file = SqliteConnection::connect(&format!("{url}?mode=rwc")).await?;
        Ok([postgres, Self { url, connected: Connected::Sqlite(file), _folder: Some(folder) }])
    }

    /// Brings the schema to a version.
    pub(crate) async fn migrate_to(&mut self, version: i64) -> Result<()> {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/migrations");
        match &mut self.connected {
            Connected::Postgres(c) => {
                Migrator::new(migrations.join("postgres")).await?.run_to(version, c).await?;
            }
            Connected::Sqlite(c) => {
                Migrator::new(migrations.join("sqlite")).await?.run_to(version, c).await?;
            }
        }
        Ok(())
    }

    /// One statement.
    pub(crate) async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<()> {
        let (sql, shown) = (sql.to_owned(), sql.to_owned());
        match &mut self.connected {
            Connected::Postgres(c) => bound!(sql, values).execute(c).await.map(drop),
            Connected::Sqlite(c) => bound!(sql, values).execute(c).await.map(drop),
        }
        .context(shown)
    }

    /// A dump of SQLite's, into either.
    pub(crate) async fn load(&mut self, dump: &str) -> Result<()> {
        match &mut self.connected {
            Connected::Postgres(c) => {
                // The two write bytes differently, and only one takes numbers from a sequence.
                let dump = dump.replace(", X'", ", '\\x");
                sqlx::raw_sql(AssertSqlSafe(dump)).execute(&mut *c).await?;
                let sequences = "SELECT format('SELECT setval(pg_get_serial_sequence(%L, ''id''), (SELECT coalesce(max(id), 0) + 1 FROM %I), false)',
                        table_name, table_name) FROM information_schema.columns
                    WHERE table_schema = 'public' AND column_name = 'id' AND is_identity = 'YES'";
                let statements: Vec<String> = sqlx::query_scalar(sequences).fetch_all(&mut *c).await?;
                for statement in statements {
                    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *c).await?;
                }
            }
            Connected::Sqlite(c) => {
                sqlx::raw_sql(AssertSqlSafe(dump.to_owned())).execute(c).await?;
            }
        }
        Ok(())
    }

    /// As this version opens it.
    pub(crate) fn open(&self) -> Result<Database> {
        Ok(Database::open(&self.url, None)?)
    }
}
