//! `/packages/{package}/{release}/{arch}/{run_id}`: one run.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::{
    evidence::{self, MAX_RESULT},
    layout::{Container, file},
    store::{Entry, ListQuery},
};

use super::attempts::Attempts;
use crate::{
    app::App,
    failure::Failure,
    pages::page,
    private::{PublicJob, PublicResult},
    view::{Crumb, ResultItem, crumbs, results_path, shown_params, size},
};

/// How many files of a run are listed.
const MOST_FILES: usize = 100;

#[derive(Template)]
#[template(path = "packages/run.html")]
struct Page {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    container: String,
    uuid: Option<String>,
    params: Vec<(String, String)>,
    requesters: Vec<String>,
    /// None where the store does not answer.
    files: Option<Vec<File>>,
    attempts: Attempts,
}

struct File {
    name: String,
    path: String,
    size: String,
    /// What is wrong with it.
    damage: Option<String>,
}

/// What is wrong with the `result.tar` of a run, where the store gives it out.
async fn damage(app: &App, container: &Container, object: &str) -> Option<String> {
    let read = async { app.store().get(container, object, None).await?.bytes(MAX_RESULT).await };
    match read.await {
        Ok(bytes) => evidence::damage(&bytes),
        Err(error) if error.may_retry() => None,
        Err(error) => Some(error.to_string()),
    }
}

async fn files(app: &App, row: &PublicResult) -> Option<Vec<File>> {
    let (series, run_id) = row.place()?;
    let folder = series.object(&run_id, "");
    let query = ListQuery { prefix: folder.clone(), limit: Some(MOST_FILES), ..ListQuery::default() };
    let entries = match app.store().list(&series.container, &query).await {
        Ok(entries) => entries,
        Err(error) if error.is_missing() => return Some(Vec::new()),
        Err(error) => {
            tracing::warn!(error = %error, "a run's files could not be listed");
            return None;
        }
    };
    let listed = |entry: Entry| match entry {
        Entry::Object { name, length, .. } => Some(File {
            path: results_path(&series.container, &name),
            size: size(length),
            damage: None,
            name: name.strip_prefix(&folder)?.to_owned(),
        }),
        Entry::Prefix(_) => None,
    };
    let mut files: Vec<File> = entries.into_iter().filter_map(listed).collect();
    if let Some(result) = files.iter_mut().find(|f| f.name == file::RESULT) {
        result.damage = damage(app, &series.container, &series.object(&run_id, file::RESULT)).await;
    }
    Some(files)
}

pub(super) async fn get(app: &App, row: PublicResult) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let job = match row.job_id {
        Some(id) => app.db().job(id).await?.and_then(PublicJob::of),
        None => None,
    };
    let attempts = match &job {
        Some(job) => Attempts::of(app, job, now).await?,
        None => Attempts::default(),
    };
    let request = job.as_ref().and_then(|job| job.request().ok());
    page(&Page {
        crumbs: crumbs(&row.package, Some((&row.release, &row.arch)), Some(&row.run_id)),
        result: ResultItem::new(&row, now),
        container: row.container.clone(),
        uuid: row.uuid.clone(),
        params: request.as_ref().map(shown_params).unwrap_or_default(),
        requesters: job.map(|j| j.requesters.lines().map(str::to_owned).collect()).unwrap_or_default(),
        files: files(app, &row).await,
        attempts,
    })
}
