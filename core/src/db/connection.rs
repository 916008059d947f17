//! Pools, transactions and values, the same for both databases.

use std::{str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sqlx::{
    Arguments, ConnectOptions, Executor, FromRow, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::nodelay;
use crate::tls::{self, Authorities};

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL is not usable.
    #[error("the database URL is not usable: {0}")]
    Url(String),
    /// The server cannot be reached, or the link broke. Try again.
    #[error("the database at {address} is away")]
    Away {
        /// Without the password.
        address: String,
        /// The cause.
        source: sqlx::Error,
    },
    /// Whoever answers is not trusted, or does not speak TLS. Try again: an operator must mend it.
    #[error("the database at {address} cannot be trusted: {reason}")]
    Unsafe {
        /// Without the password.
        address: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The schema is not the one this program works with.
    #[error("the database at {address} has schema version {found}, this program needs {needed}: {advice}")]
    Schema {
        /// Without the password.
        address: String,
        /// The version found; 0 where there is none.
        found: i64,
        /// The version needed.
        needed: i64,
        /// What to do.
        advice: &'static str,
    },
    /// Another dispatcher leads by now.
    #[error("leadership was lost (epoch {0} is over)")]
    LeadershipLost(i64),
    /// The role that the URL names lacks a right.
    #[error("the database at {address} does not let its role do that: {advice}")]
    Forbidden {
        /// Without the password.
        address: String,
        /// What to do.
        advice: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("a database statement failed")]
    Statement(#[source] sqlx::Error),
    /// A stored value cannot be read.
    #[error("the database holds a value that cannot be read: {0}")]
    Value(String),
}

impl DbError {
    /// True where the same call may work later.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Unsafe { .. })
    }
}

/// The server ends a transaction whose client hangs or vanished before a leadership ends: it holds locks that the next leader
/// needs, that of the leadership itself before all; and another of the same client may wait for them.
///
/// Nor is a statement of ours one that compiling makes faster.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '3s'; SET jit = off";

/// What a page asks for is ended after so long: whoever asked has gone, and others wait for the connection.
const SESSION_OF_PAGES: &str =
    "SET idle_in_transaction_session_timeout = '3s'; SET jit = off; SET statement_timeout = '10s'";

/// What is known of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// Nothing is set up.
    Empty,
    /// The version found.
    Version(i64),
}

/// A value in a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(bool),
    /// Lists: an array for PostgreSQL, JSON for SQLite.
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bools(Vec<bool>),
}

macro_rules! value_from {
    ($($type:ty, $v:ident => $value:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($v: $type) -> Self {
                $value
            }
        }
    )*};
}
value_from! {
    i64, v => Self::Int(Some(v));
    i32, v => Self::Int(Some(i64::from(v)));
    Option<i64>, v => Self::Int(v);
    bool, v => Self::Bool(v);
    &str, v => Self::Text(Some(v.to_owned()));
    &String, v => Self::Text(Some(v.clone()));
    String, v => Self::Text(Some(v));
    Option<String>, v => Self::Text(v);
    Option<&str>, v => Self::Text(v.map(str::to_owned));
    Vec<u8>, v => Self::Bytes(Some(v));
    &[u8], v => Self::Bytes(Some(v.to_vec()));
    Option<Vec<u8>>, v => Self::Bytes(v);
    Vec<Option<i64>>, v => Self::Ints(v);
    Vec<Option<String>>, v => Self::Texts(v);
    Vec<bool>, v => Self::Bools(v);
}

/// Values of a statement, in the order of their placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::connection::Value::from($value)),*] };
}
pub(crate) use args;

/// A row type that both databases can fill.
pub(crate) trait Row:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}
impl<T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for T {}

/// The arguments of a statement, for either database.
fn arguments<A: Default, E>(values: Vec<Value>, add: impl Fn(&mut A, Value) -> Result<(), E>) -> A {
    let mut arguments = A::default();
    for value in values {
        // Encoding fails for composite types alone, and a value here is none.
        let _ = add(&mut arguments, value);
    }
    arguments
}

fn postgres(values: Vec<Value>) -> PgArguments {
    arguments(values, |all: &mut PgArguments, value| match value {
        Value::Int(v) => all.add(v),
        Value::Text(v) => all.add(v),
        Value::Bytes(v) => all.add(v),
        Value::Bool(v) => all.add(v),
        Value::Ints(v) => all.add(v),
        Value::Texts(v) => all.add(v),
        Value::Bools(v) => all.add(v),
    })
}

