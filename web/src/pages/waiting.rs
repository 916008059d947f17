//! `/waiting`: what gates still wait for, oldest first.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{GateCount, GateFilter, JobRow, JobState},
    names::Context,
    queue::{Situation, Subject, Waits, in_words},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    filter::{address, text},
    page,
    recent::{choices, number},
};
use crate::{
    api::WaitsData,
    app::App,
    failure::Failure,
    private::PublicJob,
    view::{Crumb, JobItem, When},
    wanted::wants_json,
};

/// How many one page lists.
const PAGE: usize = 100;
/// How many triggers are summed up: those of which gates wait for most.
const TRIGGERS: usize = 20;

#[derive(Template)]
#[template(path = "waiting.html")]
struct Waiting {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    contexts: [Context; 4],
    held: Vec<String>,
    triggers: Vec<Trigger>,
    /// How many triggers are left out.
    more_triggers: usize,
    jobs: Vec<Item>,
    /// How many of this page are private.
    private: usize,
    older: Option<String>,
    newer: Option<String>,
}

struct Item {
    job: JobItem,
    waits: Option<Waits>,
}

impl Item {
    fn when(&self) -> String {
        self.waits.as_ref().map(when).unwrap_or_default()
    }
}

/// `About 7 tests start before it, in about 20 min.`, as far as it is known.
pub(crate) fn when(waits: &Waits) -> String {
    let starts = waits.estimate.map(|estimate| format!(", in about {}", in_words(estimate.likely_seconds)));
    let starts = starts.unwrap_or_default();
    match waits.place {
        None => String::new(),
        Some(0) => format!("It is the next{starts}."),
        Some(1) => format!("About one test starts before it{starts}."),
        Some(n) => format!("About {n} tests start before it{starts}."),
    }
}

/// What gates wait for because of one upload.
struct Trigger {
    name: String,
    waiting: i64,
    running: i64,
    parked: i64,
    oldest: When,
    oldest_us: i64,
}

impl Trigger {
    const fn all(&self) -> i64 {
        self.waiting + self.running + self.parked
    }
}

/// Those of which most is open first.
fn triggers(counts: &[GateCount], wanted: &Wanted, now: Timestamp) -> Vec<Trigger> {
    let mut by_name: HashMap<&str, Trigger> = HashMap::new();
    for GateCount { of, .. } in counts.iter().filter(|count| wanted.fits(count)) {
        let (name, oldest_us) = (of.trigger.clone(), of.oldest_us);
        let sum = by_name.entry(&of.trigger).or_insert_with(|| Trigger {
            name,
            waiting: 0,
            running: 0,
            parked: 0,
            oldest: When::micros(oldest_us, now),
            oldest_us,
        });
        sum.waiting += of.waiting;
        sum.running += of.running;
        sum.parked += of.parked;
        if oldest_us < sum.oldest_us {
            (sum.oldest, sum.oldest_us) = (When::micros(oldest_us, now), oldest_us);
        }
    }
    let mut all: Vec<Trigger> = by_name.into_values().collect();
    all.sort_by(|a, b| (b.all(), a.oldest_us, &a.name).cmp(&(a.all(), b.oldest_us, &b.name)));
    all
}

/// Why each of these waits. From the oldest on, where each stands in its lane is seen by the list itself; on later pages
/// that would be a count of its own for each lane, and is left out. So are hosts on which it failed.
fn waits(situation: &Situation, rows: &[JobRow], first: bool) -> HashMap<i64, Waits> {
    let mut lanes: HashMap<&str, i64> = HashMap::new();
    let waiting: Vec<&JobRow> = rows.iter().filter(|row| row.state() == JobState::Waiting).collect();
    let mut subjects = Vec::new();
    for row in &waiting {
        let place = lanes.entry(row.lane.as_deref().unwrap_or_default()).or_default();
        let before = *place;
        *place += i64::from(row.not_before_us <= situation.now_us);
        subjects.push(Subject {
            lane: row.lane.clone(),
            before,
            not_before_us: row.not_before_us,
            package: row.package.clone(),
            trigger: row.trigger.clone(),
            requester: row.requesters.lines().next().unwrap_or_default().to_owned(),
            private: row.private,
            answered: row.answer_code.is_some(),
            ..Subject::default()
        });
    }
    let mut all = situation.explain_all(&subjects);
    for (waits, row) in all.iter_mut().zip(&waiting) {
        // In a person's lane others stand that no gate waits for.
        if !first || row.lane.as_deref().is_some_and(|lane| lane.contains(" people ")) {
            (waits.place, waits.estimate) = (None, None);
        }
    }
    waiting.iter().map(|row| row.id).zip(all).collect()
}

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this release.
    #[param(required = false)]
    release: String,
    /// Only this architecture.
    #[param(required = false)]
    arch: String,
    /// Only this kind of queue: ubuntu, huge, ppa or upstream.
    #[param(required = false)]
    context: String,
    /// Only jobs behind this number, as `next` has it.
    #[param(required = false, default = 0, minimum = 0)]
    after: i64,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        Ok(Self {
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            context: text(query, "context")?,
            after: number("after", &text(query, "after")?, 0, i64::MAX, 0)?,
        })
    }

    fn is_filter(&self) -> bool {
        [&self.release, &self.arch, &self.context].iter().any(|text| !text.is_empty())
    }

    fn fits(&self, count: &GateCount) -> bool {
        let is = |wanted: &str, one: &str| wanted.is_empty() || wanted == one;
        is(&self.release, &count.release) && is(&self.arch, &count.arch) && is(&self.context, &count.context)
    }

    fn filter(&self) -> GateFilter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        GateFilter {
            release: some(&self.release),
            arch: some(&self.arch),
            context: some(&self.context),
            before_us: 0,
            after: self.after,
            limit: i64::try_from(PAGE).unwrap_or(i64::MAX) + 1,
        }
    }

    /// The address of the same list from another job on.
    fn at(&self, base: &str, after: i64) -> String {
        let after = if after > 0 { after.to_string() } else { String::new() };
        let parameters = [
            ("release", self.release.as_str()),
            ("arch", &self.arch),
            ("context", &self.context),
            ("after", &after),
        ];
        address(base, &parameters)
    }
}

