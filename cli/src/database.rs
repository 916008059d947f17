//! `proofhouse database migrate`.

use anyhow::Result;
use proofhouse_core::{config::DatabaseUrl, db::SchemaState};

use crate::{connect, print, roles, servers::Servers, status::Status};

pub(crate) async fn migrate(servers: &Servers) -> Result<Status> {
    let config = servers.config()?;
    if let DatabaseUrl::Sqlite(path) = config.database()?
        && let Some(folder) = path.parent()
    {
        roles::make_folder(folder)?;
    }
    let database = connect::database(&config)?;
    let before = database.schema().await?;
    database.migrate().await?;
    let (address, now) = (database.address(), database.needed_version());
    let said = match before {
        SchemaState::Empty => format!("{address} is set up with schema version {now}\n"),
        SchemaState::Version(old) if old >= now => {
            format!("{address} has schema version {old}: nothing to do\n")
        }
        SchemaState::Version(old) => format!("{address} went from schema version {old} to {now}\n"),
    };
    print::text(&said)?;
    database.close().await;
    Ok(Status::Done)
}
