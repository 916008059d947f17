//! `/packages/{package}/{release}/{arch}`: all runs, newest first, with what is queued and runs on top.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::{
    names::{Package, Pair},
    run_id::RunId,
};

use crate::{
    app::App,
    badge::Badges,
    failure::Failure,
    feeds::package_feed,
    pages::page,
    private::{PublicJob, PublicResult},
    view::{Chart, Crumb, JobItem, ResultItem, crumbs, pair_path},
};

/// How many results a page has.
const PAGE: usize = 50;
/// How many open jobs are shown.
const MOST_OPEN: i64 = 200;

#[derive(Template)]
#[template(path = "packages/runs.html")]
struct Page {
    crumbs: Vec<Crumb>,
    package: Package,
    pair: Pair,
    path: String,
    jobs: Vec<JobItem>,
    results: Vec<ResultItem>,
    chart: Option<Chart>,
    badges: Badges,
    feed: String,
    /// This is not the newest part.
    before: bool,
    older: Option<String>,
}

pub(super) async fn get(
    app: &App,
    package: Package,
    pair: Pair,
    before: Option<String>,
) -> Result<Response, Failure> {
    let before: Option<RunId> = match before.filter(|b| !b.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| Failure::bad("before must be a run id.", ""))?),
        None => None,
    };
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let rows = app.db().results_of(&package, &pair, true, before.as_ref(), limit).await?;
    let mut rows = PublicResult::all(rows);
    let (jobs, _) = PublicJob::split(app.db().open_jobs_of(&package, Some(&pair), MOST_OPEN).await?);
    if rows.is_empty() && jobs.is_empty() && before.is_none() {
        return Err(Failure::not_found(format!("No run of {package} on {pair} is known.")));
    }
    let path = pair_path(package.as_str(), pair.release.as_str(), pair.arch.as_str());
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().filter(|_| more).map(|row| row.run_id.clone());
    let now = Timestamp::now();
    let results = ResultItem::list(&rows, now);
    let (release, arch) = (pair.release.as_str(), pair.arch.as_str());
    page(&Page {
        crumbs: crumbs(package.as_str(), Some((pair.release.as_str(), pair.arch.as_str())), None),
        jobs: JobItem::list(&jobs, now),
        chart: Chart::durations(&results),
        badges: Badges::of(app.settings(), package.as_str(), Some((release, arch))),
        feed: package_feed(package.as_str()),
        results,
        before: before.is_some(),
        older: last.map(|run_id| format!("{path}?before={run_id}")),
        path,
        package,
        pair,
    })
}
