//! `/user/{name}/ppa/{ppa}`: the runs with a PPA, on every release.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    filter::text,
    open::{Open, OpenJob, OpenPart, more_path, open_after, read_limit},
    page,
    recent::{place, place_of},
    user,
};
use crate::{
    api::ResultData,
    app::App,
    failure::Failure,
    private::{PublicJob, PublicResult},
    view::{Crumb, ResultItem, ppa_path},
};

/// How many runs one answer lists.
const PAGE: usize = 100;

/// What one answer shows.
struct Part {
    owner: String,
    ppa: String,
    /// What was looked at, by release.
    containers: Vec<String>,
    results: Vec<PublicResult>,
    /// The place behind which there is more.
    next: Option<String>,
    is_first: bool,
}

impl Part {
    /// `owner/name`, as the newest run has it, else as the address has it: where they part, containers do not say.
    async fn title(&self, app: &App) -> Result<String, Failure> {
        let named = format!("{}/{}", self.owner, self.ppa);
        let Some(job) = self.results.first().and_then(|row| row.job_id) else { return Ok(named) };
        Ok(app.db().job(job).await?.and_then(PublicJob::of).and_then(|job| ppa_of(&job)).unwrap_or(named))
    }
}

/// The PPA by which the container of a job's results is called, `owner/name`.
fn ppa_of(job: &PublicJob) -> Option<String> {
    Some(job.request().ok()?.ppas.last()?.public())
}

/// What somebody asked for with a PPA, `owner/name`, and is not done.
async fn open(app: &App, ppa: &str, after: i64) -> Result<OpenPart, Failure> {
    let mut open = OpenPart::of(app, app.db().open_jobs_naming(ppa, after, read_limit()).await?).await?;
    open.retain(|job| ppa_of(job).as_deref() == Some(ppa));
    Ok(open)
}

async fn part(
    app: &App,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Option<&str>,
) -> Result<Part, Failure> {
    let Path((owner, ppa)) = path?;
    if owner.contains('\0') || ppa.contains('\0') {
        return Err(Failure::not_found("There is no such PPA."));
    }
    let before = place("before", &text(query, "before")?)?;
    let counted = app.db().all_time("results").await?;
    let served = app.settings().releases().into_iter().map(ToString::to_string);
    let releases: BTreeSet<String> = counted.into_iter().map(|row| row.release).chain(served).collect();
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let (mut rows, mut containers) = (Vec::new(), Vec::new());
    for release in releases {
        let container = format!("autopkgtest-{release}-{owner}-{ppa}");
        let found = app.db().results_in(&container, before.clone(), limit).await?;
        if !found.is_empty() {
            containers.push(container);
        }
        rows.extend(found);
    }
    rows.sort_by(|a, b| (&b.run_id, b.id).cmp(&(&a.run_id, a.id)));
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(place_of);
    let results = PublicResult::all(rows);
    Ok(Part { owner, ppa, containers, results, next, is_first: before.is_none() })
}

/// Runs with a PPA.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PpaRuns {
    /// `owner/name`.
    ppa: String,
    /// What somebody asked for and is not done yet, in the order in which it came.
    open: Vec<OpenJob>,
    /// The address of what else is not done.
    more_open: Option<String>,
    /// What came out, newest first.
    results: Vec<ResultData>,
    /// The address of the older ones.
    next: Option<String>,
}

/// All runs with a PPA
///
/// Newest first, of every release.
#[utoipa::path(get, path = "/api/v1/users/{user}/ppas/{ppa}", tag = "past",
    params(
        ("user" = String, Path, description = "The owner."),
        ("ppa" = String, Path, description = "The PPA's name."),
        ("before" = Option<String>, Query, description = "Only runs before this one, as `next` has it."),
        ("open_after" = Option<i64>, Query, description = "Of what is not done only jobs behind this number, as `more_open` has it."),
    ),
    responses((status = OK, body = PpaRuns)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<PpaRuns>, Failure> {
    let part = part(&app, path, query.as_deref()).await?;
    let base = crate::view::path(&["api", "v1", "users", &part.owner, "ppas", &part.ppa]);
    let ppa = part.title(&app).await?;
    let open = open(&app, &ppa, open_after(query.as_deref())?).await?;
    Ok(Json(PpaRuns {
        ppa,
        more_open: open.next.map(|after| more_path(&base, after)),
        open: open.data(app.settings()),
        results: ResultData::list(app.settings(), &part.results),
        next: part.next.map(|before| format!("{base}?before={before}")),
    }))
}

#[derive(Template)]
#[template(path = "user/ppa.html")]
struct Page {
    crumbs: Vec<Crumb>,
    title: String,
    open: Open,
    /// Name and page.
    containers: Vec<(String, String)>,
    results: Vec<ResultItem>,
    path: String,
    is_first: bool,
    older: Option<String>,
}

/// `/user/{name}/ppa/{ppa}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let part = part(&app, path, query.as_deref()).await?;
    let title = part.title(&app).await?;
    let path = ppa_path(&part.owner, &part.ppa);
    let after = open_after(query.as_deref())?;
    let open = Open::of(&app, &open(&app, &title, after).await?, &path, after).await?.of_packages();
    let mut crumbs = user::way(&part.owner);
    crumbs.push(Crumb { name: "PPAs".to_owned(), path: crate::view::path(&["user", &part.owner, "ppa"]) });
    let containers = part.containers.into_iter();
    page(&Page {
        crumbs,
        title,
        open,
        containers: containers
            .map(|name| (name.clone(), format!("{}/", crate::view::path(&["results", &name]))))
            .collect(),
        results: ResultItem::list(&part.results, Timestamp::now()),
        is_first: part.is_first,
        older: part.next.map(|before| format!("{path}?before={before}")),
        path,
    })
}
