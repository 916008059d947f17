//! What came out: results, packages, runs.

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
};
use proofhouse_core::{
    db::NameKind,
    names::{Package, Pair},
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::data::{ResultData, StandingData};
use crate::{
    app::App,
    failure::Failure,
    pages::{
        open::{OpenJob, OpenPart, more_path, open_after, read_limit},
        packages::runs::{Wanted, part},
        parameter, recent,
    },
    view::{package_path, path},
};

/// The most that a list holds.
const MOST: usize = 1000;

/// Results.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Results {
    /// Newest first.
    results: Vec<ResultData>,
    /// The address of the older ones.
    next: Option<String>,
}

/// Results, newest first
///
/// What `/recent` shows.
#[utoipa::path(get, path = "/api/v1/results", tag = "past", params(recent::Wanted), responses((status = OK, body = Results)))]
pub(super) async fn results(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Results>, Failure> {
    let wanted = recent::Wanted::parse(query.as_deref().unwrap_or_default())?;
    let (rows, older) = recent::results(&app, &wanted).await?;
    let next = older.map(|place| format!("/api/v1/results?{}", wanted.older(&place)));
    Ok(Json(Results { results: ResultData::list(app.settings(), &rows), next }))
}

/// Which packages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the parameters")]
struct WantedPackages {
    /// Only names that begin so.
    prefix: Option<String>,
    /// Only names behind this one.
    after: Option<String>,
}

/// Packages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Packages {
    /// Those with results, by name.
    packages: Vec<PackageName>,
    /// The address of those behind.
    next: Option<String>,
}

/// A package.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PackageName {
    /// Its name.
    name: String,
    /// Its page.
    url: String,
}

/// Packages that have results
///
/// A thousand at once.
#[utoipa::path(get, path = "/api/v1/packages", tag = "past", params(WantedPackages), responses((status = OK, body = Packages)))]
pub(super) async fn packages(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Packages>, Failure> {
    let text = |name: &str| plain(parameter(query.as_deref(), name).unwrap_or_default());
    let (prefix, after) = (text("prefix")?, text("after")?);
    let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
    let mut names = app.db().names_from(NameKind::Package, &prefix, &after, limit).await?;
    let more = names.len() > MOST;
    names.truncate(MOST);
    let next = names.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !prefix.is_empty() {
            query.append_pair("prefix", &prefix);
        }
        format!("/api/v1/packages?{}", query.append_pair("after", last).finish())
    });
    let package = |name: String| PackageName { url: app.settings().link(&package_path(&name)), name };
    Ok(Json(Packages { packages: names.into_iter().map(package).collect(), next }))
}

/// PostgreSQL has no NUL in texts.
fn plain(text: String) -> Result<String, Failure> {
    if text.contains('\0') { Err(Failure::bad("A filter holds a NUL.", "")) } else { Ok(text) }
}

/// How a package fares.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PackageData {
    /// Its name.
    package: String,
    /// On each release and architecture on which it was run.
    standings: Vec<StandingData>,
    /// What is asked for and not done yet, in the order in which it came.
    open: Vec<OpenJob>,
    /// The address of what else is not done.
    more_open: Option<String>,
}

/// How a package fares on every release and architecture
///
/// By distribution runs; with what is not done yet.
#[utoipa::path(get, path = "/api/v1/packages/{package}", tag = "past",
    params(
        ("package" = String, Path, description = "The source package."),
        ("open_after" = Option<i64>, Query, description = "Of what is not done only jobs behind this number, as `more_open` has it."),
    ),
    responses((status = OK, body = PackageData)))]
pub(super) async fn package(
    State(app): State<App>,
    address: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<PackageData>, Failure> {
    let Path(name) = address?;
    let unknown = || Failure::not_found("No run of such a package is known.");
    let package: Package = name.parse().map_err(|_| unknown())?;
    let standings = app.db().standings_of(&package).await?;
    let after = open_after(query.as_deref())?;
    let open = app.db().open_jobs_of(&package, None, after, read_limit()).await?;
    let open = OpenPart::of(&app, open).await?;
    if after == 0 && standings.is_empty() && open.jobs.is_empty() && !app.db().has_results(&package).await? {
        return Err(unknown());
    }
    let settings = app.settings();
    Ok(Json(PackageData {
        standings: standings.into_iter().map(|standing| StandingData::new(settings, standing)).collect(),
        more_open: open
            .next
            .map(|after| more_path(&path(&["api", "v1", "packages", package.as_str()]), after)),
        open: open.data(settings),
        package: package.to_string(),
    }))
}

/// The runs of a package on a release and architecture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runs {
    /// In the order that is asked for, those with PPAs among them.
    results: Vec<ResultData>,
    /// What is asked for and not done yet, in the order in which it came.
    open: Vec<OpenJob>,
    /// The address of what else is not done.
    more_open: Option<String>,
    /// The address of the results behind them.
    next: Option<String>,
}

/// All runs of a package on a release and architecture
///
/// A thousand at once.
#[utoipa::path(get, path = "/api/v1/packages/{package}/{release}/{arch}", tag = "past",
    params(
        ("package" = String, Path, description = "The source package."),
        ("release" = String, Path, description = "The release."),
        ("arch" = String, Path, description = "The architecture."),
        ("sort" = Option<String>, Query, description = "`newest` first, which is what is usual, or `oldest` first."),
        ("before" = Option<String>, Query, description = "Newest first: only runs before this run id."),
        ("after" = Option<String>, Query, description = "Oldest first: only runs after this run id."),
        ("result" = Option<String>, Query, description = "Only runs that ended so; those of the next thousand."),
        ("trigger" = Option<String>, Query, description = "Only runs that this source package, or `source/version`, set off; those of the next thousand."),
        ("user" = Option<String>, Query, description = "Only runs that this person or client asked for; those of the next thousand."),
        ("open_after" = Option<i64>, Query, description = "Of what is not done only jobs behind this number, as `more_open` has it."),
    ),
    responses((status = OK, body = Runs)))]
pub(super) async fn runs(
    State(app): State<App>,
    address: Result<Path<(String, String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Runs>, Failure> {
    let Path((name, release, arch)) = address?;
    let unknown =
        || Failure::not_found("No run of such a package on such a release and architecture is known.");
    let package: Package = name.parse().map_err(|_| unknown())?;
    let pair: Pair = format!("{release}/{arch}").parse().map_err(|_| unknown())?;
    let wanted = Wanted::parse(query.as_deref())?;
    let part = part(&app, &package, &pair, &wanted, MOST).await?;
    let after = open_after(query.as_deref())?;
    let open = app.db().open_jobs_of(&package, Some(&pair), after, read_limit()).await?;
    let open = OpenPart::of(&app, open).await?;
    if part.rows.is_empty()
        && part.next.is_none()
        && open.jobs.is_empty()
        && after == 0
        && wanted == Wanted::default()
    {
        return Err(unknown());
    }
    let base = path(&["api", "v1", "packages", &name, &release, &arch]);
    let settings = app.settings();
    Ok(Json(Runs {
        next: part.next.map(|last| wanted.at(&base, Some(&last))),
        results: ResultData::list(settings, &part.rows),
        more_open: open.next.map(|after| more_path(&base, after)),
        open: open.data(settings),
    }))
}
