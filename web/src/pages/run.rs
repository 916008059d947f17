//! `/run/{uuid}`: one run by its uuid, from the second it was asked for.

use askama::Template;
use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::HeaderMap,
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::db::{AttemptRow, JobState, WorkerRow};
use uuid::Uuid;

use super::{packages::attempts::AttemptItem, page};
use crate::{
    app::App,
    failure::Failure,
    live,
    private::{PublicJob, PublicResult},
    view::{Crumb, JobItem, ResultItem, When, crumbs, duration},
    wanted::names_html,
};

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    crumbs: Vec<Crumb>,
    job: JobItem,
    /// For a job that waits.
    waiting: Option<Waiting>,
    logtail: String,
    runs_for: Option<String>,
    attempts: Vec<AttemptItem>,
}

/// Where a waiting job stands, and why it waits.
struct Waiting {
    before: i64,
    why: String,
    not_before: Option<When>,
}

#[derive(Template)]
#[template(path = "run_done.html")]
struct Done {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    uuid: String,
    /// The word after "Result".
    word: &'static str,
}

#[derive(Template)]
#[template(path = "run_ended.html")]
struct Ended {
    crumbs: Vec<Crumb>,
    job: JobItem,
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
        return done(&row.and_then(PublicResult::of).ok_or_else(unknown)?, uuid, now);
    };
    let job = PublicJob::of(job).ok_or_else(unknown)?;
    let state = job.state();
    if state == JobState::Done
        && let Some(row) = app.db().result_of_job(job.id).await?
    {
        return done(&PublicResult::of(row).ok_or_else(unknown)?, uuid, now);
    }
    if matches!(state, JobState::Cancelled | JobState::Obsolete) {
        return page(&Ended { crumbs: way(&job), job: JobItem::new(&job, now) });
    }
    // Old clients take 404 for "still running" (contract "The site").
    if !names_html(&headers) {
        return Err(Failure::not_found("This run is not done yet."));
    }
    open(&app, &job, now).await
}

fn way(job: &PublicJob) -> Vec<Crumb> {
    crumbs(&job.package, Some((&job.release, &job.arch)), None)
}

fn done(row: &PublicResult, uuid: Uuid, now: Timestamp) -> Result<Response, Failure> {
    let word = row.class().as_str();
    let result = ResultItem::new(row, now);
    let crumbs = crumbs(&row.package, Some((&row.release, &row.arch)), None);
    page(&Done { crumbs, result, uuid: uuid.to_string(), word })
}

async fn open(app: &App, job: &PublicJob, now: Timestamp) -> Result<Response, Failure> {
    let attempts: Vec<AttemptRow> = app.db().attempts_of(job.id).await?;
    let waiting = match job.state() {
        JobState::Waiting => Some(waiting(app, job, now).await?),
        _ => None,
    };
    let said = live::heard_of(app, &job.uuid).filter(|_| live::is_running(job.state()));
    page(&Page {
        crumbs: way(job),
        job: JobItem::new(job, now),
        waiting,
        runs_for: said.as_ref().map(|s| duration(s.duration(std::time::Instant::now()))),
        logtail: said.map(|s| crate::log::plain(&s.status.logtail)).unwrap_or_default(),
        attempts: attempts.iter().map(|a| AttemptItem::new(a, now)).collect(),
    })
}

async fn waiting(app: &App, job: &PublicJob, now: Timestamp) -> Result<Waiting, Failure> {
    let before = app.db().place(job).await?;
    let workers = app.db().workers().await?;
    let pauses = job.not_before_us > now.as_microsecond();
    Ok(Waiting {
        before,
        why: why(&workers, job.pool.as_str(), pauses).to_owned(),
        not_before: pauses.then(|| When::micros(job.not_before_us, now)),
    })
}

/// Why a job waits.
fn why(workers: &[WorkerRow], pool: &str, pauses: bool) -> &'static str {
    let serving: Vec<&WorkerRow> = workers.iter().filter(|w| w.pools.split(' ').any(|p| p == pool)).collect();
    if pauses {
        "The last attempt failed for a reason that is not the package's. It is tried again after a pause."
    } else if serving.is_empty() {
        "No worker has announced itself for this architecture yet."
    } else if serving.iter().all(|w| w.slots == 0) {
        "The workers of this architecture take no new work just now."
    } else {
        "It waits for a free slot."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(pools: &str, slots: i64) -> WorkerRow {
        WorkerRow {
            name: "w".into(),
            incarnation: String::new(),
            host: "h".into(),
            pools: pools.into(),
            slots,
            draining: false,
            unable: None,
            version: "1".into(),
            seen_us: 0,
        }
    }

    #[test]
    fn every_wait_has_a_reason() {
        let workers = [worker("amd64 arm64", 0), worker("amd64", 2)];
        assert!(why(&workers, "amd64", false).contains("free slot"));
        assert!(why(&workers, "arm64", false).contains("take no new work"));
        assert!(why(&workers, "s390x", false).contains("No worker"));
        assert!(why(&workers, "amd64", true).contains("pause"));
    }
}