fn sqlite(values: Vec<Value>) -> SqliteArguments {
    arguments(values, |all: &mut SqliteArguments, value| match value {
        Value::Int(v) => all.add(v),
        Value::Text(v) => all.add(v),
        Value::Bytes(v) => all.add(v),
        Value::Bool(v) => all.add(v),
        Value::Ints(v) => all.add(json(&v)),
        Value::Texts(v) => all.add(json(&v)),
        Value::Bools(v) => all.add(json(&v)),
    })
}

/// A list of plain values, which always has a form in JSON.
fn json(list: &impl Serialize) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

#[derive(Clone, Debug)]
enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// The database. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    address: String,
}

/// A transaction of either database.
pub(crate) enum Tx<'a> {
    Postgres(Transaction<'a, Postgres>, &'a str),
    Sqlite(Transaction<'a, Sqlite>, &'a str),
}

/// Sorts sqlx's errors into "away" and the rest.
fn sort_error(address: &str, error: sqlx::Error) -> DbError {
    if let Some(reason) = explain(&error) {
        return DbError::Unsafe { address: address.to_owned(), reason };
    }
    if matches!(&error, sqlx::Error::Database(e) if e.code().is_some_and(|code| code == FORBIDDEN)) {
        return DbError::Forbidden { address: address.to_owned(), advice: GRANT, source: error };
    }
    let away = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // 57xxx: the server stops or starts, or somebody ended the statement; 53xxx: out of connections, memory or disk;
        // 58xxx: its disk fails; 55xxx: a lock of an operator's; 08xxx: connection.
        // 25P03: the server ended a transaction of ours that was idle for too long; 25006: read only (a fail-over under way); 28xxx/3Dxxx at connect: an operator is at work on it.
        sqlx::Error::Database(e) => e.code().is_some_and(|c| {
            let prefixes = ["57", "53", "58", "55", "08", "25P03", "25006", "28", "3D", "40"];
            if address.starts_with("sqlite:") {
                sqlite_away(&c)
            } else {
                prefixes.iter().any(|p| c.starts_with(p))
            }
        }),
        _ => false,
    };
    if away {
        DbError::Away { address: address.to_owned(), source: error }
    } else {
        DbError::Statement(error)
    }
}

/// PostgreSQL's "insufficient privilege".
const FORBIDDEN: &str = "42501";

/// What helps where a role lacks a right.
const GRANT: &str = "run deploy/postgres/roles.sql as the owner of the database, anew after every migration";
const SET_UP: &str = "the database is empty: run `proofhouse database migrate` as the owner of the database, then \
                      deploy/postgres/roles.sql";

/// What a failed handshake of TLS means.
fn explain(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Tls(cause) if cause.to_string().contains("does not support TLS") => Some(
            "it takes no TLS connections: switch them on there (ssl = on), or ask for none with sslmode=disable"
                .to_owned(),
        ),
        error => tls::explain(error),
    }
}

/// SQLite's codes that may pass: busy, locked, out of memory, an error of the disk, full, cannot be opened. The last byte
/// is the code, what stands before it says more about it.
fn sqlite_away(code: &str) -> bool {
    code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 10 | 13 | 14))
}

/// True where the URL itself says which authorities are trusted.
fn names_authorities(url: &str) -> bool {
    let url = url::Url::parse(url);
    url.is_ok_and(|url| {
        url.query_pairs().any(|(key, _)| matches!(&*key, "sslrootcert" | "ssl-root-cert" | "ssl-ca"))
    })
}

impl Database {
    /// Opens a pool. Connects when first needed: a server that is away is no error here.
    ///
    /// `url`: `postgres://user[:password]@host[:port]/name[?…]` or `sqlite://path`; the password may come by itself.
    pub fn open(url: &str, password: Option<&SecretString>) -> Result<Self, DbError> {
        Self::open_as(url, password, &Authorities::default(), SESSION)
    }

    /// As [`Database::open`]; these may sign the server's certificate beside those that the system trusts, unless the URL
    /// names some by `sslrootcert`. Whether it is looked at is the URL's `sslmode` (`verify-full`).
    pub fn open_trusting(
        url: &str,
        password: Option<&SecretString>,
        authorities: &Authorities,
    ) -> Result<Self, DbError> {
        Self::open_as(url, password, authorities, SESSION)
    }

