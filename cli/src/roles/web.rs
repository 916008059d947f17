//! The role `web`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
use proofhouse_core::{
    bus::{Bus, local::Local},
    config::{Config, Options, Role},
    db::Database,
    store::Store,
    telemetry,
};
use proofhouse_web::{ResponseHook, Settings, Stop, Web};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::process::{Process, Ready};
use crate::status::Status;

/// How many requests one person may make in an hour.
const REQUESTS_PER_HOUR: i64 = 1000;

/// Runs until it is told to stop.
pub(crate) async fn main(options: &Options) -> Result<Status> {
    telemetry::init()?;
    take_descriptors();
    let mut process = Process::start(Config::load_here(Role::Web, options)?).await?;
    let bus = bus(&mut process)?;
    let store = process.store()?;
    if let Some(database) = process.database().await? {
        let listener = listen(process.config.listen).await?;
        let site = site(&process.config, &listener)?;
        tracing::info!("the site is at {site}");
        let drain = process.shutdown.drain().clone();
        let ready = process.parts(1);
        spawn(&process, Served { database, bus, store, listener, site, open: false }, ready, drain);
    }
    process.finished().await
}

/// Each connection takes one: the usual 1,024 are soon used up by those who follow logs.
fn take_descriptors() {
    const ENOUGH: u64 = 65_536;
    if let Ok((now, most)) = getrlimit(RLIMIT_NOFILE) {
        let wanted = ENOUGH.min(most).max(now);
        if let Err(error) = setrlimit(RLIMIT_NOFILE, wanted, most) {
            tracing::warn!(error = %error, "the site keeps to {now} open files");
        }
    }
}

/// A site without a broker hears nothing of what runs; the dispatcher finds its requests in the job table.
fn bus(process: &mut Process) -> Result<Arc<dyn Bus>> {
    if process.config.bus.is_some() { process.bus() } else { Ok(Arc::new(Local::new())) }
}

/// Opens the site's port.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("the site cannot listen on {address} (setting listen)"))
}

/// The site's address as people see it: as configured, else where it listens.
pub(super) fn site(config: &Config, listener: &TcpListener) -> Result<Url> {
    match &config.site {
        Some(site) => Ok(Url::parse(site.as_str())?),
        None => Ok(Url::parse(&format!("http://{}/", listener.local_addr()?))?),
    }
}

/// What the site stands on.
pub(super) struct Served {
    pub(super) database: Database,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) store: Arc<dyn Store>,
    pub(super) listener: TcpListener,
    pub(super) site: Url,
    /// Requests without a token are taken.
    pub(super) open: bool,
}

/// Starts the site as a task that ends with `drain`.
pub(super) fn spawn(process: &Process, served: Served, ready: Ready, drain: CancellationToken) {
    let config = &process.config;
    let off = config.served.pairs().filter(|pair| !config.served.is_on(pair));
    let Served { database, bus, store, listener, site, open } = served;
    let settings = Settings {
        site,
        pairs: config.served.pairs().cloned().collect(),
        disabled: off.cloned().collect(),
        intake: Arc::new(process.intake()),
        swiftuser: config.swiftuser.clone(),
        open,
        parked_answer: config.parked_answer,
        pools: config.pool_rules.clone(),
        requests_per_hour: REQUESTS_PER_HOUR,
        trusted_proxies: config.trusted_proxies.clone(),
        address_rate: config.address_rate,
    };
    let stop = Stop { drain, hard: process.shutdown.hard().clone() };
    let web = Web { settings, database, store, bus, on_response: counted(process) };
    process.shutdown.spawn("site", async move {
        // The port is open: what connects from here on is answered.
        ready.one();
        proofhouse_web::run(web, listener, stop).await
    });
}

fn counted(process: &Process) -> ResponseHook {
    let metrics = process.metrics.clone();
    Arc::new(move |route, status, seconds| {
        metrics.web.http_requests.with_label_values(&[route, &status.to_string()]).inc();
        metrics.web.http_request_seconds.with_label_values(&[route]).observe(seconds);
    })
}
