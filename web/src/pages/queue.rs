//! `/queue/{context}/{release}/{arch}`: one queue: how long it is, what holds it back, and what is next.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{JobRow, LaneLoad, QueueFilter},
    names::{Context, Pair},
    queue::{Class, Lane, Situation, Subject, Waits},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    filter::{address, text},
    page,
    waiting::when,
};
use crate::{
    api::{JobData, WaitsData},
    app::App,
    failure::Failure,
    private::PublicJob,
    view::{Crumb, JobItem, When, path},
    wanted::wants_json,
};

/// How many jobs one part lists.
const PAGE: usize = 100;
/// How many of those that start next are shown.
const NEXT: usize = 20;
/// So many jobs are compared to find them.
const COMPARED: usize = 2000;

/// Which part of the queue.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this package.
    #[param(required = false)]
    package: String,
    /// Only what is run for this upload, `source/version`, first.
    #[param(required = false)]
    trigger: String,
    /// `newest`: those that came last first; otherwise in the order in which they came.
    #[param(required = false)]
    sort: String,
    /// Only jobs behind this number, as `next` has it.
    #[param(required = false, default = 0, minimum = 0)]
    after: i64,
}

/// The order by which what came last comes first.
const NEWEST: &str = "newest";

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let after = text(query, "after")?;
        let after = if after.is_empty() { Some(0) } else { after.parse().ok().filter(|n| *n >= 0) };
        let sort = text(query, "sort")?;
        if !matches!(sort.as_str(), "" | NEWEST) {
            return Err(Failure::bad("This order is not known.", "sort may be newest."));
        }
        Ok(Self {
            package: text(query, "package")?,
            trigger: text(query, "trigger")?,
            sort,
            after: after.ok_or_else(|| Failure::bad("after must be a number.", ""))?,
        })
    }

    fn is_newest_first(&self) -> bool {
        self.sort == NEWEST
    }

    fn is_filter(&self) -> bool {
        !self.package.is_empty() || !self.trigger.is_empty()
    }

    fn filter(&self, queue: &Queue) -> QueueFilter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        QueueFilter {
            context: queue.context,
            pair: queue.pair.clone(),
            package: some(&self.package),
            trigger: some(&self.trigger),
            newest: self.is_newest_first(),
            after: self.after,
            limit: i64::try_from(PAGE + 1).unwrap_or(i64::MAX),
        }
    }

    fn at(&self, base: &str, after: i64) -> String {
        let after = if after > 0 { after.to_string() } else { String::new() };
        let (package, trigger, sort) = (&*self.package, &*self.trigger, &*self.sort);
        address(base, &[("package", package), ("trigger", trigger), ("sort", sort), ("after", &after)])
    }
}

/// One of a pair's queues.
#[derive(Debug, Clone)]
struct Queue {
    context: Context,
    pair: Pair,
}

impl Queue {
    fn parse(path: Result<Path<(String, String, String)>, PathRejection>) -> Result<Self, Failure> {
        let Path((context, release, arch)) = path?;
        let unknown = || Failure::not_found("There is no such queue.");
        let pair = format!("{release}/{arch}").parse().map_err(|_| unknown())?;
        Ok(Self { context: context.parse().map_err(|_| unknown())?, pair })
    }

    fn path(&self, context: Context) -> String {
        path(&["queue", context.as_str(), self.pair.release.as_str(), self.pair.arch.as_str()])
    }

    fn is_of(&self, lane: &Lane) -> bool {
        lane.context == self.context && lane.pair == self.pair
    }
}

/// A job that waits, and why.
struct Waiting {
    job: PublicJob,
    waits: Waits,
}

/// What one answer shows.
struct Part {
    situation: Arc<Situation>,
    /// What waits and runs in each of the pair's queues.
    contexts: Vec<(Context, i64, i64)>,
    waiting: i64,
    running: i64,
    /// When the first and the last came.
    ends: Option<(i64, i64)>,
    /// Why they wait, and how many do so.
    reasons: Vec<(String, i64)>,
    /// Those that start next.
    first: Vec<Waiting>,
    jobs: Vec<Waiting>,
    /// How many of this part are private.
    private: usize,
    next: Option<i64>,
}

async fn explained(app: &App, situation: &Situation, rows: &[JobRow]) -> Result<Vec<Waiting>, Failure> {
    let waits = app.db().explain_each(situation, &rows.iter().collect::<Vec<_>>()).await?;
    let pairs = rows.iter().cloned().zip(waits);
    Ok(pairs.filter_map(|(row, waits)| Some(Waiting { job: PublicJob::of(row)?, waits })).collect())
}