    /// The same for pages: none of its statements takes longer than ten seconds.
    pub fn open_for_pages(url: &str, authorities: &Authorities) -> Result<Self, DbError> {
        Self::open_as(url, None, authorities, SESSION_OF_PAGES)
    }

    fn open_as(
        url: &str,
        password: Option<&SecretString>,
        authorities: &Authorities,
        session: &'static str,
    ) -> Result<Self, DbError> {
        match url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Self::open_postgres(url, password, authorities, session),
            Some(("sqlite", path)) => Self::open_sqlite(path),
            _ => Err(DbError::Url("it begins with postgres:// or sqlite://".to_owned())),
        }
    }

    fn open_postgres(
        url: &str,
        password: Option<&SecretString>,
        authorities: &Authorities,
        session: &'static str,
    ) -> Result<Self, DbError> {
        let bad = || DbError::Url("postgres://USER[:PASSWORD]@HOST[:PORT]/NAME".to_owned());
        let mut options = PgConnectOptions::from_str(url).map_err(|_| bad())?;
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        if let Some(pem) = authorities.pem()
            && !names_authorities(url)
        {
            options = options.ssl_root_cert_from_pem(pem.into());
        }
        let address = format!(
            "postgres://{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let options = options.application_name("proofhouse").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(move |connection, _| {
                nodelay::everywhere();
                Box::pin(async move { connection.execute(session).await.map(drop) })
            })
            .connect_lazy_with(options);
        Ok(Self { pool: Pool::Postgres(pool), address })
    }

    fn open_sqlite(path: &str) -> Result<Self, DbError> {
        let path = path.split('?').next().unwrap_or_default();
        if path.is_empty() {
            return Err(DbError::Url("sqlite://PATH".to_owned()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A request that was acknowledged must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(20))
            .connect_lazy_with(options);
        Ok(Self { pool: Pool::Sqlite(pool), address: format!("sqlite://{path}") })
    }

    /// The address without the password, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// True for SQLite, whose file serves one host.
    pub const fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    fn migrator(&self) -> &'static Migrator {
        if self.is_sqlite() { &SQLITE } else { &POSTGRES }
    }

    /// The schema version that this program works with.
    pub fn needed_version(&self) -> i64 {
        self.migrator().iter().map(|m| m.version).max().unwrap_or(0)
    }

    /// The schema version that the database has.
    pub async fn schema(&self) -> Result<SchemaState, DbError> {
        let exists: (i64,) = self
            .one(
                if self.is_sqlite() {
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'"
                } else {
                    "SELECT count(*) FROM pg_tables WHERE schemaname = ANY (current_schemas(false)) AND tablename = '_sqlx_migrations'"
                },
                vec![],
            )
            .await?;
        if exists.0 == 0 {
            return Ok(SchemaState::Empty);
        }
        let (version,): (i64,) =
            self.one("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success", vec![]).await?;
        Ok(if version == 0 { SchemaState::Empty } else { SchemaState::Version(version) })
    }

    /// Brings the schema to the version that this program needs.
    pub async fn migrate(&self) -> Result<(), DbError> {
        let result = match &self.pool {
            Pool::Postgres(pool) => POSTGRES.run(pool).await,
            Pool::Sqlite(pool) => SQLITE.run(pool).await,
        };
        result.map_err(|error| match error {
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => sort_error(&self.address, e),
            other => DbError::Statement(sqlx::Error::Migrate(Box::new(other))),
        })
    }

    /// Sets an empty database up, and checks the version of one that is not.
    pub async fn prepare(&self) -> Result<(), DbError> {
        let needed = self.needed_version();
        match self.schema().await? {
            SchemaState::Empty => self.migrate().await.map_err(|error| match error {
                DbError::Forbidden { address, source, .. } => {
                    DbError::Forbidden { address, advice: SET_UP, source }
                }
                other => other,
            }),
            // A newer schema was only expanded: this program still runs on it.
            SchemaState::Version(found) if found >= needed => Ok(()),
            SchemaState::Version(found) => Err(DbError::Schema {
                address: self.address.clone(),
                found,
                needed,
                advice: "run `proofhouse database migrate`",
            }),
        }
    }

    /// Asks the database for a sign of life.
    pub async fn check(&self) -> Result<(), DbError> {
        self.one::<(i64,)>("SELECT epoch FROM leadership WHERE id = 1", vec![]).await.map(|_| ())
    }

    /// Closes the pool.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Postgres(pool) => pool.close().await,
            Pool::Sqlite(pool) => pool.close().await,
        }
    }

    /// The error for a database that does not answer.
    pub fn silent(&self) -> DbError {
        DbError::Away { address: self.address.clone(), source: sqlx::Error::PoolTimedOut }
    }

    pub(crate) async fn begin(&self) -> Result<Tx<'_>, DbError> {
        let tx = match &self.pool {
            Pool::Postgres(pool) => pool.begin().await.map(|tx| Tx::Postgres(tx, &self.address)),
            // The write lock at once: a transaction that reads first could not be upgraded while another writes.
            Pool::Sqlite(pool) => {
                pool.begin_with("BEGIN IMMEDIATE").await.map(|tx| Tx::Sqlite(tx, &self.address))
            }
        };
        tx.map_err(|e| sort_error(&self.address, e))
    }

    pub(crate) async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, DbError> {
        let done = match &self.pool {
            Pool::Postgres(pool) => {
                sqlx::query_with(sql, postgres(values)).execute(pool).await.map(|d| d.rows_affected())
            }
            Pool::Sqlite(pool) => {
                sqlx::query_with(sql, sqlite(values)).execute(pool).await.map(|d| d.rows_affected())
            }
        };
        done.map_err(|e| sort_error(&self.address, e))
    }

    pub(crate) async fn all<T: Row>(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<T>, DbError> {
        let rows = match &self.pool {
            Pool::Postgres(pool) => sqlx::query_as_with(sql, postgres(values)).fetch_all(pool).await,
            Pool::Sqlite(pool) => sqlx::query_as_with(sql, sqlite(values)).fetch_all(pool).await,
        };
        rows.map_err(|e| sort_error(&self.address, e))
    }

    pub(crate) async fn optional<T: Row>(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<T>, DbError> {
        let row = match &self.pool {
            Pool::Postgres(pool) => sqlx::query_as_with(sql, postgres(values)).fetch_optional(pool).await,
            Pool::Sqlite(pool) => sqlx::query_as_with(sql, sqlite(values)).fetch_optional(pool).await,
        };
        row.map_err(|e| sort_error(&self.address, e))
    }

    pub(crate) async fn one<T: Row>(&self, sql: &'static str, values: Vec<Value>) -> Result<T, DbError> {
        self.optional(sql, values).await?.ok_or_else(|| DbError::Statement(sqlx::Error::RowNotFound))
    }
}

impl Tx<'_> {
    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, DbError> {
        match self {
            Self::Postgres(tx, address) => sqlx::query_with(sql, postgres(values))
                .execute(&mut **tx)
                .await
                .map(|d| d.rows_affected())
                .map_err(|e| sort_error(address, e)),
            Self::Sqlite(tx, address) => sqlx::query_with(sql, sqlite(values))
                .execute(&mut **tx)
                .await
                .map(|d| d.rows_affected())
                .map_err(|e| sort_error(address, e)),
        }
    }

    pub(crate) async fn all<T: Row>(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<T>, DbError> {
        match self {
            Self::Postgres(tx, address) => sqlx::query_as_with(sql, postgres(values))
                .fetch_all(&mut **tx)
                .await
                .map_err(|e| sort_error(address, e)),
            Self::Sqlite(tx, address) => sqlx::query_as_with(sql, sqlite(values))
                .fetch_all(&mut **tx)
                .await
                .map_err(|e| sort_error(address, e)),
        }
    }

    pub(crate) async fn optional<T: Row>(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<T>, DbError> {
        match self {
            Self::Postgres(tx, address) => sqlx::query_as_with(sql, postgres(values))
                .fetch_optional(&mut **tx)
                .await
                .map_err(|e| sort_error(address, e)),
            Self::Sqlite(tx, address) => sqlx::query_as_with(sql, sqlite(values))
                .fetch_optional(&mut **tx)
                .await
                .map_err(|e| sort_error(address, e)),
        }
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(..))
    }

    pub(crate) async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::Postgres(tx, address) => tx.commit().await.map_err(|e| sort_error(address, e)),
            Self::Sqlite(tx, address) => tx.commit().await.map_err(|e| sort_error(address, e)),
        }
    }
}
