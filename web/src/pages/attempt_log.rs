//! `/run/{uuid}/attempts/{n}/log`: the log of an attempt that is no result, for those who may see its run.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::AttemptRow,
    layout::{Container, attempt_log},
};

use super::{
    log_page,
    packages::attempts::{log_path, sentence},
    run::{public_job, way},
};
use crate::{
    app::App,
    failure::Failure,
    log::LogView,
    private::PublicJob,
    results,
    view::{Crumb, JobItem},
};

#[derive(Template)]
#[template(path = "attempt_log.html")]
struct Page {
    crumbs: Vec<Crumb>,
    job: JobItem,
    number: i64,
    /// Why it is no result.
    why: String,
    rule: Option<String>,
    log: LogView,
}

fn missing() -> Failure {
    Failure::not_found("The store has no log of such an attempt.")
}

/// The run, and its attempt of this number, if that failed.
async fn find(app: &App, uuid: &str, number: &str) -> Result<(PublicJob, AttemptRow, String), Failure> {
    let job = public_job(app, uuid).await?;
    let number: i64 = number.parse().map_err(|_| missing())?;
    let attempts = app.db().attempts_of(job.id).await?;
    let failed = attempts.into_iter().find(|row| row.attempt == number && row.fault.is_some());
    let attempt = failed.ok_or_else(missing)?;
    let object = attempt_log(&job.uuid, number);
    Ok((job, attempt, object))
}

/// The page.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path((uuid, number)) = path?;
    let (job, attempt, object) = find(&app, &uuid, &number).await?;
    let path = log_path(&job.uuid, attempt.attempt);
    let (raw_path, place) = (format!("{path}.gz"), (&path[..], query.as_deref().unwrap_or_default()));
    let log = LogView::read(&app, (&Container::attempts(), &object), place, raw_path, missing).await?;
    let mut crumbs = way(&job);
    let job = JobItem::new(&job, Timestamp::now());
    crumbs.push(Crumb { name: "run".to_owned(), path: job.path.clone() });
    log_page(log, |log| Page {
        crumbs,
        job,
        number: attempt.attempt,
        why: attempt.fault.as_deref().map(sentence).unwrap_or_default(),
        rule: attempt.rule,
        log,
    })
}

/// The whole file.
pub(crate) async fn raw(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let Path((uuid, number)) = path?;
    let (_, _, object) = find(&app, &uuid, &number).await?;
    let (request, _) = request.into_parts();
    let file = results::file(&app, &Container::attempts(), &object, &request).await;
    let file = file.map_err(|failure| match failure.status {
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => missing(),
        _ => failure,
    })?;
    Ok(([(header::CONTENT_SECURITY_POLICY, results::POLICY)], file).into_response())
}
