//! What every role stands on: configuration, metrics, health, signals, the admin port, connections.

use std::{
    fs::OpenOptions,
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};
use backon::Retryable as _;
pub(crate) use proofhouse_core::telemetry::chain;
use proofhouse_core::{
    admin, backoff,
    bus::Bus,
    config::{Config, DatabaseUrl, Role},
    db::{Database, DbError},
    health::Health,
    intake::Intake,
    lifecycle::Shutdown,
    store::Store,
    telemetry::metrics::Metrics,
};

use super::watch;
use crate::{
    connect,
    status::{Misuse, Status},
};

/// A process that serves a role.
pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) shutdown: Shutdown,
    pub(crate) host: String,
    closing: Closing,
}

/// What is closed when all tasks have ended.
#[derive(Default)]
struct Closing {
    database: Option<Database>,
    bus: Option<Arc<dyn Bus>>,
}

impl Process {
    /// Follows signals and opens the admin port.
    pub(crate) async fn start(config: Config) -> Result<Self> {
        let (shutdown, health) = (Shutdown::new(), Health::new());
        shutdown.on_signals().context("signals cannot be listened for")?;
        let metrics = Arc::new(Metrics::new(config.role));
        admin::serve(config.admin, metrics.registry.clone(), health.clone(), &shutdown).await?;
        let closing = Closing::default();
        Ok(Self { config, metrics, health, shutdown, host: host_name(), closing })
    }

    /// The job table, set up where it is empty; waits while it is away. None: the process was told to stop meanwhile.
    pub(crate) async fn database(&mut self) -> Result<Option<Database>> {
        if let DatabaseUrl::Sqlite(path) = self.config.database()?
            && let Some(folder) = path.parent()
        {
            make_folder(folder)?;
            make_private(path).with_context(|| format!("{} cannot be made", path.display()))?;
        }
        let database = connect::database(&self.config)?;
        tracing::info!("the job table is at {}", database.address());
        let condition = self.health.condition("database");
        let migrates = self.config.role == Role::Up && database.is_sqlite();
        let prepare = || async { if migrates { database.migrate().await } else { database.prepare().await } };
        let prepared = prepare
            .retry(backoff::growing())
            .when(DbError::may_retry)
            .notify(|error, _| condition.fails(chain(error)));
        tokio::select! {
            prepared = prepared => prepared?,
            () = self.shutdown.drain().cancelled() => return Ok(None),
        }
        condition.holds();
        watch::database(&self.shutdown, condition, database.clone());
        self.closing.database = Some(database.clone());
        Ok(Some(database))
    }

    /// The bus; it comes by itself once the broker is there.
    pub(crate) fn bus(&mut self) -> Result<Arc<dyn Bus>> {
        let name = format!("proofhouse {} {}", self.config.role.as_str(), self.host);
        let bus = connect::bus(&self.config, &name)?;
        self.watch_bus(&bus);
        Ok(bus)
    }

    /// Shows the link of a bus, and closes it in the end.
    pub(crate) fn watch_bus(&mut self, bus: &Arc<dyn Bus>) {
        let condition = self.health.condition("bus");
        watch::bus(&self.shutdown, condition, bus, self.metrics.clone());
        self.closing.bus = Some(bus.clone());
    }

    /// The object store.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        let store = connect::store(&self.config)?;
        watch::store(&self.shutdown, self.health.condition("store"), store.clone());
        Ok(store)
    }

    /// How requests become jobs here.
    pub(crate) fn intake(&self) -> Intake {
        Intake {
            served: self.config.served.pairs().cloned().collect(),
            keys: self.config.seal_keys.clone(),
            answered: self.config.answer_bad_requests.iter().cloned().collect(),
        }
    }

    /// So many parts have to be ready before the process counts as started.
    pub(crate) fn parts(&self, number: usize) -> Ready {
        Ready { left: Arc::new(AtomicUsize::new(number)), health: self.health.clone() }
    }

    /// Returns when all tasks have ended.
    pub(crate) async fn finished(self) -> Result<Status> {
        let outcome = self.shutdown.finished().await;
        if let Some(bus) = self.closing.bus {
            bus.close().await;
        }
        if let Some(database) = self.closing.database {
            database.close().await;
        }
        outcome?;
        tracing::info!("ended");
        Ok(Status::Done)
    }
}

/// Counts the parts of a process that are ready; with the last one the process has started.
#[derive(Clone)]
pub(crate) struct Ready {
    left: Arc<AtomicUsize>,
    health: Health,
}

impl Ready {
    /// One more part is ready. Each part says so once.
    pub(crate) fn one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.health.started();
            tracing::info!("started");
        }
    }
}

/// Makes an empty file that nobody else may read, where there is none: private requests stand in the job table.
fn make_private(file: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Makes a folder that data is to lie in. Where that cannot be, another must be configured.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    let misuse = |error| Misuse(format!("{} cannot be made: {error}", folder.display())).into();
    std::fs::create_dir_all(folder).map_err(misuse)
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_starts_the_process() {
        let health = Health::new();
        let ready = Ready { left: Arc::new(AtomicUsize::new(2)), health: health.clone() };
        ready.one();
        assert!(!health.report().started);
        ready.clone().one();
        assert!(health.report().started);
    }
}
