//! What runs now: the job table's runs, with what their messages say, and runs of other systems that only messages tell of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use jiff::Timestamp;
use proofhouse_core::{
    db::{DbError, JobState},
    protocol::Status,
    request::Request,
};
use serde_json::{Map, Value};

use crate::{app::App, private::PublicJob, running::Said, view::Outcome};

/// More than this many runs at once no page lists.
pub(crate) const MOST: i64 = 20_000;

/// A public run.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) package: String,
    pub(crate) release: String,
    pub(crate) arch: String,
    /// Empty where another system runs it and its parameters say nothing.
    pub(crate) context: String,
    pub(crate) uuid: Option<String>,
    pub(crate) params: Map<String, Value>,
    /// In seconds.
    pub(crate) duration: i64,
    pub(crate) logtail: String,
    /// What it does, as its worker says.
    pub(crate) phase: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) attempt: Option<i64>,
    pub(crate) outcome: Outcome,
}

/// What runs now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now {
    /// By package, release, arch.
    pub(crate) runs: Vec<Live>,
    /// How many private ones run, by release and arch.
    pub(crate) private: BTreeMap<(String, String), usize>,
    /// More run than are read.
    pub(crate) is_cut: bool,
}

impl Live {
    fn of_job(job: &PublicJob, said: Option<&Said>, now: Timestamp, clock: Instant) -> Self {
        let status = said.map(|s| &s.status);
        let since = (now.as_microsecond() - job.changed_us) / 1_000_000;
        Self {
            package: job.package.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            context: job.context.clone(),
            uuid: Some(job.uuid.clone()),
            params: job.request().as_ref().map(Request::params).unwrap_or_default(),
            duration: said.map_or(since.max(0), |s| s.duration(clock)),
            logtail: status.map(|s| s.logtail.clone()).unwrap_or_default(),
            phase: status.and_then(|s| s.phase.clone()),
            worker: status.and_then(|s| s.worker.clone()),
            attempt: Some(job.attempts),
            outcome: job.state().into(),
        }
    }

    /// The uploads that it is run for, as its parameters have them.
    pub(crate) fn triggers(&self) -> impl Iterator<Item = &str> {
        self.params.get("triggers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    pub(crate) fn of_message(said: Said, clock: Instant) -> Self {
        let duration = said.duration(clock);
        let Status { package, release, architecture, params, logtail, uuid, attempt, worker, phase, .. } =
            said.status;
        let request = package.parse().ok().and_then(|p| Request::from_params(p, params.clone()).ok());
        Self {
            context: request.map(|r| r.natural_context().to_string()).unwrap_or_default(),
            package,
            release,
            arch: architecture,
            uuid: uuid.map(|u| u.to_string()),
            params,
            duration,
            logtail,
            phase,
            worker,
            attempt: attempt.map(i64::from),
            outcome: Outcome::RUNNING,
        }
    }
}

/// Reads what runs now.
pub(crate) async fn now(app: &App, now: Timestamp) -> Result<Now, DbError> {
    let clock = Instant::now();
    let (heard, heard_private) = app.heard().now(clock);
    let mut by_uuid: HashMap<String, Said> = HashMap::new();
    let mut foreign = Vec::new();
    for said in heard {
        match said.status.uuid {
            Some(uuid) => {
                by_uuid.insert(uuid.to_string(), said);
            }
            None => foreign.push(said),
        }
    }
    let mut all = Now::default();
    let rows = app.db().running(MOST).await?;
    all.is_cut = i64::try_from(rows.len()).is_ok_and(|n| n >= MOST);
    for row in rows {
        let said = by_uuid.remove(&row.uuid);
        let pair = (row.release.clone(), row.arch.clone());
        match PublicJob::of(row) {
            Some(job) => all.runs.push(Live::of_job(&job, said.as_ref(), now, clock)),
            None => *all.private.entry(pair).or_default() += 1,
        }
    }
    // A message of ours whose last one was lost: the table knows that the run is over, or that it is private.
    let uuids: Vec<String> = by_uuid.keys().cloned().collect();
    let known = if uuids.is_empty() { BTreeSet::new() } else { app.db().known_uuids(&uuids).await? };
    foreign.extend(by_uuid.into_iter().filter(|(uuid, _)| !known.contains(uuid)).map(|(_, said)| said));
    all.runs.extend(foreign.into_iter().map(|said| Live::of_message(said, clock)));
    for pair in heard_private {
        all.private.entry(pair).or_insert(1);
    }
    all.runs.sort_by(|a, b| {
        (&a.package, &a.release, &a.arch, &a.uuid).cmp(&(&b.package, &b.release, &b.arch, &b.uuid))
    });
    Ok(all)
}

/// One run by its uuid, as its messages tell of it.
pub(crate) fn heard_of(app: &App, uuid: &str) -> Option<Said> {
    app.heard().of(uuid, Instant::now())
}

/// The state is one in which something runs.
pub(crate) const fn is_running(state: JobState) -> bool {
    matches!(state, JobState::Running | JobState::Publishing | JobState::Storing)
}
