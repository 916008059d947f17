//! The servers of a configuration, opened; and a database that an operator's command may read.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use proofhouse_core::{
    bus::{self, Bus},
    config::{BusUrl, Config, DatabaseUrl, Role, StoreUrl},
    db::{Database, DbError, SchemaState},
    store::{self, Store},
};
use url::Url;

use crate::status::{Away, Misuse};

/// The job table. Nothing is asked of it yet.
pub(crate) fn database(config: &Config) -> Result<Database> {
    let url = match config.database()? {
        DatabaseUrl::Postgres(url) => url.to_string(),
        sqlite @ DatabaseUrl::Sqlite(_) => sqlite.to_string(),
    };
    Ok(match config.role {
        Role::Web => Database::open_for_pages(&url, &config.authorities)?,
        _ => Database::open_trusting(&url, None, &config.authorities)?,
    })
}

/// The job table for an operator's command: it must be there, with a schema that this program can read.
pub(crate) async fn existing_database(config: &Config) -> Result<Database> {
    let database = readable_database(config)?;
    let (needed, address) = (database.needed_version(), database.address().to_owned());
    let found = match database.schema().await? {
        SchemaState::Version(found) if found >= needed => return Ok(database),
        SchemaState::Version(found) => found,
        SchemaState::Empty => 0,
    };
    let advice = "run `proofhouse database migrate`";
    Err(DbError::Schema { address, found, needed, advice }.into())
}

/// As [`existing_database`], whatever its schema.
pub(crate) fn readable_database(config: &Config) -> Result<Database> {
    if let DatabaseUrl::Sqlite(path) = config.database()?
        && !path.exists()
    {
        // SQLite would make an empty one.
        let said = format!(
            "there is no database at {}: start `proofhouse up` with the same --data, or say where it is with --database",
            path.display()
        );
        return Err(Misuse(said).into());
    }
    database(config)
}

/// The bus; `name` is what the broker's operators see.
pub(crate) fn bus(config: &Config, name: &str) -> Result<Arc<dyn Bus>> {
    let url = match config.bus()? {
        BusUrl::Local => "local:",
        BusUrl::Amqp(url) => url.as_str(),
    };
    Ok(bus::connect_trusting(url, name, &config.authorities)?)
}

/// Waits until the broker has let us in.
pub(crate) async fn up(bus: &dyn Bus, limit: Duration) -> Result<()> {
    let mut link = bus.link();
    if let Ok(Ok(_)) = tokio::time::timeout(limit, link.wait_for(|link| link.up)).await {
        return Ok(());
    }
    let silent = || format!("the broker at {} does not answer", bus.address());
    Err(Away(bus.trouble().unwrap_or_else(silent)).into())
}

/// The object store. Nothing is asked of it yet.
pub(crate) fn store(config: &Config) -> Result<Arc<dyn Store>> {
    let url = match config.store()? {
        StoreUrl::Swift(url) => format!("swift+{url}"),
        StoreUrl::S3(address) => address.to_string(),
        StoreUrl::Folder(path) => folder_url(path)?,
    };
    Ok(store::open_trusting(&url, &|name| std::env::var(name).ok(), &config.authorities)?)
}

fn folder_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("{} is no folder", path.display()))?;
    Url::from_file_path(&path)
        .map(String::from)
        .map_err(|()| anyhow!("{} cannot be written as a URL", path.display()))
}

#[cfg(test)]
mod tests {
    use proofhouse_core::config::Options;

    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_wrong_usage() {
        let data = tempfile::tempdir().unwrap().path().join("none").display().to_string();
        let config =
            Config::load(Role::Operator, &Options::default(), [("PROOFHOUSE_DATA".to_owned(), data)]);
        let error = readable_database(&config.unwrap()).unwrap_err();
        assert!(error.is::<Misuse>(), "{error}");
    }

    #[test]
    fn a_folder_with_odd_characters_is_a_url() {
        assert_eq!(folder_url(Path::new("/a b/c%d")).unwrap(), "file:///a%20b/c%25d");
        assert!(folder_url(Path::new("data")).unwrap().ends_with("/data"));
    }
}
