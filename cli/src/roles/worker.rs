//! The role `worker`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use proofhouse_core::{
    bus::Bus,
    config::{Config, Options, Role},
    health::Condition,
    lifecycle::BoxError,
    names::{Pool, WorkerName},
    queue::PoolRules,
    store::Store,
    telemetry::{self, metrics::Metrics},
};
use proofhouse_worker::{Limits, Lxd, Provider, Settings, Stop, WorkerState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    GUARD,
    process::{Process, Ready, make_folder},
    provider,
};
use crate::status::Status;

/// Runs until it is told to stop and what it runs is over.
pub(crate) async fn main(options: &Options) -> Result<Status> {
    telemetry::init()?;
    let mut process = Process::start(Config::load_here(Role::Worker, options)?).await?;
    let settings = settings(&process).await?;
    let bus = process.bus()?;
    let store = process.store()?;
    spawn(&process, settings, bus, store, process.parts(1), CancellationToken::new());
    process.finished().await
}

/// Starts the worker as a task; `ended` is cancelled when nothing of it runs any more. Returns what can be seen of it.
pub(super) fn spawn(
    process: &Process,
    settings: Settings,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    ready: Ready,
    ended: CancellationToken,
) -> watch::Receiver<WorkerState> {
    let shutdown = &process.shutdown;
    let stop = Stop { drain: shutdown.drain().clone(), hard: shutdown.hard().clone() };
    let (state, seen) = watch::channel(WorkerState::default());
    let whole = seen.clone();
    let (disk, metrics) = (process.health.condition("disk"), process.metrics.clone());
    shutdown.spawn_service("watch over the worker", async move {
        show(seen, &disk, &metrics, &ready).await;
        Ok::<(), BoxError>(())
    });
    shutdown.spawn("worker", async move {
        let outcome = proofhouse_worker::run(settings, bus, store, stop, state).await;
        ended.cancel();
        outcome
    });
    whole
}

/// Shows a worker's state; it runs its loop from its first state with slots on.
async fn show(mut state: watch::Receiver<WorkerState>, disk: &Condition, metrics: &Metrics, ready: &Ready) {
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut started = false;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        metrics.worker.slots.set(number(now.slots));
        metrics.worker.slots_busy.set(number(now.busy));
        metrics.worker.able.set(now.able.is_ok().into());
        match now.able {
            Ok(()) => disk.holds(),
            Err(reason) => disk.fails(reason),
        }
        if now.slots > 0 && !std::mem::replace(&mut started, true) {
            ready.one();
        }
    }
}

/// The worker's settings; the provider is chosen where none is configured.
pub(super) async fn settings(process: &Process) -> Result<Settings> {
    let config = &process.config;
    make_folder(&config.data)?;
    let name = config.worker.name.clone();
    let provider = provider::settings(config).await?;
    Ok(Settings {
        name: name.map_or_else(|| name_of_host(&process.host), Ok)?,
        host: host_of_testbeds(process, &provider),
        data: config.data.clone(),
        pools: pools(config),
        slots: usize::try_from(config.worker.slots)?,
        provider,
        autopkgtest: config.worker.autopkgtest.clone(),
        autopkgtest_args: config.worker.autopkgtest_args.clone(),
        setup_commands: config.worker.setup_commands.clone(),
        rules: config.worker.rules.clone(),
        seal_keys: config.seal_keys.clone(),
        min_free_mib: config.worker.min_free_bytes >> 20,
        limits: Limits {
            threads: usize::try_from(config.worker.run_threads)?,
            disk_bytes: config.worker.run_disk_bytes,
            output_bytes: config.worker.run_output_bytes,
        },
        metrics: process.metrics.clone(),
        // This very program, also after an upgrade has put another in its place.
        guard: vec!["/proc/self/exe".into(), GUARD.into()],
    })
}

/// As configured; else `up` serves all there are, and a worker the pools of its architectures.
fn pools(config: &Config) -> Vec<Pool> {
    let own = || config.arches.iter().map(PoolRules::pool_of).collect();
    match config.role {
        _ if !config.worker.pools.is_empty() => config.worker.pools.clone(),
        Role::Up => config.pool_rules.pools(config.served.pairs()).into_iter().collect(),
        _ => own(),
    }
}

/// The machine whose health a fault tells of: with an LXD remote that is not this one.
fn host_of_testbeds(process: &Process, provider: &Provider) -> String {
    match (&process.config.worker.host, provider) {
        (Some(host), _) => host.to_string(),
        (None, Provider::Lxd(Lxd { remote: Some(remote), .. })) => remote.clone(),
        (None, _) => process.host.clone(),
    }
}

fn name_of_host(host: &str) -> Result<WorkerName> {
    host.parse()
        .with_context(|| format!("this host's name {host:?} is no worker's name: give one with --name"))
}
