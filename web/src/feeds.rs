//! `/feeds/…`: results as Atom, the newest first: all of them, or only those that say otherwise than the one before.

use atom_syndication::{Category, Entry, Feed, FixedDateTime, Link, Person, Text};
use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{RecentFilter, ResultRow},
    names::Package,
    outcome::{Class, ExitCode},
};

use crate::{
    app::App,
    failure::Failure,
    pages::{packages::list::is_known, parameter},
    private::PublicResult,
    settings::Settings,
    validate::dated,
    view::{package_path, path, release_path, result_path, results_path, user_path},
};

/// How many entries a feed has.
const MOST: usize = 50;
/// Among so many of the newest results changes are looked for.
const LOOKED_AT: usize = 300;
/// The media type.
pub(crate) const TYPE: &str = "application/atom+xml";

/// What a feed is of.
struct Subject {
    title: String,
    /// Its address, without a query.
    path: String,
    /// The page about the same.
    page: String,
}

/// What a name in an address says without `.atom`.
fn stem(name: &str) -> Result<&str, Failure> {
    let bare = name.strip_suffix(".atom").filter(|stem| !stem.is_empty() && !stem.contains('\0'));
    bare.ok_or_else(|| Failure::not_found("The address of a feed ends in .atom."))
}

/// True where only changes are wanted.
fn changes_only(query: Option<&str>) -> bool {
    parameter(query, "transitions").is_some_and(|value| !matches!(value.as_str(), "" | "0"))
}

fn limit(query: Option<&str>) -> i64 {
    let looked_at = if changes_only(query) { LOOKED_AT } else { MOST };
    i64::try_from(looked_at).unwrap_or(i64::MAX)
}

/// `/feeds/package/{package}.atom`.
pub(crate) async fn package(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(file) = path?;
    let unknown = || Failure::not_found("No run of such a package is known.");
    let package: Package = stem(&file)?.parse().map_err(|_| unknown())?;
    if !is_known(&app, &package).await? {
        return Err(unknown());
    }
    let filter = RecentFilter {
        package: Some(package.to_string()),
        limit: limit(query.as_deref()),
        ..RecentFilter::default()
    };
    let rows = app.db().recent(&filter).await?;
    let subject = Subject {
        title: format!("Tests of {package}"),
        path: package_feed(package.as_str()),
        page: package_path(package.as_str()),
    };
    feed(&app, &subject, rows, query.as_deref()).await
}

/// `/feeds/release/{release}.atom`.
pub(crate) async fn release(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(file) = path?;
    let release = stem(&file)?;
    let filter = RecentFilter {
        release: Some(release.to_owned()),
        limit: limit(query.as_deref()),
        ..RecentFilter::default()
    };
    let rows = app.db().recent(&filter).await?;
    if rows.is_empty() && !app.settings().releases().iter().any(|served| served.as_str() == release) {
        return Err(Failure::not_found("No run on such a release is known."));
    }
    let subject = Subject {
        title: format!("Tests on {release}"),
        path: release_feed(release),
        page: release_path(release),
    };
    feed(&app, &subject, rows, query.as_deref()).await
}

/// `/feeds/user/{name}.atom`. That nobody of a name ever asked is not told from that they did so by private runs alone.
pub(crate) async fn user(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(file) = path?;
    let user = stem(&file)?;
    let filter = RecentFilter {
        user: Some(user.to_owned()),
        limit: limit(query.as_deref()),
        ..RecentFilter::default()
    };
    let subject = Subject {
        title: format!("Tests that {user} asked for"),
        path: user_feed(user),
        page: user_path(user),
    };
    feed(&app, &subject, app.db().recent(&filter).await?, query.as_deref()).await
}

/// `/feeds/trigger/{source}/{version}.atom`.
pub(crate) async fn trigger(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path((source, file)) = path?;
    let version = stem(&file)?;
    let name = format!("{source}/{version}");
    if name.contains('\0') {
        return Err(Failure::not_found("There is no such trigger."));
    }
    let mut rows = app.db().triggered(&name, None, limit(query.as_deref())).await?;
    // They are found in the order in which they came to be known.
    newest_first(&mut rows);
    let subject = Subject {
        title: format!("Tests that {name} set off"),
        path: trigger_feed(&source, version),
        page: crate::view::path(&["trigger", &source, version]),
    };
    feed(&app, &subject, rows, query.as_deref()).await
}

fn newest_first(rows: &mut [ResultRow]) {
    rows.sort_by(|one, other| (&other.run_id, other.id).cmp(&(&one.run_id, one.id)));
}

/// The feed of a package.
pub(crate) fn package_feed(package: &str) -> String {
    path(&["feeds", "package", &format!("{package}.atom")])
}

/// The feed of a release.
pub(crate) fn release_feed(release: &str) -> String {
    path(&["feeds", "release", &format!("{release}.atom")])
}

/// The feed of what somebody asked for.
pub(crate) fn user_feed(user: &str) -> String {
    path(&["feeds", "user", &format!("{user}.atom")])
}

