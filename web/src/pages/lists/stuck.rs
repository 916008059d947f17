//! `/stuck`: what takes longer than it should.

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::db::{StuckFilter, StuckRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::word;
use crate::{
    api::JobData,
    app::App,
    failure::Failure,
    pages::{
        filter::{address, text},
        page,
        recent::choices,
    },
    private::PublicJob,
    view::{Crumb, JobItem, duration},
};

/// How many one answer lists.
const PAGE: usize = 100;
/// Of so many that wait it is seen at once how long they do.
const LOOKED_AT: usize = 1000;

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
    /// Only what `runs-long`, what is `tried-again`, or what `waits-long`.
    #[param(value_type = Option<String>)]
    why: &'static str,
    /// Only jobs behind this number, as `next` has it.
    #[param(required = false, default = 0, minimum = 0)]
    after: i64,
}

const RUNS_LONG: &str = "runs-long";
const TRIED_AGAIN: &str = "tried-again";
const WAITS_LONG: &str = "waits-long";

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        Ok(Self {
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            why: word("reason", &text(query, "why")?, ["", RUNS_LONG, TRIED_AGAIN, WAITS_LONG])?,
            after: crate::pages::recent::number("after", &text(query, "after")?, 0, i64::MAX, 0)?,
        })
    }

    fn is_filter(&self) -> bool {
        [self.release.as_str(), &self.arch, self.why].iter().any(|text| !text.is_empty())
    }

    fn fits(&self, stuck: &Stuck) -> bool {
        let is = |wanted: &str, one: &str| wanted.is_empty() || wanted == one;
        is(&self.release, &stuck.job.release)
            && is(&self.arch, &stuck.job.arch)
            && (self.why.is_empty() || stuck.why.contains(&self.why))
    }

    /// The address of the same list behind a job.
    fn at(&self, base: &str, after: i64) -> String {
        let after = if after > 0 { after.to_string() } else { String::new() };
        let parameters =
            [("release", self.release.as_str()), ("arch", &self.arch), ("why", self.why), ("after", &after)];
        address(&format!("{base}/stuck"), &parameters)
    }
}

/// A job that takes longer than it should.
struct Stuck {
    job: PublicJob,
    /// At least one.
    why: Vec<&'static str>,
    failed_attempts: i64,
    runs_for: Option<i64>,
    usual_seconds: Option<i64>,
}

impl Stuck {
    /// None where it takes no longer than it should, or where not everybody may see it.
    fn of(row: StuckRow, now_us: i64) -> Option<Self> {
        let failed_attempts = row.failed_attempts();
        let reasons = [
            (RUNS_LONG, row.runs_long(now_us)),
            (TRIED_AGAIN, failed_attempts > 0),
            (WAITS_LONG, row.waits_long(now_us)),
        ];
        let why: Vec<_> = reasons.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
        let (runs_for, usual_seconds) = (row.runs_for(now_us), row.usual_seconds);
        let job = PublicJob::of(row.job).filter(|_| !why.is_empty())?;
        Some(Self { job, why, failed_attempts, runs_for, usual_seconds })
    }

    /// The same for people.
    fn sentence(&self) -> String {
        let mut parts = Vec::new();
        if self.why.contains(&RUNS_LONG) {
            let usual = self.usual_seconds.map_or_else(
                || "longer than it may".to_owned(),
                |seconds| format!("the newest result took {}", duration(seconds)),
            );
            parts.push(format!("Runs for {}; {usual}.", duration(self.runs_for.unwrap_or_default())));
        }
        match self.failed_attempts {
            0 => {}
            1 => parts.push("1 attempt failed for a reason that is not the package's.".to_owned()),
            n => parts.push(format!("{n} attempts failed for reasons that are not the package's.")),
        }
        if self.why.contains(&WAITS_LONG) {
            parts.push("Waits for more than a day.".to_owned());
        }
        parts.join(" ")
    }
}

