//! What a database of results holds, whoever wrote it.

use std::path::Path;

use anyhow::Result;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// A database, open for reading.
pub(crate) struct Tables(SqliteConnection);

impl Tables {
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Ok(Self(SqliteConnection::connect_with(&options).await?))
    }

    async fn lines(&mut self, sql: &'static str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(sql).fetch_all(&mut self.0).await?)
    }

    /// Every column of every result but the number of its test, with the types of the values.
    pub(crate) async fn results(&mut self) -> Result<Vec<String>> {
        self.lines(
            "SELECT json_array(t.release, t.arch, t.package, r.run_id, r.version, r.triggers, r.duration, r.exitcode,
                r.requester, r.env, typeof(r.duration), typeof(r.exitcode), typeof(r.requester), typeof(r.env))
             FROM test t JOIN result r ON r.test_id = t.id ORDER BY r.run_id, t.package",
        )
        .await
    }

    /// What is current in the archive, and since when that is known.
    pub(crate) async fn versions(&mut self) -> Result<Vec<String>> {
        self.lines(
            "SELECT json_array(release, pocket, component, package, version) FROM current_version
             UNION ALL SELECT json_array(url, timestamp) FROM url_last_checked ORDER BY 1",
        )
        .await
    }

    /// Columns of all tables in their order, with types and keys, and the columns of all indexes.
    pub(crate) async fn schema(&mut self) -> Result<Vec<String>> {
        self.lines(
            "SELECT json_array(m.name, c.cid, c.name, upper(c.type), c.pk) FROM sqlite_schema m, pragma_table_info(m.name) c
                WHERE m.type = 'table'
             UNION ALL
             SELECT json_array(m.tbl_name, m.name, i.seqno, i.name, i.desc) FROM sqlite_schema m, pragma_index_xinfo(m.name) i
                WHERE m.type = 'index' AND i.key
             ORDER BY 1",
        )
        .await
    }
}
