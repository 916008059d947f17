//! `/release/{release}`: how a release fares, what waits for it, and what failed lately.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{db::RecentFilter, outcome::Class};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    filter::address,
    page,
    statistics::{PairCount, pairs},
};
use crate::{
    api::ResultData,
    app::App,
    failure::Failure,
    feeds::release_feed,
    private::PublicResult,
    view::{Crumb, ResultItem},
};

/// How many of the newest failures are shown.
const NEWEST: i64 = 25;

/// What is there of a release.
struct Part {
    release: String,
    arches: Vec<ArchCount>,
    failures: Vec<PublicResult>,
}

/// How an architecture of a release fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ArchCount {
    /// What was tested on it.
    tested: PairCount,
    /// How many tests wait, private ones among them.
    waiting: i64,
    /// How many run.
    running: i64,
    /// New requests are answered without a run.
    disabled: bool,
}

async fn part(app: &App, path: Result<Path<String>, PathRejection>) -> Result<Part, Failure> {
    let Path(release) = path?;
    let tested = pairs(app).await?.into_iter().filter(|pair| pair.release == release);
    let mut queued: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for count in app.queue_counts().await?.iter().filter(|count| count.release == release) {
        let sum = queued.entry(count.arch.clone()).or_default();
        sum.0 += count.waiting;
        sum.1 += count.running;
    }
    let disabled = &app.settings().disabled;
    let is_disabled = |arch: &str| {
        disabled.iter().any(|pair| pair.release.as_str() == release && pair.arch.as_str() == arch)
    };
    let arches = tested.map(|tested| {
        let (waiting, running) = queued.get(&tested.arch).copied().unwrap_or_default();
        ArchCount { waiting, running, disabled: is_disabled(&tested.arch), tested }
    });
    let arches: Vec<ArchCount> = arches.collect();
    if arches.is_empty() {
        return Err(Failure::not_found("No run on such a release is known."));
    }
    let filter = RecentFilter {
        release: Some(release.clone()),
        class: Some(Class::Fail),
        limit: NEWEST,
        ..RecentFilter::default()
    };
    let failures = PublicResult::all(app.db().recent(&filter).await?);
    Ok(Part { release, arches, failures })
}

/// A release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseData {
    /// Its name.
    release: String,
    /// Those that are served first.
    arches: Vec<ArchCount>,
    /// The newest 25 results that failed.
    failures: Vec<ResultData>,
    /// The address of all of them.
    more_failures: String,
}

/// How a release fares
///
/// By architecture, with what waits and runs, and the newest failures.
#[utoipa::path(get, path = "/api/v1/releases/{release}", tag = "past",
    params(("release" = String, Path, description = "The release.")),
    responses((status = OK, body = ReleaseData)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ReleaseData>, Failure> {
    let Part { release, arches, failures } = part(&app, path).await?;
    Ok(Json(ReleaseData {
        failures: ResultData::list(app.settings(), &failures),
        more_failures: address("/api/v1/results", &[("release", &release), ("result", Class::Fail.as_str())]),
        release,
        arches,
    }))
}

#[derive(Template)]
#[template(path = "release.html")]
struct Page {
    crumbs: Vec<Crumb>,
    release: String,
    arches: Vec<ArchCount>,
    waiting: i64,
    running: i64,
    /// What operators hold back, where anything waits.
    held: Vec<String>,
    results: Vec<ResultItem>,
    /// Name and address of lists of the same release.
    links: Vec<(&'static str, String)>,
    more: String,
    feed: String,
}

/// `/release/{release}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Part { release, arches, failures } = part(&app, path).await?;
    let of = |base: &str| address(base, &[("release", &release)]);
    let links = vec![
        ("All results", of("/recent")),
        ("Failing", of("/failing")),
        ("Flaky", of("/flaky")),
        ("Slow", of("/slow")),
        ("Not run for long", of("/stale")),
        ("What gates wait for", of("/waiting")),
        ("Statistics", of("/statistics")),
        ("Feed", release_feed(&release)),
        ("Feed of changes", format!("{}?transitions=1", release_feed(&release))),
    ];
    let waiting = arches.iter().map(|arch| arch.waiting).sum();
    let held = if waiting > 0 { app.situation().await?.held_back() } else { vec![] };
    page(&Page {
        crumbs: vec![],
        waiting,
        held,
        running: arches.iter().map(|arch| arch.running).sum(),
        results: ResultItem::list(&failures, Timestamp::now()),
        links,
        more: address("/recent", &[("release", &release), ("result", Class::Fail.as_str())]),
        feed: release_feed(&release),
        release,
        arches,
    })
}
