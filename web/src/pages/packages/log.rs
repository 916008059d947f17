//! `/packages/{package}/{release}/{arch}/{run_id}/log`: the log in sections, each line with an address.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use proofhouse_core::layout::file;

use crate::{
    app::App,
    failure::Failure,
    log::{Cut, MOST_SCANNED, Section, read_log, sections},
    pages::page,
    private::PublicResult,
    view::{Crumb, ResultItem, crumbs, results_path, size},
};

#[derive(Template)]
#[template(path = "packages/log.html")]
struct Page {
    crumbs: Vec<Crumb>,
    result: ResultItem,
    raw_path: String,
    sections: Vec<Section>,
    /// What was left out, as people read sizes.
    cut: Option<(String, Cut)>,
    /// The log was not read to its end: it is longer than this.
    endless: Option<String>,
    /// The file is damaged, or ends too early.
    damaged: bool,
}

pub(super) async fn get(app: &App, row: PublicResult) -> Result<Response, Failure> {
    let missing = || Failure::not_found("This run has no log in the store.");
    let (series, run_id) = row.place().ok_or_else(missing)?;
    let name = series.object(&run_id, file::LOG);
    // Few at once: whoever comes next waits for a place.
    let _place = app.logs().acquire().await.map_err(|_| Failure::internal())?;
    let object = app
        .store()
        .get(&series.container, &name, None)
        .await
        .map_err(|error| if error.is_missing() { missing() } else { error.into() })?;
    let log = read_log(object.stream).await.map_err(|error| {
        tracing::warn!(error = %error, "a log could not be read from the store");
        Failure::away("store")
    })?;
    page(&Page {
        crumbs: crumbs(&row.package, Some((&row.release, &row.arch)), Some(&row.run_id)),
        result: ResultItem::new(&row, Timestamp::now()),
        raw_path: results_path(&series.container, &name),
        cut: log.cut.map(|cut| (size(cut.bytes), cut)),
        endless: log.endless.then(|| size(MOST_SCANNED)),
        damaged: log.damaged,
        sections: sections(&log),
    })
}
