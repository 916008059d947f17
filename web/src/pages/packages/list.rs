//! `/packages`: packages that have results, by name; `?q=`: those whose names begin so.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use proofhouse_core::{db::NameKind, names::Package};

use crate::{
    app::App,
    failure::Failure,
    pages::{
        filter::{address, text},
        page, parameter,
    },
    private::PublicJob,
    view::{Crumb, package_path},
};

/// How many names are shown.
const MOST: usize = 200;

#[derive(Template)]
#[template(path = "packages/list.html")]
struct Found {
    crumbs: Vec<Crumb>,
    /// How names begin.
    wanted: String,
    /// Name and page.
    names: Vec<(String, String)>,
    first: Option<String>,
    next: Option<String>,
}

/// `/packages`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = parameter(query.as_deref(), "q").unwrap_or_default().trim().to_owned();
    let after = text(query.as_deref(), "after")?;
    let prefix: Option<Package> = wanted.parse().ok();
    if let Some(package) = &prefix
        && after.is_empty()
        && is_known(&app, package).await?
    {
        return Ok(Redirect::to(&package_path(package.as_str())).into_response());
    }
    // An empty beginning lists what comes first; one that no name has lists nothing.
    let mut names = match &prefix {
        None if !wanted.is_empty() => Vec::new(),
        prefix => {
            let prefix = prefix.as_ref().map_or("", Package::as_str);
            let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
            app.db().names_from(NameKind::Package, prefix, &after, limit).await?
        }
    };
    let more = names.len() > MOST;
    names.truncate(MOST);
    let part = |after: &str| address("/packages", &[("q", &wanted), ("after", after)]);
    page(&Found {
        crumbs: vec![],
        first: (!after.is_empty()).then(|| part("")),
        next: names.last().filter(|_| more).map(|last| part(last)),
        names: names.into_iter().map(|name| (name.clone(), package_path(&name))).collect(),
        wanted,
    })
}

/// True where anybody may see a run of the package.
pub(crate) async fn is_known(app: &App, package: &Package) -> Result<bool, Failure> {
    if app.db().has_results(package).await? {
        return Ok(true);
    }
    let (open, _) = PublicJob::split(app.db().open_jobs_of(package, None, 0, 100).await?);
    Ok(!open.is_empty())
}
