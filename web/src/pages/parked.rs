//! `/parked`: what infrastructure kept from running until its attempts were spent.

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use proofhouse_core::db::ParkedFilter;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    filter::{address, text},
    infrastructure::parked_sentence,
    open::{Open, OpenJob, OpenPart, more_path, open_after, read_limit},
    page,
    recent::choices,
};
use crate::{app::App, failure::Failure, view::Crumb};

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this package.
    #[param(required = false)]
    package: String,
    /// Only this release.
    #[param(required = false)]
    release: String,
    /// Only this architecture.
    #[param(required = false)]
    arch: String,
    /// Only those whose last attempt ended so, as `parked` of `/api/v1/infrastructure` names it.
    #[param(required = false)]
    reason: String,
    /// Only jobs behind this number, as `next` has it.
    #[param(required = false, default = 0, minimum = 0)]
    open_after: i64,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        Ok(Self {
            package: text(query, "package")?,
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            reason: text(query, "reason")?,
            open_after: open_after(query)?,
        })
    }

    fn is_filter(&self) -> bool {
        [&self.package, &self.release, &self.arch, &self.reason].iter().any(|text| !text.is_empty())
    }

    /// The address of its first part.
    fn at(&self, base: &str) -> String {
        let parameters = [
            ("package", self.package.as_str()),
            ("release", &self.release),
            ("arch", &self.arch),
            ("reason", &self.reason),
        ];
        address(&format!("{base}/parked"), &parameters)
    }
}

async fn part(app: &App, wanted: &Wanted) -> Result<OpenPart, Failure> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let filter = ParkedFilter {
        package: some(&wanted.package),
        release: some(&wanted.release),
        arch: some(&wanted.arch),
        fault: some(&wanted.reason),
        after: wanted.open_after,
        limit: read_limit(),
    };
    OpenPart::of(app, app.db().public_parked(&filter).await?).await
}

/// What is parked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parked {
    /// In the order in which they came.
    jobs: Vec<OpenJob>,
    /// The address of the part behind.
    next: Option<String>,
}

/// What infrastructure kept from running until its attempts were spent
///
/// An operator has it retried. Private tests are not listed.
#[utoipa::path(get, path = "/api/v1/parked", tag = "now", params(Wanted), responses((status = OK, body = Parked)))]
pub(crate) async fn json(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Parked>, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let part = part(&app, &wanted).await?;
    let next = part.next.map(|after| more_path(&wanted.at("/api/v1"), after));
    Ok(Json(Parked { jobs: part.data(app.settings()), next }))
}

#[derive(Template)]
#[template(path = "parked.html")]
struct Page {
    crumbs: Vec<Crumb>,
    releases: Vec<String>,
    arches: Vec<String>,
    /// Names of those that there are.
    reasons: Vec<String>,
    /// The chosen one for people.
    sentence: Option<String>,
    wanted: Wanted,
    open: Open,
}

/// `/parked`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let part = part(&app, &wanted).await?;
    let infrastructure = app.infrastructure().await?;
    let reasons = infrastructure.parked.iter().map(|reason| reason.name.clone());
    let known = infrastructure.parked.iter().any(|reason| reason.name == wanted.reason);
    let settings = app.settings();
    page(&Page {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        reasons: choices(reasons, &wanted.reason),
        sentence: known.then(|| parked_sentence(&wanted.reason)),
        open: Open::of(&app, &part, &wanted.at(""), wanted.open_after).await?.of_packages(),
        wanted,
    })
}
