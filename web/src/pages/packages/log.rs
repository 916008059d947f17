//! `/packages/{package}/{release}/{arch}/{run_id}/log`: the log in sections, each line with an address;
//! a part of it, or what is searched for in it, where the query says so.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::layout::file;

use crate::{
    app::App,
    failure::Failure,
    log::LogView,
    pages::log_page,
    private::PublicResult,
    view::{Crumb, ResultItem, crumbs, results_path, run_path},
};

#[derive(Template)]
#[template(path = "packages/log.html")]
struct Page {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    log: LogView,
}

pub(super) async fn get(app: &App, row: PublicResult, query: &str) -> Result<Response, Failure> {
    let missing = || Failure::not_found("This run has no log in the store.");
    let (series, run_id) = row.place().ok_or_else(missing)?;
    let name = series.object(&run_id, file::LOG);
    let raw_path = results_path(&series.container, &name);
    let path = format!("{}/log", run_path(&row.package, &row.release, &row.arch, &row.run_id));
    let log = LogView::read(app, (&series.container, &name), (&path, query), raw_path, missing).await?;
    log_page(log, |log| Page {
        crumbs: crumbs(&row.package, Some((&row.release, &row.arch)), Some(&row.run_id)),
        result: ResultItem::new(&row, Timestamp::now()),
        log,
    })
}
