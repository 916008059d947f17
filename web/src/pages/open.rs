//! What is asked for and not done: where it stands, and whether something else here is the same.

use std::collections::HashMap;

use jiff::Timestamp;
use proofhouse_core::{
    db::{JobRow, JobState},
    queue::Waits,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{filter::text, recent, waiting::when};
use crate::{
    api::{JobData, WaitsData},
    app::App,
    failure::Failure,
    private::PublicJob,
    settings::Settings,
    view::{JobItem, duration},
};

/// How many one answer lists.
const MOST: u8 = 100;

/// The number behind which what is not done is asked for; 0: from the first on.
pub(crate) fn open_after(query: Option<&str>) -> Result<i64, Failure> {
    recent::number("open_after", &text(query, "open_after")?, 0, i64::MAX, 0)
}

/// How many rows are read for a part: one more says that there is more.
pub(crate) fn read_limit() -> i64 {
    i64::from(MOST) + 1
}

/// A part of what is asked for and not done, with why it waits.
pub(crate) struct OpenPart {
    pub(crate) jobs: Vec<PublicJob>,
    waits: HashMap<i64, Waits>,
    /// The number behind which there is more.
    pub(crate) next: Option<i64>,
}

/// A job that is not done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenJob {
    /// The job.
    #[serde(flatten)]
    job: JobData,
    /// Why it waits; null where it does not.
    waits: Option<WaitsData>,
}

impl OpenPart {
    /// Of the rows that were read up to [`read_limit`].
    pub(crate) async fn of(app: &App, mut rows: Vec<JobRow>) -> Result<Self, Failure> {
        let more = rows.len() > usize::from(MOST);
        rows.truncate(usize::from(MOST));
        let next = rows.last().filter(|_| more).map(|last| last.id);
        let (jobs, _) = PublicJob::split(rows);
        let waits = waits(app, &jobs).await?;
        Ok(Self { jobs, waits, next })
    }

    /// Leaves those that fit.
    pub(crate) fn retain(&mut self, fits: impl Fn(&PublicJob) -> bool) {
        self.jobs.retain(fits);
        self.waits.retain(|id, _| self.jobs.iter().any(|job| job.id == *id));
    }

    /// The same for programs, in the order in which it came.
    pub(crate) fn data(mut self, settings: &Settings) -> Vec<OpenJob> {
        let one = |job: &PublicJob| OpenJob {
            job: JobData::new(settings, job),
            waits: self.waits.remove(&job.id).map(WaitsData),
        };
        self.jobs.iter().map(one).collect()
    }
}

/// The same as `parts/open.html` shows it.
pub(crate) struct Open {
    /// Running first, then what waits, then what is parked.
    pub(crate) items: Vec<OpenItem>,
    /// How many of them are the same as another.
    pub(crate) same: usize,
    /// They are of more than one package.
    pub(crate) packages: bool,
    /// What operators hold back, where anything waits.
    pub(crate) held: Vec<String>,
    /// The address of those behind,
    pub(crate) more: Option<String>,
    /// and of the first, where these are not.
    pub(crate) first: Option<String>,
}

pub(crate) struct OpenItem {
    pub(crate) job: JobItem,
    /// Why it waits, or for how long it runs.
    pub(crate) why: String,
    /// Where it stands, and when it starts.
    pub(crate) when: String,
    /// Another here is for the same, with the same parameters.
    pub(crate) same: bool,
}

impl Open {
    /// On the page at `path`, behind `after`.
    pub(crate) async fn of(app: &App, part: &OpenPart, path: &str, after: i64) -> Result<Self, Failure> {
        let now = Timestamp::now();
        let usual = usual(app, &part.jobs).await?;
        let item = |job: &PublicJob| OpenItem::new(job, part.waits.get(&job.id), usual.get(&job.id), now);
        let mut items: Vec<OpenItem> = part.jobs.iter().map(item).collect();
        items.sort_by_key(|item| match item.job.outcome.word {
            "parked" => 2,
            "queued" => 1,
            _ => 0,
        });
        let same = mark_same(&mut items);
        let held = if part.waits.is_empty() { vec![] } else { app.situation().await?.held_back() };
        Ok(Self {
            items,
            same,
            packages: false,
            held,
            more: part.next.map(|after| more_path(path, after)),
            first: (after > 0).then(|| path.to_owned()),
        })
    }

    /// With a column for the package.
    pub(crate) fn of_packages(self) -> Self {
        Self { packages: true, ..self }
    }

    /// Not all of it is parked.
    pub(crate) fn is_going_on(&self) -> bool {
        self.items.iter().any(|item| item.job.outcome.word != "parked")
    }

    /// Nothing is to be shown of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.first.is_none() && self.more.is_none()
    }
}

/// The address of what is not done behind a number.
pub(crate) fn more_path(base: &str, after: i64) -> String {
    let mark = if base.contains('?') { '&' } else { '?' };
    format!("{base}{mark}open_after={after}")
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
        Self { when: waits.map(when).unwrap_or_default(), job: JobItem::new(job, now), why, same: false }
    }
}

/// Marks those that ask for the same as one before them, and says how many there are.
fn mark_same(items: &mut [OpenItem]) -> usize {
    for n in 0..items.len() {
        let (before, from) = items.split_at_mut(n);
        let Some(item) = from.first_mut() else { continue };
        let is_same = |other: &OpenItem| {
            let (one, other) = (&item.job, &other.job);
            (&one.package, &one.release, &one.arch, &one.params)
                == (&other.package, &other.release, &other.arch, &other.params)
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
