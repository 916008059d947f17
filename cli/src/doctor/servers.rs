//! Whether the servers that are configured can be reached.

use std::time::Duration;

use proofhouse_core::config::{BusUrl, Config, DatabaseUrl, StoreUrl};

use super::{check::Check, machine::free_room};
use crate::connect;

const LIMIT: Duration = Duration::from_secs(10);

/// Room on the disk, and each server that is configured.
pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![disk(config), database(config).await];
    if matches!(config.bus, Some(BusUrl::Amqp(_))) {
        checks.push(bus(config).await);
    }
    checks.push(store(config).await);
    checks
}

fn disk(config: &Config) -> Check {
    let (need, folder) = (config.worker.min_free_bytes >> 20, config.data.display());
    match free_room(&config.data).map(|bytes| bytes >> 20) {
        Some(free) if free >= need => Check::good("disk", format!("{free} MiB free for {folder}")),
        Some(free) => {
            let detail = format!("{free} MiB free for {folder}; work is taken with {need} MiB or more");
            Check::bad("disk", detail, "make room, choose another --data, or lower --min-free-mib")
        }
        None => Check::bad("disk", format!("the room for {folder} cannot be told"), "choose another --data"),
    }
}

async fn database(config: &Config) -> Check {
    let name = "database";
    if let Some(DatabaseUrl::Sqlite(path)) = &config.database
        && !path.exists()
    {
        return Check::good(name, format!("{} will be made at the first start", path.display()));
    }
    let asked = async {
        let database = connect::existing_database(config).await?;
        database.check().await?;
        anyhow::Ok(database.address().to_owned())
    };
    let advice = "start it, check --database and --ca-file, or run `proofhouse database migrate`";
    said(name, tokio::time::timeout(LIMIT, asked).await, advice)
}

async fn bus(config: &Config) -> Check {
    let asked = async {
        let bus = connect::bus(config, "proofhouse doctor")?;
        let up = connect::up(&*bus, LIMIT).await;
        let address = bus.address();
        bus.close().await;
        up.map(|()| address)
    };
    said("broker", Ok(asked.await), "start it, or check --bus with its user and vhost, and --ca-file")
}

async fn store(config: &Config) -> Check {
    if let Some(StoreUrl::Folder(path)) = &config.store
        && !path.exists()
    {
        return Check::good("store", format!("{} will be made at the first start", path.display()));
    }
    let asked = async {
        let store = connect::store(config)?;
        store.check().await?;
        anyhow::Ok(store.address())
    };
    let advice =
        "start it, or check --store, --ca-file and the credentials (Swift: OS_*, clouds.yaml; S3: AWS_*)";
    said("store", tokio::time::timeout(LIMIT, asked).await, advice)
}

fn said(
    name: &str,
    answer: Result<anyhow::Result<String>, tokio::time::error::Elapsed>,
    advice: &str,
) -> Check {
    match answer {
        Ok(Ok(address)) => Check::good(name, address),
        Ok(Err(error)) => Check::bad(name, format!("{error:#}"), advice),
        Err(_) => Check::bad(name, format!("no answer within {} seconds", LIMIT.as_secs()), advice),
    }
}
