//! What waits and what runs.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::data::{JobData, time};
use crate::{
    app::App,
    failure::Failure,
    live::Live,
    pages::{
        parameter,
        running::{self, TriggerSum, Triggers},
    },
    private::PublicJob,
};

/// How many jobs one answer lists.
const MOST: usize = 1000;

/// Queues.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queues {
    /// Those that hold something, private tests counted.
    queues: Vec<QueueData>,
    /// What keeps from running what waits, a sentence each: an emergency, pauses, caps that are reached.
    held_back: Vec<String>,
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueData {
    /// `ubuntu`, `huge`, `ppa` or `upstream`.
    context: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// How many wait.
    waiting: i64,
    /// How many of it run.
    running: i64,
}

/// How much waits and runs, by queue
///
/// Private tests are counted; queues that hold nothing are left out.
#[utoipa::path(get, path = "/api/v1/queues", tag = "now", responses((status = OK, body = Queues)))]
pub(super) async fn queues(State(app): State<App>) -> Result<Json<Queues>, Failure> {
    let counts = app.queue_counts().await?;
    let queues = counts.iter().map(|count| QueueData {
        context: count.context.clone(),
        release: count.release.clone(),
        arch: count.arch.clone(),
        waiting: count.waiting,
        running: count.running,
    });
    let held_back = app.situation().await?.held_back();
    Ok(Json(Queues { queues: queues.collect(), held_back }))
}

/// Which part of the queue.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the parameters")]
struct WantedQueue {
    /// Only jobs behind this number, as `next` has it.
    after: Option<i64>,
}

/// Jobs that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queue {
    /// In the order in which they came.
    jobs: Vec<JobData>,
    /// How many of this part are private.
    private: usize,
    /// The address of the part behind.
    next: Option<String>,
}

/// All that waits, in the order in which it came
///
/// A thousand at once. What is next to run is another question: `/api/v1/runs/{uuid}` says of each job where it stands.
#[utoipa::path(get, path = "/api/v1/queue", tag = "now", params(WantedQueue), responses((status = OK, body = Queue)))]
pub(super) async fn queue(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Queue>, Failure> {
    let after = parameter(query.as_deref(), "after").filter(|after| !after.is_empty());
    let after = after.map_or(Some(0), |after| after.parse().ok().filter(|after| *after >= 0));
    let after = after.ok_or_else(|| Failure::bad("after must be a number.", ""))?;
    let mut rows = app.db().queued(after, i64::try_from(MOST + 1).unwrap_or(i64::MAX)).await?;
    let more = rows.len() > MOST;
    rows.truncate(MOST);
    let next = rows.last().filter(|_| more).map(|last| format!("/api/v1/queue?after={}", last.id));
    let (jobs, private) = PublicJob::split(rows);
    Ok(Json(Queue { jobs: JobData::list(app.settings(), &jobs), private, next }))
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Running {
    /// By package, release and architecture, a thousand at once.
    runs: Vec<RunningData>,
    /// How many fit.
    fitting: usize,
    /// The uploads for which most runs and waits; where a package or an upload is asked for, and behind the first part, none.
    triggers: Vec<TriggerData>,
    /// How many more there are.
    more_triggers: usize,
    /// How many private ones run; where a package, a context or an upload is asked for, nothing is said of them.
    private: Vec<PrivateCount>,
    /// The address of the part behind.
    next: Option<String>,
}

/// What runs and waits for an upload.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TriggerData {
    /// The upload, `source/version`.
    trigger: String,
    /// How many tests run.
    running: usize,
    /// How many wait.
    waiting: i64,
}

/// A run that is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunningData {
    /// The run's name; null where another system runs it and does not say.
    uuid: Option<String>,
    /// The source package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// The kind of queue that it came by; empty where another system runs it and does not say.
    context: String,
    /// All that was asked for.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// For how long, in seconds.
    duration: i64,
    /// For how long when it last had its say.
    usual: Option<i64>,
    /// Which attempt it is.
    attempt: Option<i64>,
    /// What it does, as its worker says: by autopkgtest's own lines in its log.
    phase: Option<String>,
    /// Who runs it.
    worker: Option<String>,
    /// The end of its log.
    logtail: String,
}

impl RunningData {
    fn new(live: &Live, usual: Option<i64>) -> Self {
        let Live {
            package,
            release,
            arch,
            context,
            uuid,
            params,
            duration,
            logtail,
            phase,
            worker,
            attempt,
            ..
        } = live.clone();
        Self {
            uuid,
            package,
            release,
            arch,
            context,
            params,
            duration,
            usual,
            attempt,
            phase,
            worker,
            logtail,
        }
    }
}

/// Private tests of a release and architecture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PrivateCount {
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// How many run.
    running: usize,
}

/// What runs
///
/// Also what other systems on the same broker run, as far as their messages say it.
#[utoipa::path(get, path = "/api/v1/running", tag = "now", params(running::Wanted), responses((status = OK, body = Running)))]
pub(super) async fn running(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Running>, Failure> {
    let wanted = running::Wanted::parse(query.as_deref())?;
    let now = app.now().await?;
    let part = wanted.part(&now, MOST)?;
    let usual = running::usual(&app, &part.runs).await?;
    let last = part.runs.last().filter(|_| !part.rest.is_empty());
    let private = part.private.into_iter();
    let (triggers, more_triggers) = Triggers::of(&now, &app.gates().await?, &wanted).all();
    let trigger =
        |sum: TriggerSum| TriggerData { trigger: sum.name, running: sum.running, waiting: sum.waiting };
    Ok(Json(Running {
        triggers: triggers.map(trigger).collect(),
        more_triggers,
        fitting: part.fitting,
        private: private.map(|(release, arch, running)| PrivateCount { release, arch, running }).collect(),
        next: last.map(|last| wanted.at("/api/v1/running", Some(last))),
        runs: part.runs.iter().zip(usual).map(|(live, usual)| RunningData::new(live, usual)).collect(),
    }))
}

/// Alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertList {
    /// Those that are shown, and those that will be.
    alerts: Vec<AlertData>,
}

/// What every page says at its top.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertData {
    /// `info`, `warning` or `error`.
    level: String,
    /// What it says.
    text: String,
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// When it ends; null: when it is taken back.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// It is shown now.
    shown: bool,
}

/// What every page says at its top
///
/// Several may be shown at once.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "now", responses((status = OK, body = AlertList)))]
pub(super) async fn alerts(State(app): State<App>) -> Json<AlertList> {
    let now_us = Timestamp::now().as_microsecond();
    let rows = app.alerts().all(app.db()).await;
    let alerts = rows.iter().filter(|row| !row.is_over(now_us)).map(|row| AlertData {
        level: row.level.clone(),
        text: row.text.clone(),
        from: time(row.begins_us),
        until: row.ends_us.map(time),
        shown: row.is_shown(now_us),
    });
    Json(AlertList { alerts: alerts.collect() })
}
