//! The worker as a whole: its mailbox, its leases, its announcements, its slots.

use std::{path::PathBuf, sync::Arc, time::Duration};

use proofhouse_core::{
    bus::{Bus, BusError, Consumer, Declaration, Source},
    outcome::Fault,
    protocol::{ASKS, Ask, LEADER_EXCHANGE, RENEWALS, STATUS_EXCHANGE, Wanted, WorkerId, pool_queue},
    store::Store,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    Error,
    announce::{self, Announcer, Bell},
    attempt::{self, Shared},
    disk,
    guards::Guards,
    leader::{Heard, Leader},
    name::claim_name,
    offers::{Offers, Taken},
    settings::{Provider, Settings},
    state::{Stop, WorkerState},
    testbed,
    watch::Watched,
    workdir,
};

/// How long to wait for a dispatcher to declare what we may not.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs a worker until it is stopped: drained, it returns when what it runs is over and published; stopped hard, when that
/// is killed and given back.
pub async fn run(
    settings: Settings,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    stop: Stop,
    state: watch::Sender<WorkerState>,
) -> Result<(), Error> {
    let settings = Arc::new(checked(settings)?);
    let (name, _lock) = claim_name(&settings.data, &settings.name)?;
    let (data, swept) = (settings.data.clone(), name.clone());
    tokio::task::spawn_blocking(move || workdir::sweep(&data, &swept))
        .await
        .map_err(|_| Error::Task("sweep"))?
        .map_err(|source| Error::Data { path: settings.data.join("work"), source })?;
    if let Provider::Lxd(lxd) = &settings.provider {
        testbed::lxd::sweep(lxd, name.as_str()).await;
    }

    let me = WorkerId { name: name.clone(), incarnation: Uuid::new_v4() };
    let connected = async {
        declare(&*bus, &declarations(&settings)).await?;
        let mailbox = Source::Mailbox { name: me.mailbox(), exchanges: vec![LEADER_EXCHANGE.to_owned()] };
        bus.consume(mailbox, 100).await
    };
    let mailbox = tokio::select! {
        mailbox = connected => mailbox?,
        () = stop.asked() => return Ok(()),
    };
    state.send_modify(|state| state.id = Some(me.clone()));
    info!(slots = settings.slots, incarnation = %me.incarnation, "worker {name} takes offers");
    let able = watch::Sender::new(disk::room(&settings.data, settings.min_free_mib));
    let shared = Arc::new(Shared {
        leader: Leader::new(bus.clone(), me),
        leases: Arc::default(),
        tasks: TaskTracker::new(),
        pauses: watch::Sender::default(),
        wanted: watch::Sender::default(),
        watched: Watched::default(),
        guards: Guards::new(settings.guard.clone()),
        settings,
        name,
        bus,
        store,
        stop,
    });
    Worker { shared, able, state: Arc::new(state) }.serve(mailbox).await
}

/// Paths are absolute from here on: programs are started in other folders.
fn checked(mut settings: Settings) -> Result<Settings, Error> {
    if settings.guard.is_empty() {
        return Err(Error::Settings("no program starts the guards"));
    }
    if settings.slots == 0 || settings.slots > tokio::sync::Semaphore::MAX_PERMITS {
        return Err(Error::Settings("slots must be at least 1"));
    }
    if settings.pools.is_empty() {
        return Err(Error::Settings("no pool is served"));
    }
    let path = settings.data.clone();
    let absolute = |path: PathBuf| {
        std::fs::create_dir_all(&path)?;
        std::path::absolute(path)
    };
    settings.data = absolute(settings.data).map_err(|source| Error::Data { path, source })?;
    Ok(settings)
}

fn declarations(settings: &Settings) -> Vec<Declaration> {
    let queues = [ASKS.to_owned(), RENEWALS.to_owned()].into_iter();
    let pools = settings.pools.iter().map(pool_queue);
    let fanout = |name: &str, durable| Declaration::Fanout { name: name.to_owned(), durable };
    queues
        .chain(pools)
        .map(Declaration::Queue)
        .chain([fanout(LEADER_EXCHANGE, true), fanout(STATUS_EXCHANGE, false)])
        .collect()
}

