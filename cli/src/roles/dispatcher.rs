//! The role `dispatcher`.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use proofhouse_core::{
    bus::Bus,
    config::{Config, Options, Role},
    db::Database,
    health::Condition,
    lists::{self, Lists},
    protocol::OFFER_SECONDS,
    published::Scope,
    store::Store,
    telemetry,
};
use proofhouse_dispatcher::{
    Error, Settings,
    published::{self, Archive},
    schedule::Rules,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::process::{Process, Ready};
use crate::status::Status;

/// How often the lists are read again (contract "Lists").
const LISTS_PERIOD: Duration = Duration::from_secs(60);

/// Runs until it is told to stop.
pub(crate) async fn main(options: &Options) -> Result<Status> {
    telemetry::init()?;
    let mut process = Process::start(Config::load_here(Role::Dispatcher, options)?).await?;
    let bus = process.bus()?;
    let store = process.store()?;
    if let Some(database) = process.database().await? {
        let stop = process.shutdown.drain().clone();
        spawn(&process, database, bus, store, false, process.parts(1), stop);
    }
    process.finished().await
}

/// Starts the dispatcher as a task that ends with `stop`. `sole`: no other can be alive on this job table.
pub(super) fn spawn(
    process: &Process,
    database: Database,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    sole: bool,
    ready: Ready,
    stop: CancellationToken,
) {
    let lists = keep_lists(process, &stop);
    let settings = settings(process, sole, lists.clone());
    let condition = process.config.lists.as_ref().map(|_| process.health.condition("lists"));
    process.shutdown.spawn("dispatcher", async move {
        if let Some(condition) = condition
            && !lists_are_read(lists, condition, &stop).await
        {
            return Ok::<(), Error>(());
        }
        proofhouse_dispatcher::run(settings, database, bus, store, stop, move || ready.one()).await
    });
}

fn settings(process: &Process, sole: bool, lists: watch::Receiver<Arc<Lists>>) -> Settings {
    let config = &process.config;
    let off = config.served.pairs().filter(|pair| !config.served.is_on(pair));
    Settings {
        holder: format!("{}:{}", process.host, std::process::id()),
        sole,
        intake: process.intake(),
        switched_off: off.cloned().collect(),
        rules: Rules {
            lease: config.lease,
            offer: Duration::from_secs(OFFER_SECONDS),
            attempts: i32::try_from(config.retry_attempts).unwrap_or(i32::MAX),
            pause: config.retry_pause,
        },
        lists,
        pools: config.pool_rules.clone(),
        parked_answer: config.parked_answer,
        published: published(config),
        metrics: process.metrics.clone(),
    }
}

fn published(config: &Config) -> published::Settings {
    let mut releases: Vec<String> = config.served.pairs().map(|pair| pair.release.to_string()).collect();
    releases.dedup();
    let components = config.published.components.clone();
    let archive = config.published.archive.as_ref();
    published::Settings {
        folder: config.data.join("published"),
        scope: Scope { releases, days: config.published.days },
        archive: archive.map(|url| Archive {
            url: url.as_str().to_owned(),
            components,
            authorities: config.authorities.clone(),
        }),
    }
}

fn keep_lists(process: &Process, stop: &CancellationToken) -> watch::Receiver<Arc<Lists>> {
    let (sender, receiver) = watch::channel(Arc::new(Lists::default()));
    if let Some(source) = process.config.lists.clone() {
        let (data, stop) = (process.config.data.clone(), stop.clone());
        process.shutdown.spawn("lists", async move {
            lists::keep(source, data, LISTS_PERIOD, sender, stop).await;
            Ok::<(), Error>(())
        });
    }
    receiver
}

/// Waits for the lists: without them what must never run would run. False: told to stop meanwhile.
async fn lists_are_read(
    mut lists: watch::Receiver<Arc<Lists>>,
    condition: Condition,
    stop: &CancellationToken,
) -> bool {
    let read = stop.run_until_cancelled(lists.changed()).await;
    if matches!(read, Some(Ok(()))) {
        condition.holds();
        return true;
    }
    false
}
