//! `/user/{name}/`: what somebody asked for, and their PPAs.
//!
//! That nobody of a name ever asked is not told from that they did so by private runs alone.

use askama::Template;
use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::db::NameKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    filter::{address, text},
    open::{Open, OpenJob, OpenPart, more_path, open_after, read_limit},
    page, recent,
};
use crate::{
    api::ResultData,
    app::App,
    failure::Failure,
    feeds::user_feed,
    private::PublicResult,
    view::{Crumb, ResultItem, ppa_path, user_path},
};

/// How many PPAs.
const PPAS: usize = 200;

/// A name in an address.
fn name(path: Result<Path<String>, PathRejection>) -> Result<String, Failure> {
    let Path(name) = path?;
    // PostgreSQL has no NUL in texts, and a name is a line.
    let good = !name.is_empty() && !name.contains(['\0', '\n']);
    if good { Ok(name) } else { Err(Failure::not_found("Nobody is called so.")) }
}

/// The way to somebody's pages.
pub(super) fn way(name: &str) -> Vec<Crumb> {
    vec![Crumb { name: name.to_owned(), path: user_path(name) }]
}

/// What somebody asked for.
struct Part {
    open: OpenPart,
    open_after: i64,
    results: Vec<PublicResult>,
    /// The query of older results.
    older: Option<String>,
    /// Not all that there is was looked through.
    looked: bool,
    is_first: bool,
    filtered: bool,
}

async fn part(app: &App, name: &str, query: Option<&str>) -> Result<Part, Failure> {
    let open_after = open_after(query)?;
    let mut wanted = recent::Wanted::parse(query.unwrap_or_default())?;
    wanted.user = name.to_owned();
    let open = app.db().open_jobs_by(name, open_after, read_limit()).await?;
    let (results, older) = recent::results(app, &wanted).await?;
    // The path has the name.
    wanted.user.clear();
    Ok(Part {
        looked: older.is_some() && i64::try_from(results.len()).is_ok_and(|n| n < wanted.limit),
        older: older.map(|place| wanted.older(&place)),
        is_first: wanted.is_first(),
        filtered: wanted.is_filter(),
        results,
        open: OpenPart::of(app, open).await?,
        open_after,
    })
}

/// What somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserData {
    /// Their name.
    user: String,
    /// What is not done, in the order in which it came.
    open: Vec<OpenJob>,
    /// The address of what else is not done.
    more_open: Option<String>,
    /// What came out, newest first.
    results: Vec<ResultData>,
    /// The address of the older ones.
    next: Option<String>,
}

/// What somebody asked for
///
/// What is not done yet, and what came out; public runs alone.
#[utoipa::path(get, path = "/api/v1/users/{user}", tag = "past",
    params(
        ("user" = String, Path, description = "The name by which they ask."),
        recent::Wanted,
        ("open_after" = Option<i64>, Query, description = "Of what is not done only jobs behind this number, as `more_open` has it."),
    ),
    responses((status = OK, body = UserData)))]
pub(crate) async fn json(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<UserData>, Failure> {
    let user = name(path)?;
    let part = part(&app, &user, query.as_deref()).await?;
    let (settings, base) = (app.settings(), crate::view::path(&["api", "v1", "users", &user]));
    Ok(Json(UserData {
        more_open: part.open.next.map(|after| more_path(&base, after)),
        open: part.open.data(settings),
        results: ResultData::list(settings, &part.results),
        next: part.older.map(|query| format!("{base}?{query}")),
        user,
    }))
}

#[derive(Template)]
#[template(path = "user.html")]
struct Page {
    crumbs: Vec<Crumb>,
    name: String,
    path: String,
    open: Open,
    results: Vec<ResultItem>,
    is_first: bool,
    filtered: bool,
    older: Option<String>,
    looked: bool,
    recent: String,
    ppas: String,
    feed: String,
}

/// `/user/{name}/`.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let name = name(path)?;
    let part = part(&app, &name, query.as_deref()).await?;
    let (now, path) = (Timestamp::now(), user_path(&name));
    page(&Page {
        crumbs: vec![],
        open: Open::of(&app, &part.open, &path, part.open_after).await?.of_packages(),
        results: ResultItem::list(&part.results, now),
        is_first: part.is_first,
        filtered: part.filtered,
        older: part.older.map(|query| format!("{path}?{query}")),
        looked: part.looked,
        recent: address("/recent", &[("user", &name)]),
        ppas: crate::view::path(&["user", &name, "ppa"]),
        feed: user_feed(&name),
        path,
        name,
    })
}

/// Somebody's PPAs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ppas {
    /// Those with which tests were run, by name.
    ppas: Vec<PpaName>,
    /// The address of those behind.
    next: Option<String>,
}

/// A PPA.
#[derive(Debug, Serialize, ToSchema)]
struct PpaName {
    /// Its name, without its owner's.
    name: String,
    /// Its page.
    url: String,
}

/// The names of somebody's PPAs, and the one behind which there are more.
async fn ppa_names(app: &App, owner: &str, after: &str) -> Result<(Vec<String>, Option<String>), Failure> {
    // As containers have it.
    let prefix = format!("{owner}-");
    let behind = if after.is_empty() { String::new() } else { format!("{prefix}{after}") };
    let limit = i64::try_from(PPAS + 1).unwrap_or(i64::MAX);
    let names = app.db().names_from(NameKind::Ppa, &prefix, &behind, limit).await?;
    let more = names.len() > PPAS;
    let names = names.iter().take(PPAS).filter_map(|name| name.strip_prefix(&prefix));
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let next = names.last().filter(|_| more).cloned();
    Ok((names, next))
}

/// Somebody's PPAs with which tests were run
///
/// As containers are called, `owner-name`: PPAs of others whose name begins with this one and a `-` are among them.
#[utoipa::path(get, path = "/api/v1/users/{user}/ppas", tag = "past",
    params(
        ("user" = String, Path, description = "The owner."),
        ("after" = Option<String>, Query, description = "Only PPAs behind this name."),
    ),
    responses((status = OK, body = Ppas)))]
pub(crate) async fn ppas_json(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Ppas>, Failure> {
    let owner = name(path)?;
    let (names, next) = ppa_names(&app, &owner, &text(query.as_deref(), "after")?).await?;
    let base = crate::view::path(&["api", "v1", "users", &owner, "ppas"]);
    let ppa = |name: String| PpaName { url: app.settings().link(&ppa_path(&owner, &name)), name };
    Ok(Json(Ppas {
        ppas: names.into_iter().map(ppa).collect(),
        next: next.map(|after| address(&base, &[("after", &after)])),
    }))
}

#[derive(Template)]
#[template(path = "user/ppas.html")]
struct PpasPage {
    crumbs: Vec<Crumb>,
    name: String,
    /// Name and page.
    ppas: Vec<(String, String)>,
    first: Option<String>,
    next: Option<String>,
}

/// `/user/{name}/ppa`.
pub(crate) async fn ppas(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let owner = name(path)?;
    let after = text(query.as_deref(), "after")?;
    let (names, next) = ppa_names(&app, &owner, &after).await?;
    let base = crate::view::path(&["user", &owner, "ppa"]);
    page(&PpasPage {
        crumbs: way(&owner),
        ppas: names.into_iter().map(|name| (name.clone(), ppa_path(&owner, &name))).collect(),
        first: (!after.is_empty()).then(|| base.clone()),
        next: next.map(|after| address(&base, &[("after", &after)])),
        name: owner,
    })
}