async fn part(app: &App, queue: &Queue, wanted: &Wanted) -> Result<Part, Failure> {
    let counts = app.queue_counts().await?;
    let count = |context: Context| {
        let is = |count: &&proofhouse_core::db::QueueCount| {
            count.context == context.as_str()
                && count.release == queue.pair.release.as_str()
                && count.arch == queue.pair.arch.as_str()
        };
        counts.iter().find(is).map_or((context, 0, 0), |count| (context, count.waiting, count.running))
    };
    let contexts = Context::ALL.map(count).to_vec();
    let (_, waiting, running) = count(queue.context);
    if !app.settings().pairs.contains(&queue.pair) && waiting + running == 0 {
        let advice = "The page of what runs lists the queues that there are.";
        return Err(Failure::not_served(format!("{} is not served here.", queue.pair), advice));
    }
    let situation = app.situation().await?;
    let loads = app.lanes().await?;
    let lanes: Vec<(Lane, &LaneLoad)> = loads
        .iter()
        .filter_map(|load| Some((load.lane.as_deref()?.parse().ok()?, load)))
        .filter(|(lane, _)| queue.is_of(lane))
        .collect();
    let mut rows = app.db().queue_part(&wanted.filter(queue)).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let jobs = explained(app, &situation, &rows).await?;
    let is_first = wanted.after == 0 && !wanted.is_filter() && !wanted.is_newest_first();
    Ok(Part {
        contexts,
        waiting,
        running,
        ends: app.db().queue_ends(queue.context, &queue.pair).await?,
        reasons: reasons(&situation, &lanes, waiting),
        first: if is_first && more { next(app, &situation, &lanes).await? } else { Vec::new() },
        private: rows.len() - jobs.len(),
        next: rows.last().filter(|_| more).map(|last| last.id),
        jobs,
        situation,
    })
}

/// Why jobs wait, those of which there are most first. By lanes: nothing of it names a package, a trigger or a person, who may
/// be a private run's.
fn reasons(situation: &Situation, lanes: &[(Lane, &LaneLoad)], waiting: i64) -> Vec<(String, i64)> {
    let subject = |(lane, load): &(Lane, &LaneLoad)| {
        let (trigger, requester) = match lane.class {
            Class::People => (String::new(), lane.key.clone()),
            Class::Gates | Class::Bulk => (lane.key.clone(), String::new()),
        };
        Subject { lane: load.lane.clone(), trigger, requester, private: true, ..Subject::default() }
    };
    let subjects: Vec<Subject> = lanes.iter().map(subject).collect();
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (waits, (_, load)) in situation.explain_all(&subjects).into_iter().zip(lanes) {
        *sums.entry(waits.sentence).or_default() += load.waiting - load.pausing;
    }
    let sorted: i64 = lanes.iter().map(|(_, load)| load.waiting).sum();
    let pausing: i64 = lanes.iter().map(|(_, load)| load.pausing).sum();
    for (text, n) in [
        (
            "The last attempt failed for a reason that is not the package's. It is tried again after a pause.",
            pausing,
        ),
        ("The dispatcher has not sorted it yet, or it is answered without a run.", waiting - sorted),
    ] {
        sums.insert(text.to_owned(), n);
    }
    let mut reasons: Vec<(String, i64)> = sums.into_iter().filter(|(_, n)| *n > 0).collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    reasons
}

/// Those that start next: of each lane the first are compared by their places.
async fn next(
    app: &App,
    situation: &Situation,
    lanes: &[(Lane, &LaneLoad)],
) -> Result<Vec<Waiting>, Failure> {
    let mut order: Vec<&(Lane, &LaneLoad)> = lanes.iter().collect();
    order.sort_by_key(|(lane, _)| (std::cmp::Reverse(lane.level), lane.class));
    order.truncate(COMPARED);
    let each = (COMPARED / order.len().max(1)).clamp(1, NEXT);
    let wanted: Vec<(String, i64)> =
        order.iter().filter_map(|(_, load)| Some((load.lane.clone()?, 0))).collect();
    let limit = i64::try_from(each).unwrap_or(i64::MAX);
    let windows = app.db().windows(&wanted, situation.now_us, limit).await?;
    let (mut ids, mut subjects) = (Vec::new(), Vec::new());
    for (lane, candidates) in windows {
        for (before, candidate) in (0..).zip(candidates) {
            ids.push(candidate.id);
            subjects.push(Subject {
                lane: Some(lane.clone()),
                before,
                package: candidate.package,
                trigger: candidate.trigger,
                requester: candidate.requesters.lines().next().unwrap_or_default().to_owned(),
                failed_on: candidate.failed_on,
                ..Subject::default()
            });
        }
    }
    let waits = situation.explain_all(&subjects);
    // What is held back for as long as an operator wants has no place.
    let placed = ids.into_iter().zip(waits).filter_map(|(id, waits)| Some((waits.place?, id)));
    let mut placed: Vec<(u64, i64)> = placed.collect();
    placed.sort_unstable();
    // Private ones among them are left out.
    let ids: Vec<i64> = placed.into_iter().take(5 * NEXT).map(|(_, id)| id).collect();
    let mut first = explained(app, situation, &app.db().jobs_by_number(&ids).await?).await?;
    first.sort_by_key(|waiting| ids.iter().position(|id| *id == waiting.job.id));
    first.truncate(NEXT);
    Ok(first)
}

