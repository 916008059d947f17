//! The SQLite file that is published.
//!
//! This process alone writes it, with a journal that is gone after each transaction: between two of them the file is whole,
//! and is stored as it lies there. It can be had again from the store and from the job table, so nothing waits for a disk.

use std::path::{Path, PathBuf};

use proofhouse_core::db::PublishedRow;
use sqlx::{
    Connection, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// Rows of one statement: ten values each, of the 32,766 that SQLite takes.
const ROWS_AT_ONCE: usize = 1000;

/// The file, open.
pub(super) struct File {
    path: PathBuf,
    pub(super) connection: SqliteConnection,
}

impl File {
    /// Opens it, and makes what is missing in it.
    pub(super) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut connection).await?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what [`Self::bring`] brought since the last [`Self::take_in`].
    pub(super) async fn forget_brought(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("DELETE FROM incoming").execute(&mut self.connection).await.map(drop)
    }

    /// Brings results to be taken in.
    pub(super) async fn bring(&mut self, rows: &[&PublishedRow]) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO incoming ");
            insert.push_values(rows, |mut values, row| {
                values
                    .push_bind(&row.release)
                    .push_bind(&row.arch)
                    .push_bind(&row.package)
                    .push_bind(&row.run_id)
                    .push_bind(&row.version)
                    .push_bind(&row.triggers)
                    .push_bind(row.duration_seconds)
                    .push_bind(row.exit_code)
                    .push_bind(&row.requester)
                    .push_bind(&row.env);
            });
            insert.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Takes in what was brought, so that results lie in the order of their run ids. What comes with an older id than the
    /// newest moves behind those before it: the work grows with what is newer, and usually nothing is. False: nothing came.
    pub(super) async fn take_in(&mut self) -> Result<bool, sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        let oldest = sqlx::query_scalar::<_, Option<String>>("SELECT min(run_id) FROM incoming");
        let Some(oldest) = oldest.fetch_one(&mut *transaction).await? else { return Ok(false) };
        for statement in [
            "DELETE FROM tail",
            "INSERT OR IGNORE INTO test (release, arch, package)
             SELECT DISTINCT release, arch, package FROM incoming ORDER BY release, arch, package",
            "INSERT OR REPLACE INTO tail
             SELECT t.id, i.run_id, i.version, i.triggers, i.duration, i.exitcode, i.requester, i.env
             FROM incoming i JOIN test t ON t.package = i.package AND t.release = i.release AND t.arch = i.arch",
            "DELETE FROM incoming",
        ] {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        for statement in [
            "INSERT OR IGNORE INTO tail SELECT * FROM result WHERE run_id >= $1",
            "DELETE FROM result WHERE run_id >= $1",
        ] {
            sqlx::query(statement).bind(&oldest).execute(&mut *transaction).await?;
        }
        for statement in
            ["INSERT INTO result SELECT * FROM tail ORDER BY run_id, test_id", "DELETE FROM tail"]
        {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Drops what is older than the run ids that begin with `from`, and what is of another release. False: nothing was.
    pub(super) async fn prune(&mut self, from: &str, releases: &[String]) -> Result<bool, sqlx::Error> {
        let releases = serde_json::Value::from(releases).to_string();
        let mut transaction = self.connection.begin().await?;
        let old = sqlx::query("DELETE FROM result WHERE run_id < $1").bind(from);
        let mut dropped = old.execute(&mut *transaction).await?.rows_affected();
        for statement in [
            "DELETE FROM result WHERE test_id IN
                (SELECT id FROM test WHERE release NOT IN (SELECT value FROM json_each($1)))",
            "DELETE FROM current_version WHERE release NOT IN (SELECT value FROM json_each($1))",
        ] {
            dropped +=
                sqlx::query(statement).bind(&releases).execute(&mut *transaction).await?.rows_affected();
        }
        if dropped > 0 {
            let unused = sqlx::query("DELETE FROM test WHERE id NOT IN (SELECT test_id FROM result)");
            unused.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        if dropped > 0 {
            sqlx::raw_sql("VACUUM").execute(&mut self.connection).await?;
        }
        Ok(dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(package: &str, run_id: &str, exit_code: i64) -> PublishedRow {
        PublishedRow {
            edition: 1,
            id: 1,
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: package.to_owned(),
            run_id: run_id.to_owned(),
            version: "1".to_owned(),
            triggers: "a/1 b/2".to_owned(),
            duration_seconds: 7,
            exit_code,
            requester: String::new(),
            env: String::new(),
        }
    }

    async fn add(file: &mut File, rows: &[PublishedRow]) -> bool {
        file.forget_brought().await.unwrap();
        file.bring(&rows.iter().collect::<Vec<_>>()).await.unwrap();
        file.take_in().await.unwrap()
    }

    async fn run_ids(file: &mut File) -> Vec<(String, String, i64)> {
        let sql = "SELECT t.package, r.run_id, r.exitcode FROM result r JOIN test t ON t.id = r.test_id ORDER BY r.rowid";
        sqlx::query_as(sql).fetch_all(&mut file.connection).await.unwrap()
    }

    fn of(rows: &[(&str, &str, i64)]) -> Vec<(String, String, i64)> {
        rows.iter().map(|(p, r, c)| ((*p).to_owned(), (*r).to_owned(), *c)).collect()
    }

    #[tokio::test]
    async fn results_lie_in_the_order_of_their_run_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut file = File::open(&path).await.unwrap();
        assert!(!add(&mut file, &[]).await);
        assert!(add(&mut file, &[row("b", "2026@", 0), row("a", "2024@", 4)]).await);
        assert!(add(&mut file, &[row("a", "2025@", 0), row("c", "2027@", 0)]).await);
        // Once more, and another result with the same id.
        assert!(add(&mut file, &[row("a", "2024@", 8), row("c", "2025@", 0)]).await);
        let all =
            [("a", "2024@", 8), ("a", "2025@", 0), ("c", "2025@", 0), ("b", "2026@", 0), ("c", "2027@", 0)];
        assert_eq!(run_ids(&mut file).await, of(&all));
        drop(file);
        let mut file = File::open(&path).await.unwrap();
        let releases = ["noble".to_owned()];
        assert!(!file.prune("", &releases).await.unwrap());
        assert!(file.prune("2026", &releases).await.unwrap());
        assert_eq!(run_ids(&mut file).await, of(&all[3..]));
        assert!(file.prune("", &[]).await.unwrap());
        let tests: i64 =
            sqlx::query_scalar("SELECT count(*) FROM test").fetch_one(&mut file.connection).await.unwrap();
        assert_eq!(tests, 0);
        // A plain file, whole as it lies there: version 1 of the format (no WAL), and nothing beside it.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((&bytes[..16], &bytes[18..20]), (&b"SQLite format 3\0"[..], &[1u8, 1][..]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
