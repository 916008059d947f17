//! What is asked for and not done: where it stands, and whether something else here is the same.

use std::collections::HashMap;

use jiff::Timestamp;
use proofhouse_core::{db::JobState, names::Package, queue::Waits};

use crate::{
    app::App,
    failure::Failure,
    pages::waiting::when,
    private::PublicJob,
    view::{JobItem, duration, trigger_path},
};

/// How many are shown.
const MOST: usize = 200;

/// What is asked for and not done.
pub(super) struct Open {
    /// Running first, then what waits, then what is parked.
    pub(super) items: Vec<OpenItem>,
    /// There are more than these.
    pub(super) more: bool,
    /// How many of them are the same as another.
    pub(super) same: usize,
}

pub(super) struct OpenItem {
    pub(super) job: JobItem,
    /// Name and address of the first upload that it is for.
    pub(super) trigger: Option<(String, String)>,
    /// Why it waits, or for how long it runs.
    pub(super) why: String,
    /// Where it stands, and when it starts.
    pub(super) when: String,
    /// Another here is for the same, with the same parameters.
    pub(super) same: bool,
}

impl Open {
    pub(super) async fn read(app: &App, package: &Package, now: Timestamp) -> Result<Self, Failure> {
        let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
        let mut rows = app.db().open_jobs_of(package, None, limit).await?;
        let more = rows.len() > MOST;
        rows.truncate(MOST);
        let (jobs, _) = PublicJob::split(rows);
        let waits = waits(app, &jobs).await?;
        let usual = usual(app, &jobs).await?;
        let mut items: Vec<OpenItem> =
            jobs.iter().map(|job| OpenItem::new(job, waits.get(&job.id), usual.get(&job.id), now)).collect();
        items.sort_by_key(|item| match item.job.outcome.word {
            "parked" => 2,
            "queued" => 1,
            _ => 0,
        });
        let same = mark_same(&mut items);
        Ok(Self { items, more, same })
    }
}

impl OpenItem {
    fn new(job: &PublicJob, waits: Option<&Waits>, usual: Option<&i64>, now: Timestamp) -> Self {
        let runs_for = || {
            let seconds = (now.as_microsecond() - job.changed_us) / 1_000_000;
            let usual = usual.map(|usual| format!(", usually {}", duration(*usual))).unwrap_or_default();
            format!("It runs for {}{usual}.", duration(seconds))
        };
        let why = match job.state() {
            JobState::Running => runs_for(),
            _ => waits.map(|waits| waits.sentence.clone()).unwrap_or_default(),
        };
        Self {
            trigger: trigger_path(&job.trigger).map(|path| (job.trigger.clone(), path)),
            when: waits.map(when).unwrap_or_default(),
            job: JobItem::new(job, now),
            why,
            same: false,
        }
    }
}

/// Marks those that ask for the same as one before them, and says how many there are.
fn mark_same(items: &mut [OpenItem]) -> usize {
    for n in 0..items.len() {
        let (before, from) = items.split_at_mut(n);
        let Some(item) = from.first_mut() else { continue };
        let is_same = |other: &OpenItem| {
            let (one, other) = (&item.job, &other.job);
            (&one.release, &one.arch, &one.params) == (&other.release, &other.arch, &other.params)
        };
        item.same = before.iter().any(is_same);
    }
    items.iter().filter(|item| item.same).count()
}

/// Why each of those that wait does so, by number.
pub(crate) async fn waits(app: &App, jobs: &[PublicJob]) -> Result<HashMap<i64, Waits>, Failure> {
    let waiting = jobs.iter().filter(|job| job.state() == JobState::Waiting);
    let waiting: Vec<&_> = waiting.map(|job| &**job).collect();
    if waiting.is_empty() {
        return Ok(HashMap::new());
    }
    let situation = app.situation().await?;
    let waits = app.db().explain_each(&situation, &waiting).await?;
    Ok(waiting.iter().map(|job| job.id).zip(waits).collect())
}

/// How long each of those that run usually takes, in seconds, by number.
async fn usual(app: &App, jobs: &[PublicJob]) -> Result<HashMap<i64, i64>, Failure> {
    let running: Vec<&PublicJob> = jobs.iter().filter(|job| job.state() == JobState::Running).collect();
    let tests: Vec<[&str; 3]> =
        running.iter().map(|job| [job.package.as_str(), &job.release, &job.arch]).collect();
    let seconds = app.db().usual_seconds(&tests).await?;
    Ok(running.iter().zip(seconds).filter_map(|(job, seconds)| Some((job.id, seconds?))).collect())
}