/// One queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuePart {
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
    /// When the first of those that wait came.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest: Option<Timestamp>,
    /// When the last came.
    #[schema(value_type = Option<String>, format = DateTime)]
    newest: Option<Timestamp>,
    /// Why they wait; of what holds single packages back only `jobs` tells.
    reasons: Vec<QueueReason>,
    /// Those that start next, where `jobs` does not have them all: at most twenty, on the first part in the usual order.
    first: Vec<QueuedJob>,
    /// In the order in which they came, or the last first, a hundred at once.
    jobs: Vec<QueuedJob>,
    /// How many of this part are private.
    private: usize,
    /// The address of the part behind.
    next: Option<String>,
}

/// Why jobs wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueReason {
    /// For people.
    sentence: String,
    /// How many do so.
    count: i64,
}

/// A job that waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuedJob {
    /// What was asked for.
    job: JobData,
    /// Why it waits.
    waits: WaitsData,
}

fn as_json(app: &App, queue: &Queue, wanted: &Wanted, part: Part, base: &str) -> Json<QueuePart> {
    let time = |us| Timestamp::from_microsecond(us).unwrap_or_default();
    let list = |jobs: Vec<Waiting>| -> Vec<QueuedJob> {
        let data = |Waiting { job, waits }| QueuedJob {
            job: JobData::new(app.settings(), &job),
            waits: WaitsData(waits),
        };
        jobs.into_iter().map(data).collect()
    };
    Json(QueuePart {
        context: queue.context.to_string(),
        release: queue.pair.release.to_string(),
        arch: queue.pair.arch.to_string(),
        waiting: part.waiting,
        running: part.running,
        oldest: part.ends.map(|(oldest, _)| time(oldest)),
        newest: part.ends.map(|(_, newest)| time(newest)),
        reasons: part.reasons.into_iter().map(|(sentence, count)| QueueReason { sentence, count }).collect(),
        first: list(part.first),
        jobs: list(part.jobs),
        private: part.private,
        next: part.next.map(|after| wanted.at(base, after)),
    })
}

/// One queue: what waits in it, and why
///
/// In the order in which it came, or the last first; `place` and `estimate` say in which order it starts.
#[utoipa::path(get, path = "/api/v1/queue/{context}/{release}/{arch}", tag = "now",
    params(
        ("context" = String, Path, description = "ubuntu, huge, ppa or upstream."),
        ("release" = String, Path, description = "The release."),
        ("arch" = String, Path, description = "The architecture."),
        Wanted
    ),
    responses((status = OK, body = QueuePart)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<QueuePart>, Failure> {
    let (queue, wanted) = (Queue::parse(path)?, Wanted::parse(query.as_deref())?);
    let part = part(&app, &queue, &wanted).await?;
    let base = format!("/api/v1{}", queue.path(queue.context));
    Ok(as_json(&app, &queue, &wanted, part, &base))
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Page {
    crumbs: Vec<Crumb>,
    queue: Queue,
    base: String,
    wanted: Wanted,
    /// Name, address, how many wait and run, and whether it is this one.
    contexts: Vec<(Context, String, i64, i64, bool)>,
    held: Vec<String>,
    disabled: bool,
    waiting: i64,
    running: i64,
    running_path: String,
    ends: Option<(When, When)>,
    reasons: Vec<(String, i64)>,
    next_jobs: Vec<Item>,
    jobs: Vec<Item>,
    private: usize,
    first: Option<String>,
    next: Option<String>,
}

struct Item {
    job: JobItem,
    sentence: String,
    when: String,
}

impl Item {
    fn list(jobs: &[Waiting], now: Timestamp) -> Vec<Self> {
        let item = |Waiting { job, waits }: &Waiting| Self {
            job: JobItem::new(job, now),
            sentence: waits.sentence.clone(),
            when: when(waits),
        };
        jobs.iter().map(item).collect()
    }
}

/// `/queue/{context}/{release}/{arch}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (queue, wanted) = (Queue::parse(path)?, Wanted::parse(query.as_deref())?);
    let part = part(&app, &queue, &wanted).await?;
    let base = queue.path(queue.context);
    if wants_json(&headers) {
        return Ok(as_json(&app, &queue, &wanted, part, &base).into_response());
    }
    let now = Timestamp::now();
    let (release, arch) = (queue.pair.release.as_str(), queue.pair.arch.as_str());
    let parameters = [("context", queue.context.as_str()), ("release", release), ("arch", arch)];
    let context = |(context, waiting, running)| {
        (context, queue.path(context), waiting, running, context == queue.context)
    };
    page(&Page {
        crumbs: vec![Crumb { name: "Running and queued".to_owned(), path: "/running".to_owned() }],
        contexts: part.contexts.into_iter().map(context).collect(),
        held: part.situation.held_back(),
        disabled: app.settings().disabled.contains(&queue.pair),
        waiting: part.waiting,
        running: part.running,
        running_path: address("/running", &parameters),
        ends: part.ends.map(|(oldest, newest)| (When::micros(oldest, now), When::micros(newest, now))),
        reasons: part.reasons,
        next_jobs: Item::list(&part.first, now),
        jobs: Item::list(&part.jobs, now),
        private: part.private,
        first: (wanted.after > 0).then(|| wanted.at(&base, 0)),
        next: part.next.map(|after| wanted.at(&base, after)),
        base,
        wanted,
        queue,
    })
}
