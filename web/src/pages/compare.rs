//! `/compare`: what changed between two runs of a test, the last that passed and a later one for the most part.

use askama::Template;
use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::Order,
    names::{Package, Pair},
    run_id::RunId,
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::{
    packages::{pick, results},
    page, parameter,
};
use crate::{
    api::ResultData,
    app::App,
    evidence::{Changes, PackageChange, Side, asked_for, comparable, job_of},
    failure::Failure,
    private::PublicResult,
    view::{Crumb, ResultItem, crumbs, path},
    wanted::wants_json,
};

/// So many packages are shown at once, the rest folded.
const OPEN: usize = 30;
/// So many packages a page has: more is for programs.
const MOST_SHOWN: usize = 1000;

/// Two runs of a test, and what differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Compared {
    /// The earlier run.
    before: ResultData,
    /// The later run.
    after: ResultData,
    /// What differs.
    changes: Changes,
}

#[derive(Template)]
#[template(path = "compare.html")]
struct Page {
    crumbs: Vec<Crumb>,
    before: ResultItem,
    after: ResultItem,
    changes: Changes,
    summary: Option<String>,
    first: Vec<PackageChange>,
    rest: Vec<PackageChange>,
    /// How many packages are left out.
    more: usize,
    json: String,
    /// The other way round.
    swapped: String,
}

#[derive(Template)]
#[template(path = "compare_form.html")]
struct Form {
    crumbs: Vec<Crumb>,
}

/// Which two runs.
struct Wanted {
    package: Package,
    pair: Pair,
    before: RunId,
    after: RunId,
    /// The containers that hold them, where they are not the release's own.
    containers: [Option<String>; 2],
}

/// The page that compares two runs of a test.
pub(crate) fn compare_path(before: &PublicResult, after: &PublicResult) -> String {
    address(&["compare"], before, after)
}

fn address(base: &[&str], before: &PublicResult, after: &PublicResult) -> String {
    let parts =
        [&after.package, &after.release, &after.arch, &before.run_id, &after.run_id].map(String::as_str);
    let path = path(&[base, &parts[..]].concat());
    let own = |row: &PublicResult| row.container == format!("autopkgtest-{}", row.release);
    if own(before) && own(after) {
        return path;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("container", &after.container);
    if before.container != after.container {
        query.append_pair("before-container", &before.container);
    }
    format!("{path}?{}", query.finish())
}

fn unknown() -> Failure {
    Failure::not_found("There are no such two runs to compare.")
}

type Parts = (String, String, String, String, String);

impl Wanted {
    fn parse((package, release, arch, before, after): &Parts, query: Option<&str>) -> Option<Self> {
        let container = parameter(query, "container").filter(|text| !text.is_empty());
        let before_container = parameter(query, "before-container").filter(|text| !text.is_empty());
        Some(Self {
            package: package.parse().ok()?,
            pair: Pair { release: release.parse().ok()?, arch: arch.parse().ok()? },
            before: before.parse().ok()?,
            after: after.parse().ok()?,
            containers: [before_container.or_else(|| container.clone()), container],
        })
    }

    /// Both runs, as far as everybody may see them.
    async fn rows(&self, app: &App) -> Result<(PublicResult, PublicResult), Failure> {
        let find = async |run_id: &RunId, container: Option<&str>| {
            pick(results(app, &self.package, &self.pair, run_id).await?, container)
        };
        let [before, after] = self.containers.each_ref().map(Option::as_deref);
        Ok((find(&self.before, before).await?, find(&self.after, after).await?))
    }
}

/// What differs between two runs.
async fn changes(app: &App, before: &PublicResult, after: &PublicResult) -> Result<Changes, Failure> {
    let jobs = [job_of(app, before).await?, job_of(app, after).await?];
    let ((old, of_old), (new, of_new)) = tokio::join!(comparable(app, before), comparable(app, after));
    let requests = [asked_for(before, jobs[0].as_ref(), &old), asked_for(after, jobs[1].as_ref(), &new)];
    Ok(Changes::of(
        &Side { row: before, request: requests[0].as_ref(), contents: &old, packages: of_old.as_ref() },
        &Side { row: after, request: requests[1].as_ref(), contents: &new, packages: of_new.as_ref() },
    ))
}

/// What changed between two runs of a test
///
/// Triggers, packages with their versions, parameters, kernel and testbed, and which tests ended otherwise.
#[utoipa::path(get, path = "/api/v1/compare/{package}/{release}/{arch}/{before}/{after}", tag = "past",
    params(
        ("package" = String, Path, description = "The source package."),
        ("release" = String, Path, description = "The release."),
        ("arch" = String, Path, description = "The architecture."),
        ("before" = String, Path, description = "The earlier run's id."),
        ("after" = String, Path, description = "The later run's id."),
        ("container" = Option<String>, Query, description = "Where the runs lie, where that is not the release's own."),
        ("before-container" = Option<String>, Query, description = "The same of the earlier run alone."),
    ),
    responses((status = OK, body = Compared)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<Parts>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Compared>, Failure> {
    let Path(parts) = path?;
    let wanted = Wanted::parse(&parts, query.as_deref()).ok_or_else(unknown)?;
    let (before, after) = wanted.rows(&app).await?;
    let changes = changes(&app, &before, &after).await?;
    let settings = app.settings();
    let (before, after) = (ResultData::new(settings, &before), ResultData::new(settings, &after));
    Ok(Json(Compared { before, after, changes }))
}

/// `/compare/{package}/{release}/{arch}/{before}/{after}`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<Parts>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if wants_json(&headers) {
        return Ok(json(State(app), path, RawQuery(query)).await?.into_response());
    }
    let Path(parts) = path?;
    let wanted = Wanted::parse(&parts, query.as_deref()).ok_or_else(unknown)?;
    let (before, after) = wanted.rows(&app).await?;
    let mut changes = changes(&app, &before, &after).await?;
    let now = Timestamp::now();
    let summary = changes.summary();
    let mut first = std::mem::take(&mut changes.packages);
    let more = first.len().saturating_sub(MOST_SHOWN);
    first.truncate(MOST_SHOWN);
    let rest = first.split_off(first.len().min(OPEN));
    page(&Page {
        crumbs: crumbs(&after.package, Some((&after.release, &after.arch)), None),
        json: address(&["api", "v1", "compare"], &before, &after),
        swapped: compare_path(&after, &before),
        before: ResultItem::new(&before, now),
        after: ResultItem::new(&after, now),
        changes,
        summary,
        first,
        rest,
        more,
    })
}

