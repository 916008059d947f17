//! `/run/{uuid}/log`: the log of a run while it runs, from its first line on. Afterwards it leads to the log that is stored.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use proofhouse_core::db::JobState;

use super::{
    page, parameter,
    run::{public_job, way},
};
use crate::{
    app::App,
    failure::Failure,
    follow::{Phase, events as viewed, follow},
    live,
    private::{PublicJob, PublicResult},
    view::{Crumb, JobItem, ResultItem},
};

/// So long a page waits for the worker's first word.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where a browser that was cut off says what it had.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Template)]
#[template(path = "live_log.html")]
struct Page {
    crumbs: Vec<Crumb>,
    job: JobItem,
    /// The lines, as HTML that was made of them.
    lines: String,
    /// The number of the first line of each section, and its heading.
    sections: Vec<(u64, String)>,
    /// The number of the last one.
    last: u64,
    phase: Phase,
    /// What status messages show, where the worker sends nothing else.
    logtail: String,
    events_path: String,
}

/// The page.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(uuid) = path?;
    let job = public_job(&app, &uuid).await?;
    if job.state() != JobState::Running {
        return elsewhere(&app, &job).await;
    }
    let item = JobItem::new(&job, Timestamp::now());
    let log = follow(&app, &job, &item.path)?;
    // Without its word the page says what it knows.
    let _ = tokio::time::timeout(PATIENCE, log.first_word()).await;
    let buffer = log.buffer();
    let (phase, last) = (buffer.phase(), buffer.last());
    let sections = buffer.sections();
    let lines = buffer.behind(0).iter().map(|batch| batch.html.as_str()).collect();
    drop(buffer);
    let said = live::heard_of(&app, &job.uuid).filter(|_| phase == Phase::Unheard);
    let mut crumbs = way(&job);
    crumbs.push(Crumb { name: "run".to_owned(), path: item.path.clone() });
    page(&Page {
        crumbs,
        events_path: format!("{}/log/events", item.path),
        job: item,
        lines,
        sections,
        last,
        phase,
        logtail: said.map(|said| crate::log::plain(&said.status.logtail)).unwrap_or_default(),
    })
}

/// The stored log, or what there is to say of the run.
async fn elsewhere(app: &App, job: &PublicJob) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let result = match job.state() {
        JobState::Done => app.db().result_of_job(job.id).await?.and_then(PublicResult::of),
        _ => None,
    };
    let path = result.map_or_else(|| JobItem::new(job, now).path, |row| ResultItem::new(&row, now).log_path);
    Ok(Redirect::to(&path).into_response())
}

/// `/run/{uuid}/log/events`: what comes behind line `after`, as server-sent events. 204 once nothing comes any more.
pub(crate) async fn events(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Path(uuid) = path?;
    let job = public_job(&app, &uuid).await?;
    let had = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let last = match had.or_else(|| parameter(query.as_deref(), "after")) {
        None => 0,
        Some(line) => line
            .parse()
            .map_err(|_| Failure::bad("after must be the number of a line.", "0 is before the first."))?,
    };
    if job.state() != JobState::Running {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let log = follow(&app, &job, &JobItem::new(&job, Timestamp::now()).path)?;
    viewed(&app, log, last)
}
