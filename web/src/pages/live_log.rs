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
    follow::{Phase, events as viewed, follow, kept, over},
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

/// The attempt of which a viewer had lines, and the last one.
fn place(text: &str) -> Option<(i64, u64)> {
    let (attempt, line) = text.split_once(':')?;
    Some((attempt.parse().ok()?, line.parse().ok()?))
}

/// `/run/{uuid}/log/events`: what comes behind `after`, an attempt and a line of it, as server-sent events; the last one says that
/// the attempt is over. 204 where none is named and none runs.
pub(crate) async fn events(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Path(uuid) = path?;
    let job = public_job(&app, &uuid).await?;
    let had = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bad = || {
        let text = "after must be an attempt and the number of a line of it.";
        Failure::bad(text, "1:0 is before the first line of the first attempt.")
    };
    let had = had.or_else(|| parameter(query.as_deref(), "after"));
    let had = had.map(|had| place(&had).ok_or_else(bad)).transpose()?;
    let (attempt, line) = had.unwrap_or((job.attempts, 0));
    // The last lines come when the attempt runs no more.
    if let Some(log) = kept(&app, &job, attempt) {
        return viewed(&app, log, line);
    }
    let path = JobItem::new(&job, Timestamp::now()).path;
    let runs = job.state() == JobState::Running;
    if runs && attempt == job.attempts {
        return viewed(&app, follow(&app, &job, &path)?, line);
    }
    if had.is_none() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(over(&path, runs))
}
