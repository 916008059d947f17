//! `/packages/{package}/{release}/{arch}/{run_id}/log`: the log in sections, each line with an address.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::layout::file;

use crate::{
    app::App,
    failure::Failure,
    log::LogView,
    pages::page,
    private::PublicResult,
    view::{Crumb, ResultItem, crumbs, results_path},
};

#[derive(Template)]
#[template(path = "packages/log.html")]
struct Page {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    log: LogView,
}

pub(super) async fn get(app: &App, row: PublicResult) -> Result<Response, Failure> {
    let missing = || Failure::not_found("This run has no log in the store.");
    let (series, run_id) = row.place().ok_or_else(missing)?;
    let name = series.object(&run_id, file::LOG);
    let raw_path = results_path(&series.container, &name);
    page(&Page {
        crumbs: crumbs(&row.package, Some((&row.release, &row.arch)), Some(&row.run_id)),
        result: ResultItem::new(&row, Timestamp::now()),
        log: LogView::read(app, &series.container, &name, raw_path, missing).await?,
    })
}
