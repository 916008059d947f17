//! `/run/{uuid}`: one run by its uuid, from the second it was asked for.

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{JobState, Order},
    names::Pair,
    queue::{Estimate, Waits, in_words},
};
use uuid::Uuid;

use super::{
    packages::{self, attempts::Attempts, list::is_known},
    page,
};
use crate::{
    app::App,
    failure::{Failure, PROBLEM},
    private::{PublicJob, PublicResult},
    progress::{Progress, progress},
    reproduce::Reproduce,
    view::{Crumb, JobItem, ResultItem, When, crumbs},
    wanted::{names_html, wants_json},
};

/// So many results of the same package are shown.
const SHOWN: i64 = 5;

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    crumbs: Vec<Crumb>,
    job: JobItem,
    /// For a job that waits.
    waiting: Option<Waiting>,
    /// For a job that runs.
    progress: Option<Progress>,
    /// For a job that is parked.
    parked: Option<Answer>,
    attempts: Attempts,
    /// Results of the same package there, newest first.
    results: Vec<ResultItem>,
    reproduce: Option<Reproduce>,
}

/// Whether a parked job's gate is told of it.
enum Answer {
    At(When),
    Soon,
    Never,
}

/// Why a job waits, where it stands, and when it starts.
struct Waiting {
    sentence: String,
    place: Option<u64>,
    starts: Option<String>,
}

impl From<Waits> for Waiting {
    fn from(Waits { sentence, place, estimate, .. }: Waits) -> Self {
        Self { sentence, place, starts: estimate.map(starts) }
    }
}

fn starts(estimate: Estimate) -> String {
    let [early, likely, late] =
        [estimate.early_seconds, estimate.likely_seconds, estimate.late_seconds].map(in_words);
    format!("in about {likely} (half of such jobs in {early} to {late})")
}

#[derive(Template)]
#[template(path = "run_ended.html")]
struct Ended {
    crumbs: Vec<Crumb>,
    job: JobItem,
    attempts: Attempts,
}

fn unknown() -> Failure {
    Failure::not_found("No run has this uuid.")
}

/// `/run/{uuid}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Path(text) = path?;
    let uuid = Uuid::try_parse(&text).map_err(|_| unknown())?;
    let now = Timestamp::now();
    let Some(job) = app.db().job_by_uuid(uuid).await? else {
        let row = app.db().result_by_uuid(uuid).await?;
        return packages::run::get(&app, &row.and_then(PublicResult::of).ok_or_else(unknown)?).await;
    };
    let job = PublicJob::of(job).ok_or_else(unknown)?;
    let state = job.state();
    if state == JobState::Done
        && let Some(row) = app.db().result_of_job(job.id).await?
    {
        return packages::run::get(&app, &PublicResult::of(row).ok_or_else(unknown)?).await;
    }
    if matches!(state, JobState::Cancelled | JobState::Obsolete) {
        let attempts = Attempts::of(&app, &job, now).await?;
        // Where nothing else of the package is known there is no page of it.
        let mut crumbs = way(&job);
        let package = job.package.parse().ok();
        crumbs.truncate(match package {
            Some(package) if is_known(&app, &package).await? => 1,
            _ => 0,
        });
        return page(&Ended { crumbs, job: JobItem::new(&job, now), attempts });
    }
    // Old clients take 404 for "still running" (contract "The site").
    if wants_json(&headers) {
        return not_done(&app, &job).await;
    }
    if !names_html(&headers) {
        return Err(Failure::not_found("This run is not done yet."));
    }
    open(&app, &job, now).await
}

/// The job of this uuid, if everybody may see it.
pub(super) async fn public_job(app: &App, uuid: &str) -> Result<PublicJob, Failure> {
    let uuid = Uuid::try_parse(uuid).map_err(|_| unknown())?;
    let job = app.db().job_by_uuid(uuid).await?;
    job.and_then(PublicJob::of).ok_or_else(unknown)
}

pub(super) fn way(job: &PublicJob) -> Vec<Crumb> {
    crumbs(&job.package, Some((&job.release, &job.arch)), None)
}

async fn open(app: &App, job: &PublicJob, now: Timestamp) -> Result<Response, Failure> {
    let pair = job.pair()?;
    let request = job.request().ok();
    page(&Page {
        crumbs: way(job),
        job: JobItem::new(job, now),
        waiting: waits(app, job).await?.map(Waiting::from),
        progress: progress(app, job, now).await?,
        parked: (job.state() == JobState::Parked).then(|| answer(app, job, now)),
        attempts: Attempts::of(app, job, now).await?,
        results: ResultItem::list(&before(app, job, &pair).await?, now),
        // It is asked for already.
        reproduce: request
            .and_then(|request| Reproduce::of(&request, &pair))
            .map(|run| Reproduce { again: None, ..run }),
    })
}

/// The newest results of the same package.
async fn before(app: &App, job: &PublicJob, pair: &Pair) -> Result<Vec<PublicResult>, Failure> {
    let Ok(package) = job.package.parse() else { return Ok(Vec::new()) };
    Ok(PublicResult::all(app.db().results_of(&package, pair, true, Order::Newest, None, SHOWN).await?))
}

/// When the dispatcher answers a parked job, as it is configured here.
fn answer(app: &App, job: &PublicJob, now: Timestamp) -> Answer {
    let is_baseline = job.request().is_ok_and(|request| request.is_baseline());
    let patience = app.settings().parked_answer.filter(|_| !is_baseline && !job.unanswerable);
    let Some(patience) = patience else { return Answer::Never };
    let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    match job.changed_us.saturating_add(patience) {
        at if at > now.as_microsecond() => Answer::At(When::micros(at, now)),
        _ => Answer::Soon,
    }
}

async fn waits(app: &App, job: &PublicJob) -> Result<Option<Waits>, Failure> {
    if job.state() != JobState::Waiting {
        return Ok(None);
    }
    Ok(Some(app.db().explain(&*app.situation().await?, job).await?))
}

/// Where it stands, for scripts that ask for JSON; the status stays what old clients take for "still running".
async fn not_done(app: &App, job: &PublicJob) -> Result<Response, Failure> {
    let failure = Failure::not_found("This run is not done yet.");
    let mut answer = failure.problem(app.settings());
    answer["uuid"] = job.uuid.as_str().into();
    answer["state"] = job.state().as_str().into();
    answer["attempts"] = job.attempts.into();
    answer["waits"] = serde_json::to_value(waits(app, job).await?).unwrap_or_default();
    Ok((failure.status, [(header::CONTENT_TYPE, PROBLEM)], answer.to_string()).into_response())
}
