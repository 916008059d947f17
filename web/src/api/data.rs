//! Values that several answers hold.

use jiff::Timestamp;
use proofhouse_core::{
    db::{AttemptRow, Standing},
    queue::Waits,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    app::App,
    pages::packages::attempts::Logs,
    private::{PublicJob, PublicResult},
    settings::Settings,
    view::{path, result_path, results_path, run_path},
};

/// A moment, from microseconds since 1970.
pub(super) fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or_default()
}

/// A result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultData {
    /// The source package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// What was tested.
    version: String,
    /// Its name within its container; it begins with the time in UTC.
    run_id: String,
    /// The run's name, where one is known.
    uuid: Option<String>,
    /// `pass`, `neutral`, `fail`, `tmpfail`, `error`, `denylisted` or `otherfail`.
    result: &'static str,
    /// autopkgtest's exit code; 99: not run; negative: the signal that killed it.
    exitcode: i64,
    /// What decided that it is a result; null where another system wrote it.
    rule: Option<String>,
    /// In seconds.
    duration: i64,
    /// The uploads that it was run for, `source/version` each.
    triggers: Vec<String>,
    /// Its other parameters, as `all-proposed=1,testname=x`.
    env: Option<String>,
    /// Who asked.
    requester: Option<String>,
    /// Where it lies in the store.
    container: String,
    /// Its page.
    url: String,
    /// Its log, packed by gzip.
    log: Option<String>,
}

impl ResultData {
    pub(crate) fn new(settings: &Settings, row: &PublicResult) -> Self {
        let folder = row.place().map(|(series, id)| results_path(&series.container, &series.folder(&id)));
        Self {
            package: row.package.clone(),
            release: row.release.clone(),
            arch: row.arch.clone(),
            version: row.version.clone(),
            run_id: row.run_id.clone(),
            uuid: row.uuid.clone(),
            result: row.class().as_str(),
            exitcode: row.exit_code,
            rule: row.rule.clone(),
            duration: row.duration_seconds,
            triggers: row.triggers.iter().flat_map(|t| t.split(' ')).map(str::to_owned).collect(),
            env: row.env.clone(),
            requester: row.requester.clone(),
            container: row.container.clone(),
            url: settings.link(&result_path(row)),
            log: folder.map(|folder| settings.link(&format!("{folder}/log.gz"))),
        }
    }

    /// Its page.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn list(settings: &Settings, rows: &[PublicResult]) -> Vec<Self> {
        rows.iter().map(|row| Self::new(settings, row)).collect()
    }
}

/// A job: what was asked for, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobData {
    /// The run's name.
    uuid: String,
    /// `waiting`, `running`, `publishing`, `storing`, `done`, `parked`, `cancelled` or `obsolete`.
    state: &'static str,
    /// The source package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// The kind of queue that it came by: `ubuntu`, `huge`, `ppa` or `upstream`.
    context: String,
    /// The first upload that it is run for; empty where there is none.
    trigger: String,
    /// All that was asked for, as requests on the queues have it.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Who asked.
    requesters: Vec<String>,
    /// How many attempts were made.
    attempts: i64,
    /// Why it is parked, cancelled or obsolete, or waits again.
    reason: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    received: Timestamp,
    /// When its state last changed.
    #[schema(value_type = String, format = DateTime)]
    changed: Timestamp,
    /// Its page.
    url: String,
}

impl JobData {
    pub(crate) fn new(settings: &Settings, job: &PublicJob) -> Self {
        Self {
            uuid: job.uuid.clone(),
            state: job.state().as_str(),
            package: job.package.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            context: job.context.clone(),
            trigger: job.trigger.clone(),
            params: job.request().map(|request| request.params()).unwrap_or_default(),
            requesters: job.requesters.lines().map(str::to_owned).collect(),
            attempts: job.attempts,
            reason: job.reason.clone(),
            received: time(job.received_us),
            changed: time(job.changed_us),
            url: settings.link(&path(&["run", &job.uuid])),
        }
    }

    pub(crate) fn list(settings: &Settings, jobs: &[PublicJob]) -> Vec<Self> {
        jobs.iter().map(|job| Self::new(settings, job)).collect()
    }
}

/// Why a job waits (`reason`, and what stands beside each), the same for people (`sentence`), about how many jobs start
/// before it (`place`), and in how many seconds it starts (`estimate`); docs/reference/waiting.md has the reasons.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(crate) struct WaitsData(pub(crate) Waits);

/// An attempt to run a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptData {
    /// From 1.
    attempt: i64,
    /// Who ran it.
    worker: String,
    /// That worker's machine.
    host: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    began: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended: Option<Timestamp>,
    /// Why it is no result, as a name.
    fault: Option<String>,
    /// The rule of the log that decided.
    rule: Option<String>,
    /// The page of its log, where it failed and the store has one; with `.gz` behind it, the log itself.
    log: Option<String>,
}

impl AttemptData {
    /// Those of a job.
    pub(crate) async fn list(app: &App, job: &PublicJob, rows: Vec<AttemptRow>) -> Vec<Self> {
        let logs = Logs::of(app, &job.uuid, &rows).await;
        let one = |row: AttemptRow| Self {
            log: logs.path(&row).map(|path| app.settings().link(&path)),
            attempt: row.attempt,
            worker: row.worker,
            host: row.host,
            began: time(row.granted_us),
            ended: row.ended_us.map(time),
            fault: row.fault,
            rule: row.rule,
        };
        rows.into_iter().map(one).collect()
    }
}

/// How a package fares on a release and architecture, by distribution runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingData {
    /// The package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// The outcome of the newest run in which the test had its say, or where there is none, of the newest.
    result: String,
    /// That run.
    run_id: String,
    /// What it tested.
    version: String,
    /// How long it took, in seconds.
    duration: i64,
    /// The newest run that passed or had nothing to test.
    passed_run_id: Option<String>,
    /// What that tested.
    passed_version: Option<String>,
    /// The first failure after it, where the newest failed.
    failing_since: Option<String>,
    /// How many results there are.
    runs: i64,
    /// The page of that run.
    url: String,
}

impl StandingData {
    pub(crate) fn new(settings: &Settings, standing: Standing) -> Self {
        let page = run_path(&standing.package, &standing.release, &standing.arch, &standing.run_id);
        Self {
            url: settings.link(&page),
            package: standing.package,
            release: standing.release,
            arch: standing.arch,
            result: standing.class,
            run_id: standing.run_id,
            version: standing.version,
            duration: standing.duration_seconds,
            passed_run_id: standing.passed_run_id,
            passed_version: standing.passed_version,
            failing_since: standing.failing_since,
            runs: standing.runs,
        }
    }
}
