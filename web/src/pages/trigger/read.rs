//! Reads an upload's matrix, and keeps the large ones for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proofhouse_core::{
    db::{JobState, UploadJob},
    params::Trigger,
    queue::Situation,
};

use super::cells::{Folds, Matrix};
use crate::{app::App, costly::Costly, failure::Failure};

/// So many of the results that came last are looked at; a perl upload sets off 175,000 tests.
pub(super) const MOST: usize = 300_000;
/// So many large matrices are kept.
const KEPT: usize = 8;
/// One of so many tests is large.
const LARGE: usize = 2000;
/// An older one is not shown.
const OLDEST: Duration = Duration::from_secs(120);
/// In so many lanes it is looked when the last test starts.
const LANES: usize = 50;

/// Matrices that somebody looks at.
#[derive(Debug, Default)]
pub(crate) struct Matrices(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Large ones, the one that was asked for last first.
    large: Vec<(String, Arc<Costly<Matrix>>)>,
    /// Those that are being read, which may be of an upload that there is not.
    reading: HashMap<String, Weak<Costly<Matrix>>>,
}

impl Matrices {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Changes are whole even where a panic cut one short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, name: &str) -> Arc<Costly<Matrix>> {
        let mut known = self.known();
        if let Some(at) = known.large.iter().position(|(other, _)| other == name) {
            known.large[..=at].rotate_right(1);
            return known.large[0].1.clone();
        }
        known.reading.retain(|_, kept| kept.strong_count() > 0);
        if let Some(kept) = known.reading.get(name).and_then(Weak::upgrade) {
            return kept;
        }
        let kept = Arc::default();
        known.reading.insert(name.to_owned(), Arc::downgrade(&kept));
        kept
    }

    /// Keeps a large one, and forgets one that is no more.
    fn keep(&self, name: String, kept: Arc<Costly<Matrix>>, is_large: bool) {
        let mut known = self.known();
        known.large.retain(|(other, _)| *other != name);
        if is_large {
            known.large.insert(0, (name, kept));
            known.large.truncate(KEPT);
        }
    }

    /// What an upload set off, as far as everybody may see it. Of a large one that was read lately nobody waits for a newer one.
    pub(super) async fn get(&self, app: &App, trigger: &Trigger) -> Result<Arc<Matrix>, Failure> {
        let name = trigger.to_string();
        let kept = self.of(&name);
        let (app, trigger) = (app.clone(), trigger.clone());
        let matrix = kept.get_within(Some(OLDEST), async move { read(&app, &trigger).await }).await?;
        self.keep(name, kept, matrix.tests >= LARGE);
        Ok(matrix)
    }
}

async fn read(app: &App, trigger: &Trigger) -> Result<Matrix, Failure> {
    let (db, name, at) = (app.db(), trigger.to_string(), Timestamp::now());
    let results = db.results_of_upload(&name, i64::try_from(MOST).unwrap_or(i64::MAX)).await?;
    let cut = results.len() >= MOST;
    let mut jobs = db.jobs_of_upload(&name).await?;
    if let Some(further) = app.further_triggers().await?.get(&name) {
        jobs.extend(db.upload_jobs(further).await?);
    }
    let ends = ends(app, &jobs, at).await?;
    let mut folds = Folds::new(results, jobs);
    // Baselines are what others are compared with.
    if !trigger.is_baseline() {
        let said = db.said_before_runs(&folds.failing()).await?;
        folds.judge(&said);
    }
    Ok(folds.finish(at, cut, ends))
}

/// When the last of these should have ended: it starts after all that waits before it in its lane.
async fn ends(app: &App, jobs: &[UploadJob], now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let mut lanes: HashMap<&str, (usize, i64)> = HashMap::new();
    let mut is_open = false;
    for job in jobs {
        let state: Option<JobState> = job.state.parse().ok();
        is_open |= state != Some(JobState::Parked);
        if state == Some(JobState::Waiting) {
            let lane = lanes.entry(job.lane.as_deref().unwrap_or_default()).or_default();
            *lane = (lane.0 + 1, lane.1.max(job.id));
        }
    }
    if !is_open {
        return Ok(None);
    }
    let mut lanes: Vec<(usize, i64)> = lanes.into_values().collect();
    lanes.sort_unstable_by(|one, other| other.cmp(one));
    let last: Vec<i64> = lanes.into_iter().take(LANES).map(|(_, id)| id).collect();
    let situation = app.situation().await?;
    let last = app.db().jobs_by_number(&last).await?;
    let waits = app.db().explain_each(&situation, &last.iter().collect::<Vec<_>>()).await?;
    let mut seconds: f64 = 0.0;
    for waits in waits {
        let Some(estimate) = waits.estimate else { return Ok(None) };
        seconds = seconds.max(estimate.likely_seconds);
    }
    let Some(usual) = usual(&situation) else { return Ok(None) };
    let takes = SignedDuration::try_from_secs_f64(seconds + usual).ok();
    Ok(takes.and_then(|takes| now.checked_add(takes).ok()))
}

/// How many seconds a test takes on average, in the pool in which that is longest.
fn usual(situation: &Situation) -> Option<f64> {
    situation.durations.values().map(|durations| durations.mean).reduce(f64::max)
}