/// Waits for what only a dispatcher may make.
async fn declare(bus: &dyn Bus, declarations: &[Declaration]) -> Result<(), BusError> {
    let mut told = false;
    loop {
        match bus.declare(declarations).await {
            Err(error @ BusError::Missing { .. }) if !told => {
                warn!(%error, "waiting until a dispatcher has made it");
                told = true;
            }
            Err(BusError::Missing { .. }) => {}
            done => return done,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Worker {
    shared: Arc<Shared>,
    able: watch::Sender<Result<(), String>>,
    state: Arc<watch::Sender<WorkerState>>,
}

impl Worker {
    async fn serve(self, mailbox: Consumer) -> Result<(), Error> {
        let mut parts = self.start_parts(mailbox);
        let served = self.serve_beside(&mut parts).await;
        // Nothing is announced after the last word.
        parts.shutdown().await;
        announce::farewell(&self.shared).await;
        served
    }

    async fn serve_beside(&self, parts: &mut JoinSet<&'static str>) -> Result<(), Error> {
        let served = tokio::select! {
            served = self.take_offers() => served,
            Some(part) = parts.join_next() => Err(Error::Task(part.unwrap_or("task"))),
        };
        if served.is_err() {
            self.shared.stop.hard.cancel();
        }
        self.shared.tasks.close();
        tokio::select! {
            () = self.shared.tasks.wait() => {}
            // Without them no answer comes and no lease is renewed.
            Some(part) = parts.join_next(), if served.is_ok() => {
                self.shared.stop.hard.cancel();
                self.shared.tasks.wait().await;
                return Err(Error::Task(part.unwrap_or("task")));
            }
        }
        served
    }

    /// What runs beside the attempts, until the worker ends. Each returns its name, should it end before.
    fn start_parts(&self, mailbox: Consumer) -> JoinSet<&'static str> {
        let shared = self.shared.clone();
        let bell = Arc::new(Bell::default());
        let announcer = Announcer {
            settings: shared.settings.clone(),
            leader: shared.leader.clone(),
            leases: shared.leases.clone(),
            stop: shared.stop.clone(),
            bell: bell.clone(),
            able: self.able.subscribe(),
            wanted: shared.wanted.subscribe(),
            link: shared.bus.link(),
        };
        let mut parts = JoinSet::new();
        parts.spawn(async move {
            announcer.run().await;
            "announcer"
        });
        let all = shared.clone();
        parts.spawn(async move {
            listen(mailbox, &all, &bell).await;
            "mailbox"
        });
        let leader = shared.leader.clone();
        let leases = shared.leases.clone();
        parts.spawn(async move {
            leases.renew(&leader).await;
            "renewal of leases"
        });
        let (able, state) = (self.able.clone(), self.state.clone());
        parts.spawn(async move {
            let settings = &shared.settings;
            tokio::select! {
                () = disk::watch_room(settings, &able) => {}
                () = show_able(able.subscribe(), settings.slots, &state) => {}
            }
            "watch over the disk"
        });
        parts
    }

    async fn take_offers(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let mut offers = Offers::new(
            shared.bus.clone(),
            &shared.settings,
            self.able.subscribe(),
            shared.wanted.subscribe(),
            shared.pauses.subscribe(),
            shared.stop.clone(),
        );
        while let Some(Taken { offer, queue, slot }) = offers.next().await? {
            let busy = Busy::new(self.state.clone());
            let shared = shared.clone();
            self.shared.tasks.spawn(async move {
                attempt::run(shared, offer, &queue).await;
                drop((slot, busy));
            });
        }
        info!("worker {} takes nothing new and finishes what runs", shared.name);
        Ok(())
    }
}

/// Hands on what comes by the mailbox, until the bus is closed.
async fn listen(mut mailbox: Consumer, shared: &Shared, bell: &Bell) {
    let Shared { leader, leases, .. } = shared;
    while let Some(delivery) = mailbox.next().await {
        if let Err(error) = delivery.settle.ack().await {
            warn!(%error, "an answer was not acknowledged");
        }
        if let Ok(asked) = serde_json::from_slice(&delivery.body) {
            shared.watched.hear(asked, &shared.bus, &shared.tasks);
            continue;
        }
        match leader.hear(&delivery.body) {
            Heard::Leader => bell.leader.notify_one(),
            Heard::Welcome => bell.welcome.notify_one(),
            Heard::Renewed { given_up, lease_seconds } => leases.renewed(&given_up, lease_seconds),
            Heard::Unwanted(id) => {
                let detail = "it was granted when the worker had ceased to wait".to_owned();
                leader.send(Ask::GiveUp { id, fault: Fault::Worker, detail }).await;
            }
            Heard::Wanted(wanted) => obey(shared, wanted),
            Heard::Nothing => {}
        }
    }
}

/// Does what an operator wants. To retire is to be told to stop, as by a signal: nothing calls that back.
fn obey(shared: &Shared, wanted: Wanted) {
    if shared.stop.is_asked() {
        return;
    }
    if shared.wanted.send_replace(wanted) != wanted {
        info!(wanted = wanted.as_str(), "worker {} is told to {}", shared.name, wanted.as_str());
    }
    if wanted == Wanted::Retire {
        shared.stop.drain.cancel();
    }
}

/// Shows whether work can be taken, at once and whenever it changes.
async fn show_able(
    mut able: watch::Receiver<Result<(), String>>,
    slots: usize,
    state: &watch::Sender<WorkerState>,
) {
    loop {
        let now = able.borrow_and_update().clone();
        state.send_modify(|state| {
            state.slots = slots;
            state.able = now;
        });
        if able.changed().await.is_err() {
            return;
        }
    }
}

/// Counts one slot as busy until it is dropped.
struct Busy(Arc<watch::Sender<WorkerState>>);

impl Busy {
    fn new(state: Arc<watch::Sender<WorkerState>>) -> Self {
        state.send_modify(|state| state.busy += 1);
        Self(state)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.busy -= 1);
    }
}
