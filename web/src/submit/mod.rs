//! Requests by HTTP: `/request.cgi` and `POST /api/v1/requests` (contract "request.cgi").

mod answer;
mod check;
mod form;
mod take;
mod who;

use axum::{
    body::Bytes,
    extract::{RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, header},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{names::RequestQueue, request::Request};

use self::{check::check, form::Wanted};
use crate::{app::App, failure::Failure, settings::Settings, wanted::wants_json};

/// What a request's address is about: its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Json,
}

/// `GET /request.cgi`.
pub(crate) async fn cgi_get(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let person = who::ask(&app, &headers).await?;
    let wanted = Wanted::from_form(query.unwrap_or_default().as_bytes())?;
    submit(&app, &person, wanted, kind(&headers)).await
}

/// `HEAD /request.cgi`: whoever only looks asks for nothing.
pub(crate) async fn cgi_head() -> Failure {
    Failure::method("GET and POST")
}

/// `POST /request.cgi`: a form, or JSON.
pub(crate) async fn cgi_post(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let person = who::ask(&app, &headers).await?;
    let body = body.map_err(|e| Failure::body(e.status(), &e.body_text()))?;
    let wanted = if content_type(&headers) == Some("application/json") {
        Wanted::from_json(&body)?
    } else {
        // Parameters may stand in either place, or in both.
        Wanted::from_form(&[query.unwrap_or_default().as_bytes(), b"&", &body].concat())?
    };
    submit(&app, &person, wanted, kind(&headers)).await
}

/// Ask for a test
///
/// With a token: `Authorization: Bearer …`. One request for each architecture; each is checked before any is sent.
#[utoipa::path(post, path = "/api/v1/requests", tag = "ask", request_body = form::Asked, responses(
    (status = OK, body = answer::Taken, description = "All were taken."),
    (status = UNAUTHORIZED, description = "Nobody is known by this token."),
    (status = FORBIDDEN, description = "The token may not do that."),
    (status = NOT_FOUND, description = "The release or the architecture is not served."),
    (status = CONFLICT, description = "It is queued or runs already."),
    (status = PAYLOAD_TOO_LARGE, description = "The body is too large."),
))]
pub(crate) async fn api(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let person = who::ask(&app, &headers).await?;
    let body = body.map_err(|e| Failure::body(e.status(), &e.body_text()))?;
    submit(&app, &person, Wanted::from_json(&body)?, Kind::Json).await
}

async fn submit(app: &App, person: &who::Person, wanted: Wanted, kind: Kind) -> Result<Response, Failure> {
    let checked = check(wanted, person, app.settings(), Timestamp::now())?;
    let taken = take::take(app, person, checked).await?;
    answer::answer(app.settings(), &taken, kind)
}

/// The requests that a form (or a JSON object) of somebody who may do everything asks for; none where it is refused.
pub(crate) fn asked(body: &[u8], json: bool, settings: &Settings) -> Option<Vec<(RequestQueue, Request)>> {
    let person = who::Person { name: "joe".to_owned(), may_request: true, may_force: true, may_name: true };
    let wanted = if json { Wanted::from_json(body) } else { Wanted::from_form(body) };
    let checked = check(wanted.ok()?, &person, settings, Timestamp::UNIX_EPOCH).ok()?;
    Some(checked.into_iter().map(|one| (one.queue, one.request)).collect())
}

fn kind(headers: &HeaderMap) -> Kind {
    if wants_json(headers) { Kind::Json } else { Kind::Page }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}
