//! `/packages/…`: a package, its runs on a release and arch, one run, its log.

mod address;
pub(crate) mod attempts;
pub(crate) mod list;
mod log;
mod package;
pub(crate) mod run;
pub(crate) mod runs;

use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use proofhouse_core::{
    names::{Package, Pair},
    run_id::RunId,
};

use self::address::Address;
use super::parameter;
use crate::{app::App, failure::Failure, private::PublicResult, validate::dated};

/// `/packages/{*path}`: the folder of a package may stand before its name.
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(path) = path?;
    let parameter = |name: &str| parameter(query.as_deref(), name);
    let address = Address::parse(&path)
        .ok_or_else(|| Failure::not_found("No package, release or run has this address."))?;
    match address {
        Address::Package(package) => package::get(&app, package, query.as_deref()).await,
        Address::Runs(package, pair) => runs::get(&app, package, pair, query.as_deref()).await,
        Address::Run(package, pair, run_id) => {
            let all = results(&app, &package, &pair, &run_id).await?;
            let mut page = run::get(&app, &pick(all, parameter("container").as_deref())?).await?;
            if let Some(at) = run_id.time() {
                dated(page.headers_mut(), at);
            }
            Ok(page)
        }
        Address::Log(package, pair, run_id) => {
            let all = results(&app, &package, &pair, &run_id).await?;
            let row = pick(all, parameter("container").as_deref())?;
            log::get(&app, row, query.as_deref().unwrap_or_default()).await
        }
    }
}

pub(crate) async fn results(
    app: &App,
    package: &Package,
    pair: &Pair,
    run_id: &RunId,
) -> Result<Vec<PublicResult>, Failure> {
    Ok(PublicResult::all(app.db().result(package, pair, run_id).await?))
}

/// The run in the container that the address names; else the release's own; else the first.
pub(crate) fn pick(all: Vec<PublicResult>, container: Option<&str>) -> Result<PublicResult, Failure> {
    let fits = |row: &PublicResult| match container {
        Some(container) => row.container == container,
        None => row.container == format!("autopkgtest-{}", row.release),
    };
    let at = all.iter().position(fits).or((container.is_none() && !all.is_empty()).then_some(0));
    at.and_then(|at| all.into_iter().nth(at)).ok_or_else(|| Failure::not_found("There is no such run."))
}
