//! `/packages?q=`: from a name, or its beginning, to a package.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use proofhouse_core::{db::NameKind, names::Package};

use super::{page, parameter};
use crate::{
    app::App,
    failure::Failure,
    private::PublicJob,
    view::{Crumb, package_path},
};

/// How many names are shown.
const MOST: usize = 200;

#[derive(Template)]
#[template(path = "search.html")]
struct Found {
    crumbs: Vec<Crumb>,
    /// What was looked for.
    wanted: String,
    /// Name and page.
    names: Vec<(String, String)>,
    /// There are more than are shown.
    more: bool,
}

/// `/packages?q=`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = parameter(query.as_deref(), "q").unwrap_or_default().trim().to_owned();
    let prefix: Option<Package> = wanted.parse().ok();
    if let Some(package) = &prefix
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
            app.db().names_from(NameKind::Package, prefix, "", limit).await?
        }
    };
    let more = names.len() > MOST;
    names.truncate(MOST);
    let names = names.into_iter().map(|name| (name.clone(), package_path(&name))).collect();
    page(&Found { crumbs: vec![], wanted, names, more })
}

/// True where anybody may see a run of the package.
async fn is_known(app: &App, package: &Package) -> Result<bool, Failure> {
    if app.db().has_results(package).await? {
        return Ok(true);
    }
    let (open, _) = PublicJob::split(app.db().open_jobs_of(package, None, 100).await?);
    Ok(!open.is_empty())
}