/// What gates wait for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gates {
    /// The uploads because of which they wait for most.
    triggers: Vec<GateTrigger>,
    /// How many uploads are left out.
    more_triggers: usize,
    /// One by one, oldest first.
    jobs: Vec<GateJob>,
    /// How many of this part are private.
    private: usize,
    /// The address of the part behind.
    next: Option<String>,
}

/// What gates wait for because of one upload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GateTrigger {
    /// The upload, `source/version`; empty where none is named.
    trigger: String,
    /// When the oldest came.
    #[schema(value_type = String, format = DateTime)]
    oldest: Timestamp,
    /// How many wait.
    waiting: i64,
    /// How many run.
    running: i64,
    /// How many are parked.
    parked: i64,
}

/// A job for which a gate waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GateJob {
    /// The run's name.
    uuid: String,
    /// `waiting`, `running`, `publishing`, `storing` or `parked`.
    state: &'static str,
    /// The source package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// The kind of queue that it came by.
    context: String,
    /// The first upload that it is run for; empty where there is none.
    trigger: String,
    /// How many attempts were made.
    attempts: i64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    received: Timestamp,
    /// Why it waits.
    waits: Option<WaitsData>,
}

fn timestamp(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or_default()
}

impl From<&Trigger> for GateTrigger {
    fn from(trigger: &Trigger) -> Self {
        Self {
            trigger: trigger.name.clone(),
            oldest: timestamp(trigger.oldest_us),
            waiting: trigger.waiting,
            running: trigger.running,
            parked: trigger.parked,
        }
    }
}

impl GateJob {
    fn new(job: &PublicJob, waits: Option<Waits>) -> Self {
        Self {
            uuid: job.uuid.clone(),
            state: job.state().as_str(),
            package: job.package.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            context: job.context.clone(),
            trigger: job.trigger.clone(),
            attempts: job.attempts,
            received: timestamp(job.received_us),
            waits: waits.map(WaitsData),
        }
    }
}

/// What one answer shows.
struct Part {
    situation: Arc<Situation>,
    triggers: Vec<Trigger>,
    more_triggers: usize,
    jobs: Vec<PublicJob>,
    private: usize,
    waits: HashMap<i64, Waits>,
    /// The number behind which there is more.
    next: Option<i64>,
}

async fn part(app: &App, wanted: &Wanted, now: Timestamp) -> Result<Part, Failure> {
    let mut rows = app.db().gates_wait_for(&wanted.filter()).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    let situation = app.situation().await?;
    let waits = waits(&situation, &rows, wanted.after == 0);
    let mut triggers = triggers(&app.gates().await?, wanted, now);
    let more_triggers = triggers.len().saturating_sub(TRIGGERS);
    triggers.truncate(TRIGGERS);
    let (jobs, private) = PublicJob::split(rows);
    Ok(Part { situation, triggers, more_triggers, jobs, private, waits, next })
}

fn as_json(mut part: Part, wanted: &Wanted, base: &str) -> Json<Gates> {
    Json(Gates {
        triggers: part.triggers.iter().map(GateTrigger::from).collect(),
        more_triggers: part.more_triggers,
        jobs: part.jobs.iter().map(|job| GateJob::new(job, part.waits.remove(&job.id))).collect(),
        private: part.private,
        next: part.next.map(|after| wanted.at(base, after)),
    })
}

/// What gates wait for, oldest first
///
/// A hundred at once, with why each waits.
#[utoipa::path(get, path = "/api/v1/waiting", tag = "now", params(Wanted), responses((status = OK, body = Gates)))]
pub(crate) async fn json(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Gates>, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let part = part(&app, &wanted, Timestamp::now()).await?;
    Ok(as_json(part, &wanted, "/api/v1/waiting"))
}

/// `/waiting`.
pub(crate) async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    const BASE: &str = "/waiting";
    let wanted = Wanted::parse(query.as_deref())?;
    let now = Timestamp::now();
    let part = part(&app, &wanted, now).await?;
    if wants_json(&headers) {
        return Ok(as_json(part, &wanted, BASE).into_response());
    }
    let Part { situation, triggers, more_triggers, jobs, private, mut waits, next } = part;
    let settings = app.settings();
    let item = |job: &PublicJob| Item { job: JobItem::new(job, now), waits: waits.remove(&job.id) };
    page(&Waiting {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        contexts: Context::ALL,
        held: situation.held_back(),
        triggers,
        more_triggers,
        jobs: jobs.iter().map(item).collect(),
        private,
        older: (wanted.after > 0).then(|| wanted.at(BASE, 0)),
        newer: next.map(|after| wanted.at(BASE, after)),
        wanted,
    })
}
