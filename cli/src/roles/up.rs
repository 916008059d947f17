//! The role `up`: all three in one process, with everything embedded where nothing else is configured.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use proofhouse_core::{
    bus::{Bus, local::Local},
    config::{BusUrl, Config, DatabaseUrl, Options, Role, make_seal_keys},
    db::Database,
    lifecycle::BoxError,
    protocol::WorkerId,
    telemetry,
};
use proofhouse_worker::WorkerState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    dispatcher,
    lock::{DataLock, UpFile},
    process::Process,
    web, worker,
};
use crate::status::Status;

const STORE_WITHIN: Duration = Duration::from_secs(20);
/// How long the dispatcher may take to hear that the worker has ended.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Runs until it is told to stop and what it runs is over.
pub(crate) async fn main(options: &Options) -> Result<Status> {
    telemetry::init()?;
    let config = Config::load_here(Role::Up, options)?;
    let Some(up) = start(config).await? else { return Ok(Status::Done) };
    println!("The site is at {}", up.site);
    println!("Ask for a test with: proofhouse request RELEASE ARCH PACKAGE --data {}", up.data);
    up.finished().await
}

/// A process with all three roles, started.
pub(crate) struct Up {
    pub(crate) process: Process,
    pub(crate) database: Database,
    pub(crate) bus: Arc<dyn Bus>,
    /// Where the site is.
    pub(crate) site: Url,
    pub(crate) data: String,
    _lock: DataLock,
}

impl Up {
    /// Returns when all three have ended.
    pub(crate) async fn finished(self) -> Result<Status> {
        self.process.finished().await
    }
}

/// Starts all three; none where it was told to stop before the database answered.
pub(crate) async fn start(mut config: Config) -> Result<Option<Up>> {
    let mut lock = DataLock::take(&config.data)?;
    if config.seal_keys.is_none() {
        let keys = make_seal_keys(&config.data);
        config.seal_keys = Some(keys.context("the seal key cannot be made under --data")?);
    }
    let listener = web::listen(config.listen).await?;
    let site = web::site(&config, &listener)?;
    let pairs = config.served.pairs().cloned().collect();
    lock.say(&UpFile { pid: std::process::id(), site: site.to_string(), pairs })?;
    let mut process = Process::start(config).await?;
    let worker_settings = worker::settings(&process).await?;
    let bus = bus(&mut process)?;
    let store = process.store()?;
    let Some(database) = process.database().await? else {
        process.finished().await?;
        return Ok(None);
    };
    let open = listener.local_addr()?.ip().is_loopback();
    let (sole, data) = (is_sole(&process.config), process.config.data.display().to_string());
    // The worker needs the dispatcher to publish what it still runs, and people want to see it.
    let (ready, worker_ended, over) = (process.parts(3), CancellationToken::new(), CancellationToken::new());
    let (db, on, into) = (database.clone(), bus.clone(), store.clone());
    dispatcher::spawn(&process, db, on, into, sole, ready.clone(), over.clone());
    let ended = worker_ended.clone();
    let seen = worker::spawn(&process, worker_settings, bus.clone(), store.clone(), ready.clone(), ended);
    end_when_stored(&process, database.clone(), seen, worker_ended, over.clone());
    let (db, on) = (database.clone(), bus.clone());
    let served = web::Served { database: db, bus: on, store, listener, site: site.clone(), open };
    web::spawn(&process, served, ready, over);
    Ok(Some(Up { process, database, bus, site, data, _lock: lock }))
}

/// When the worker has ended, the dispatcher goes on until every result is stored and announced, and until it has heard the
/// worker's farewell. What the store does not take within a while is stored by the next start.
fn end_when_stored(
    process: &Process,
    database: Database,
    worker: watch::Receiver<WorkerState>,
    worker_ended: CancellationToken,
    over: CancellationToken,
) {
    let hard = process.shutdown.hard().clone();
    process.shutdown.spawn("end of the dispatcher", async move {
        worker_ended.cancelled().await;
        let stored = async {
            while database.outbox_due(1).await.is_ok_and(|due| !due.is_empty()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let id = worker.borrow().id.clone();
        let ends = async {
            let _ = tokio::time::timeout(STORE_WITHIN, stored).await;
            let _ = tokio::time::timeout(HEARD_WITHIN, farewell_is_heard(&database, id)).await;
        };
        let _ = hard.run_until_cancelled(ends).await;
        over.cancel();
        Ok::<(), BoxError>(())
    });
}

/// Returns once the job table knows that this life of the worker is over.
async fn farewell_is_heard(database: &Database, id: Option<WorkerId>) {
    let Some(life) = id.map(|id| id.incarnation.to_string()) else { return };
    while database.workers().await.is_ok_and(|all| all.iter().any(|worker| worker.incarnation == life)) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One bus for all three, in process or at a broker.
fn bus(process: &mut Process) -> Result<Arc<dyn Bus>> {
    if *process.config.bus()? != BusUrl::Local {
        return process.bus();
    }
    let bus: Arc<dyn Bus> = Arc::new(Local::new());
    process.watch_bus(&bus);
    Ok(bus)
}

/// True where the job table lies in the data folder, whose lock says that every earlier dispatcher is gone.
fn is_sole(config: &Config) -> bool {
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    matches!(&config.database, Some(DatabaseUrl::Sqlite(path)) if Path::new(path).starts_with(&data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_speaks_for_the_database_under_it() {
        let config = |database: &str| {
            let vars = [("DATA", "/srv/p"), ("RELEASES", "a"), ("ARCHES", "b"), ("DATABASE", database)];
            let vars = vars.map(|(k, v)| (format!("PROOFHOUSE_{k}"), v.to_owned()));
            Config::load(Role::Up, &Options::default(), vars).unwrap()
        };
        assert!(is_sole(&config("")));
        assert!(is_sole(&config("sqlite:///srv/p/other.db")));
        assert!(!is_sole(&config("sqlite:///srv/q/other.db")));
        assert!(!is_sole(&config("postgres://h/d")));
    }
}