/// The feed of what an upload set off.
pub(crate) fn trigger_feed(source: &str, version: &str) -> String {
    path(&["feeds", "trigger", source, &format!("{version}.atom")])
}

/// Only those that say otherwise than the one before of the same test: the first that fails, and each that differs. What
/// infrastructure did is no word of the test.
async fn changes(app: &App, rows: Vec<PublicResult>) -> Result<Vec<PublicResult>, Failure> {
    let said = |class| matches!(class, Class::Pass | Class::Neutral | Class::Fail);
    let rows: Vec<PublicResult> = rows.into_iter().filter(|row| said(row.class())).collect();
    let before = app.db().said_before(&rows.iter().map(|row| &**row).collect::<Vec<_>>()).await?;
    let class = |code: i64| ExitCode(i32::try_from(code).unwrap_or(i32::MIN)).class();
    let differs = |row: &PublicResult, before: Option<i64>| match before {
        Some(code) => class(code) != row.class(),
        None => row.class() == Class::Fail,
    };
    Ok(rows
        .into_iter()
        .zip(before)
        .filter(|(row, before)| differs(row, *before))
        .map(|(row, _)| row)
        .collect())
}

async fn feed(
    app: &App,
    subject: &Subject,
    rows: Vec<ResultRow>,
    query: Option<&str>,
) -> Result<Response, Failure> {
    let (settings, only) = (app.settings(), changes_only(query));
    let mut rows = PublicResult::all(rows);
    if only {
        rows = changes(app, rows).await?;
    }
    rows.truncate(MOST);
    let query = if only { "?transitions=1" } else { "" };
    let own = format!("{}{query}", subject.path);
    let updated = rows.iter().map(updated).max().unwrap_or_default();
    let feed = Feed {
        title: text(&subject.title),
        subtitle: only.then(|| {
            text(&format!(
                "Only results that say otherwise than the one before, among the newest {LOOKED_AT}"
            ))
        }),
        id: tag(settings, &own),
        updated: fixed(updated),
        authors: vec![Person { name: "Proofhouse".to_owned(), ..Person::default() }],
        links: vec![
            link("self", TYPE, settings.link(&own)),
            link("alternate", "text/html", settings.link(&subject.page)),
        ],
        entries: rows.iter().map(|row| entry(settings, row)).collect(),
        ..Feed::default()
    };
    let kind = HeaderValue::from_static("application/atom+xml; charset=utf-8");
    let mut response = ([(header::CONTENT_TYPE, kind)], feed.to_string()).into_response();
    if !rows.is_empty() {
        dated(response.headers_mut(), updated);
    }
    Ok(response)
}

fn entry(settings: &Settings, row: &PublicResult) -> Entry {
    let ResultRow { package, release, arch, run_id, version, container, .. } = &**row;
    let word = row.class().as_str();
    let page = settings.link(&result_path(row));
    let mut links = vec![link("alternate", "text/html", page)];
    if let Some((series, id)) = row.place() {
        let log = results_path(&series.container, &series.object(&id, proofhouse_core::layout::file::LOG));
        links.push(link("related", "text/plain", settings.link(&log)));
    }
    let mut facts = vec![format!("Result: {word}"), format!("Version: {version}")];
    let optional = [("Triggers", &row.triggers), ("Parameters", &row.env), ("Requester", &row.requester)];
    facts.extend(optional.into_iter().filter_map(|(name, value)| {
        value.as_ref().filter(|value| !value.is_empty()).map(|value| format!("{name}: {value}"))
    }));
    facts.push(format!("Duration: {} s", row.duration_seconds));
    let at = fixed(updated(row));
    Entry {
        title: text(&format!("{} {word}: {package} {version} on {release}/{arch}", row.class().symbol())),
        id: tag(settings, &path(&["results", container, release, arch, package, run_id])),
        updated: at,
        published: Some(at),
        categories: vec![Category { term: word.to_owned(), ..Category::default() }],
        links,
        summary: Some(text(&facts.join("\n"))),
        ..Entry::default()
    }
}

/// When a result came.
fn updated(row: &PublicResult) -> Timestamp {
    let time = row.run_id.parse::<proofhouse_core::run_id::RunId>().ok().and_then(|id| id.time());
    time.unwrap_or_default()
}

fn fixed(at: Timestamp) -> FixedDateTime {
    let text = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    text.parse().unwrap_or_else(|_| FixedDateTime::default())
}

/// A name that stays (RFC 4151), whatever becomes of addresses.
fn tag(settings: &Settings, path: &str) -> String {
    format!("tag:{},2026:{}", settings.site.host_str().unwrap_or("localhost"), path.trim_start_matches('/'))
}

fn link(rel: &str, kind: &str, href: String) -> Link {
    Link { rel: rel.to_owned(), mime_type: Some(kind.to_owned()), href, ..Link::default() }
}

/// Text of others: what XML has no place for is left out.
fn text(text: &str) -> Text {
    let may =
        |c: &char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    Text::plain(text.chars().filter(|c| may(c) && *c != '\u{7f}').collect::<String>())
}
