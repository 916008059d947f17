//! What is kept: the job table, and the object store.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::{
    addresses::readable,
    machine::files,
    words::{Mark, tokens},
};

/// Every row of every table, as text.
pub(crate) async fn dump(url: &str) -> Result<String> {
    let mut database = PgConnection::connect(url).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&mut database)
    .await?;
    let mut all = String::new();
    for table in tables {
        let sql = AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" t"));
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut database).await?;
        all.extend(rows.into_iter().map(|row| format!("{table}: {row}\n")));
    }
    Ok(all)
}

/// The bytes of a SQLite database and the files beside it.
pub(crate) fn sqlite(file: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let mut all = Vec::new();
    for end in ["", "-wal", "-shm"] {
        let path = format!("{}{end}", file.display());
        let Ok(found) = std::fs::metadata(&path) else { continue };
        let mode = found.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{path} has mode {mode:o}");
        all.extend(std::fs::read(path)?);
    }
    Ok(all)
}

/// Each job's state, by its package.
pub(crate) async fn states(url: &str) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT package, state FROM jobs ORDER BY id";
    let rows: Vec<(String, String)> = if url.starts_with("sqlite:") {
        sqlx::query_as(sql).fetch_all(&mut SqliteConnection::connect(url).await?).await?
    } else {
        sqlx::query_as(sql).fetch_all(&mut PgConnection::connect(url).await?).await?
    };
    Ok(rows.into_iter().collect())
}

/// The run id of each result, by its package.
pub(crate) async fn run_ids(url: &str) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT package, run_id FROM results ORDER BY id";
    let rows: Vec<(String, String)> = if url.starts_with("sqlite:") {
        sqlx::query_as(sql).fetch_all(&mut SqliteConnection::connect(url).await?).await?
    } else {
        sqlx::query_as(sql).fetch_all(&mut PgConnection::connect(url).await?).await?
    };
    Ok(rows.into_iter().collect())
}

/// The job table holds every word of an operator's, and no token.
pub(crate) fn job_table(dump: &[u8], mark: &Mark, fields: &[&str]) -> Result<()> {
    let told = tokens(mark, dump);
    ensure!(told.is_empty(), "the job table holds {told:?}");
    holds(mark, dump, fields, "the job table")
}

/// The second control: a word that is hidden elsewhere is where it belongs.
pub(crate) fn holds(mark: &Mark, text: &[u8], fields: &[&str], place: &str) -> Result<()> {
    let words = mark.words(text);
    for field in fields {
        let begin = mark.word(field, "").split_off(1);
        ensure!(words.iter().any(|word| word.starts_with(&begin)), "{place} holds no {field}: {words:?}");
    }
    Ok(())
}

/// The names of all containers, which their owner alone may list.
pub(crate) async fn containers(account: &str, token: &str) -> Result<Vec<String>> {
    let request = reqwest::Client::new().get(account).header("X-Auth-Token", token);
    Ok(request.send().await?.error_for_status()?.text().await?.lines().map(str::to_owned).collect())
}

/// All that can be read of a container, as a user with this token or as nobody: names and contents, unpacked. None where
/// it is refused.
pub(crate) async fn container(account: &str, token: Option<&str>, name: &str) -> Result<Option<String>> {
    let http = reqwest::Client::builder().no_gzip().build()?;
    let get = async |path: &str| {
        let request = http.get(format!("{account}/{name}{path}"));
        let request = match token {
            Some(token) => request.header("X-Auth-Token", token),
            None => request,
        };
        anyhow::Ok(request.send().await?)
    };
    let listing = get("?format=json").await?;
    if matches!(listing.status().as_u16(), 401 | 403) {
        return Ok(None);
    }
    let listing = listing.error_for_status()?.text().await?;
    let objects: Vec<Value> = if listing.is_empty() { vec![] } else { serde_json::from_str(&listing)? };
    let mut all = String::new();
    for object in objects.iter().filter_map(|object| object["name"].as_str()) {
        let bytes = get(&format!("/{object}")).await?.error_for_status()?.bytes().await?;
        all.extend([name, "/", object, "\n", &readable(&bytes), "\n"]);
    }
    Ok(Some(all))
}

/// A store in a folder: what lies in containers that are public, and in those that are not.
pub(crate) fn folder(store: &Path) -> (String, String) {
    let (mut public, mut private) = (String::new(), String::new());
    for file in files(store) {
        let name = file.strip_prefix(store).unwrap_or(&file).display().to_string();
        let hidden = ["private-", "proofhouse-attempts/", "."].iter().any(|begin| name.starts_with(begin));
        let into = if hidden { &mut private } else { &mut public };
        into.extend([&name, "\n", &readable(&std::fs::read(&file).unwrap_or_default()), "\n"]);
    }
    (public, private)
}