/// `/compare?package=…&release=…&arch=…[&before=…][&after=…]`: leads to the page of two runs. Without `after`: the newest run;
/// without `before`: the last that passed before that.
pub(crate) async fn find(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let text =
        |name: &str| parameter(query.as_deref(), name).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let (Some(package), Some(release), Some(arch)) = (text("package"), text("release"), text("arch")) else {
        return match query.as_deref() {
            None | Some("") => page(&Form { crumbs: vec![] }),
            Some(_) => Err(Failure::bad(
                "package, release and arch are all needed.",
                "before and after, run ids, may be left out: then the newest run is compared with the last that passed.",
            )),
        };
    };
    let bad = |what: &str| {
        Failure::bad(format!("{what} is not what it should be."), "Copy it from a page of the run.")
    };
    let package: Package = package.parse().map_err(|_| bad("package"))?;
    let pair: Pair = format!("{release}/{arch}").parse().map_err(|_| bad("release or arch"))?;
    let run_id = |name: &str| text(name).map(|id| id.parse::<RunId>().map_err(|_| bad(name))).transpose();
    let container = text("container");
    let one = async |run_id: &RunId, container: Option<String>| {
        pick(results(&app, &package, &pair, run_id).await?, container.as_deref())
    };
    let after = if let Some(run_id) = run_id("after")? {
        one(&run_id, container.clone()).await?
    } else {
        let newest =
            PublicResult::all(app.db().results_of(&package, &pair, false, Order::Newest, None, 1).await?);
        let none = || Failure::not_found(format!("No run of {package} on {pair} is known."));
        newest.into_iter().next().ok_or_else(none)?
    };
    let before = if let Some(run_id) = run_id("before")? {
        one(&run_id, text("before-container").or(container)).await?
    } else {
        let passed = app.db().passed_before(&after).await?.and_then(PublicResult::of);
        passed.ok_or_else(|| Failure {
            advice: "Choose two runs on the page of all runs, and give their ids as before and after."
                .to_owned(),
            ..Failure::not_found("None of the thousand runs of this test before it passed.")
        })?
    };
    Ok(Redirect::to(&compare_path(&before, &after)).into_response())
}
