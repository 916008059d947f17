//! What every handler works with.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use proofhouse_core::{
    bus::Bus,
    db::{Database, DbError, Demand, GateCount, LaneLoad, QueueCount},
    queue::Situation,
    store::Store,
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    alerts::Alerts,
    costly::Costly,
    evidence,
    failure::Failure,
    files::{self, Queues},
    follow::Follows,
    limits::Limits,
    live::{self, Now},
    log::Logs,
    pages::{
        infrastructure::{self, Infrastructure},
        statistics::{self, Statistics},
        trigger::Matrices,
    },
    published::Published,
    running::Heard,
    settings::Settings,
    shared::Shared,
};

/// Called for every answer with the route's pattern (never the path), the status and the seconds until the answer began.
pub type ResponseHook = Arc<dyn Fn(&str, u16, f64) + Send + Sync>;

/// The parts that the site stands on.
#[derive(Clone)]
pub struct Web {
    /// What is configured.
    pub settings: Settings,
    /// The job table.
    pub database: Database,
    /// The evidence.
    pub store: Arc<dyn Store>,
    /// For what runs now, and for waking the dispatcher.
    pub bus: Arc<dyn Bus>,
    /// Counts answers.
    pub on_response: ResponseHook,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("settings", &self.settings)
            .field("database", &self.database.address())
            .field("store", &self.store.address())
            .field("bus", &self.bus.address())
            .finish_non_exhaustive()
    }
}

/// The site's state. Cloning shares it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    web: Web,
    heard: Heard,
    published: Published,
    tasks: TaskTracker,
    evidence: Semaphore,
    logs: Logs,
    follows: Follows,
    counts: Costly<Vec<QueueCount>>,
    now: Costly<Now>,
    lanes: Costly<Vec<LaneLoad>>,
    situation: Costly<Situation>,
    queued: Costly<Queues<Vec<String>>>,
    gates: Costly<Vec<GateCount>>,
    demand: Costly<BTreeMap<String, Demand>>,
    further_triggers: Costly<HashMap<String, Vec<i64>>>,
    matrices: Matrices,
    alerts: Alerts,
    limits: Limits,
    shared: Shared,
    infrastructure: Costly<Infrastructure>,
    statistics: Mutex<HashMap<statistics::Wanted, Arc<Costly<Statistics>>>>,
}

impl App {
    /// A site that has heard nothing yet.
    pub fn new(web: Web) -> Self {
        Self(Arc::new(Inner {
            limits: Limits::new(&web.settings),
            alerts: Alerts::default(),
            shared: Shared::default(),
            web,
            heard: Heard::default(),
            published: Published::default(),
            tasks: TaskTracker::new(),
            evidence: Semaphore::new(evidence::AT_ONCE),
            logs: Logs::default(),
            follows: Follows::default(),
            counts: Costly::default(),
            now: Costly::default(),
            lanes: Costly::default(),
            situation: Costly::default(),
            queued: Costly::default(),
            gates: Costly::default(),
            demand: Costly::default(),
            further_triggers: Costly::default(),
            matrices: Matrices::default(),
            infrastructure: Costly::default(),
            statistics: Mutex::default(),
        }))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.web.settings
    }

    pub(crate) fn db(&self) -> &Database {
        &self.0.web.database
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.web.store
    }

    pub(crate) fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.web.bus
    }

    /// What status messages say.
    pub(crate) fn heard(&self) -> &Heard {
        &self.0.heard
    }

    /// What is known of the published database.
    pub(crate) fn published(&self) -> &Published {
        &self.0.published
    }

    /// Tasks that a stop waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// What is known of stored logs.
    pub(crate) fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// See [`evidence::AT_ONCE`].
    pub(crate) fn evidence(&self) -> &Semaphore {
        &self.0.evidence
    }

    /// Logs that are followed while they grow.
    pub(crate) fn follows(&self) -> &Follows {
        &self.0.follows
    }

    /// How much waits and runs, per queue that has any.
    pub(crate) async fn queue_counts(&self) -> Result<Arc<Vec<QueueCount>>, Failure> {
        let app = self.clone();
        self.0.counts.get(async move { app.db().queue_counts().await }).await
    }

    /// How much waits in each lane.
    pub(crate) async fn lanes(&self) -> Result<Arc<Vec<LaneLoad>>, Failure> {
        let app = self.clone();
        self.0.lanes.get(async move { app.db().lane_loads(Timestamp::now().as_microsecond()).await }).await
    }

    /// What runs.
    pub(crate) async fn now(&self) -> Result<Arc<Now>, Failure> {
        let app = self.clone();
        self.0.now.get(async move { live::now(&app, Timestamp::now()).await }).await
    }

    /// What all waiting jobs share.
    pub(crate) async fn situation(&self) -> Result<Arc<Situation>, Failure> {
        let app = self.clone();
        let read = async move {
            let mut situation = app.db().situation(&app.settings().pools).await?;
            situation.for_everybody = true;
            Ok::<_, DbError>(situation)
        };
        self.0.situation.get(read).await
    }

    /// The bodies of all that waits.
    pub(crate) async fn queued(&self) -> Result<Arc<Queues<Vec<String>>>, Failure> {
        let app = self.clone();
        self.0.queued.get(async move { files::bodies(&app).await }).await
    }

    /// What gates wait for, without private runs.
    pub(crate) async fn gates(&self) -> Result<Arc<Vec<GateCount>>, Failure> {
        let app = self.clone();
        self.0.gates.get(async move { app.db().public_gates().await }).await
    }

    /// What is wanted of each pool that anything is wanted of.
    pub(crate) async fn demand(&self) -> Result<Arc<BTreeMap<String, Demand>>, Failure> {
        let app = self.clone();
        self.0.demand.get(async move { app.db().demand(&app.settings().pools).await }).await
    }

    /// Unfinished public jobs by each trigger that is not their first.
    pub(crate) async fn further_triggers(&self) -> Result<Arc<HashMap<String, Vec<i64>>>, Failure> {
        let app = self.clone();
        self.0.further_triggers.get(async move { app.db().further_triggers().await }).await
    }

    /// What large uploads set off.
    pub(crate) fn matrices(&self) -> &Matrices {
        &self.0.matrices
    }

    /// Who runs tests.
    pub(crate) async fn infrastructure(&self) -> Result<Arc<Infrastructure>, Failure> {
        let app = self.clone();
        self.0.infrastructure.get(async move { infrastructure::read(&app).await }).await
    }

    /// What was last read of this, for all who ask for it.
    pub(crate) fn statistics(&self, wanted: &statistics::Wanted) -> Arc<Costly<Statistics>> {
        let mut all = self.0.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(wanted.clone()).or_default().clone()
    }

    /// What operators have every page say.
    pub(crate) fn alerts(&self) -> &Alerts {
        &self.0.alerts
    }

    /// How much an address may ask for.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The pages that are being made.
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &str, status: u16, seconds: f64) {
        (self.0.web.on_response)(route, status, seconds);
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.web.fmt(f)
    }
}