/// What one answer shows, and the number of the job behind which there may be more.
async fn part(app: &App, wanted: &Wanted, now_us: i64) -> Result<(Vec<Stuck>, Option<i64>), Failure> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let limit = |limit| i64::try_from(limit).unwrap_or(i64::MAX);
    let filter = StuckFilter {
        release: some(&wanted.release),
        arch: some(&wanted.arch),
        now_us,
        after: wanted.after,
        limit: limit(PAGE + 1),
    };
    let mut rows = app.db().stuck(&filter).await?;
    // Up to here both lists are whole.
    let mut whole_to = rows.last().filter(|_| rows.len() > PAGE).map(|last| last.job.id);
    let long_ago = StuckRow::long_ago(now_us);
    let waiting = app.db().waits_since_before(long_ago, wanted.after, limit(LOOKED_AT)).await?;
    // They come in the order in which they wait: behind one that has not waited long there is none that has.
    if let Some(last) = waiting.last().filter(|_| waiting.len() == LOOKED_AT) {
        whole_to = Some(whole_to.map_or(last.job.id, |id| id.min(last.job.id)));
    }
    rows.extend(waiting);
    rows.retain(|row| whole_to.is_none_or(|id| row.job.id <= id));
    rows.sort_by_key(|row| row.job.id);
    rows.dedup_by_key(|row| row.job.id);
    let all = rows.into_iter().filter_map(|row| Stuck::of(row, now_us));
    let mut all: Vec<Stuck> = all.filter(|stuck| wanted.fits(stuck)).collect();
    let more = all.len() > PAGE;
    all.truncate(PAGE);
    let next = if more { all.last().map(|last| last.job.id) } else { whole_to };
    Ok((all, next))
}

/// What takes longer than it should.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StuckJobs {
    /// In the order in which they came.
    jobs: Vec<StuckData>,
    /// The address of the part behind; that may hold none.
    next: Option<String>,
}

/// A job that takes longer than it should.
#[derive(Debug, Serialize, ToSchema)]
struct StuckData {
    /// The job.
    job: JobData,
    /// `runs-long`, `tried-again`, `waits-long`.
    why: Vec<&'static str>,
    /// The same for people.
    sentence: String,
    /// For how long it runs, in seconds; null: it waits.
    runs_for: Option<i64>,
    /// How long the newest result of the same took, in seconds; null where none is known, or where it waits.
    usual: Option<i64>,
}

/// What takes longer than it should
///
/// Tests that run more than twice as long as the newest result of the same and a quarter of an hour, or longer than they
/// may; tests that are tried again; tests that wait for more than a day. What is parked is another list's.
#[utoipa::path(get, path = "/api/v1/stuck", tag = "now", params(Wanted), responses((status = OK, body = StuckJobs)))]
pub(crate) async fn json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<StuckJobs>, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let (all, next) = part(&app, &wanted, Timestamp::now().as_microsecond()).await?;
    let jobs = all.into_iter().map(|stuck| StuckData {
        job: JobData::new(app.settings(), &stuck.job),
        sentence: stuck.sentence(),
        why: stuck.why,
        runs_for: stuck.runs_for,
        usual: stuck.usual_seconds,
    });
    Ok(Json(StuckJobs { jobs: jobs.collect(), next: next.map(|after| wanted.at("/api/v1", after)) }))
}

#[derive(Template)]
#[template(path = "lists/stuck.html")]
struct Page {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    /// Job, and why it is here.
    items: Vec<(JobItem, String)>,
    first: Option<String>,
    next: Option<String>,
}

/// `/stuck`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let now = Timestamp::now();
    let (all, next) = part(&app, &wanted, now.as_microsecond()).await?;
    let settings = app.settings();
    let item = |stuck: &Stuck| (JobItem::new(&stuck.job, now), stuck.sentence());
    page(&Page {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        items: all.iter().map(item).collect(),
        first: (wanted.after > 0).then(|| wanted.at("", 0)),
        next: next.map(|after| wanted.at("", after)),
        wanted,
    })
}
