//! What goes wrong, said so that its reader knows what to do. One value; page, JSON or text as the client wants it.

use askama::Template;
use axum::{
    extract::{Request, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use proofhouse_core::{db::DbError, store::StoreError};
use serde_json::json;

use crate::{
    view::Crumb,
    wanted::{Format, wants_json},
};

/// How long a client waits before it tries again while the database or the store is away, in seconds.
const AWAY_SECONDS: i64 = 10;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// A heading.
    pub(crate) title: &'static str,
    /// What is wrong, in a sentence or two.
    pub(crate) text: String,
    /// What to do.
    pub(crate) advice: String,
    /// The path of the run that this is about.
    pub(crate) run: Option<String>,
    /// Seconds until another try may help.
    pub(crate) retry_after: Option<i64>,
}

impl Failure {
    fn new(status: StatusCode, title: &'static str, text: impl Into<String>, advice: &str) -> Self {
        Self { status, title, text: text.into(), advice: advice.to_owned(), run: None, retry_after: None }
    }

    /// 404.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        let advice = "Search for a package by its name, or look at what ran lately.";
        Self::new(StatusCode::NOT_FOUND, "Not found", text, advice)
    }

    /// 404: a release or arch that is not configured.
    pub(crate) fn not_served(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not served here", text, advice)
    }

    /// 400.
    pub(crate) fn bad(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This cannot be understood", text, advice)
    }

    /// 401.
    pub(crate) fn who(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Who is asking?", text, advice)
    }

    /// 403.
    pub(crate) fn forbidden(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", text, advice)
    }

    /// 405.
    pub(crate) fn method(allowed: &str) -> Self {
        let text = format!("This address answers {allowed} only.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", text, "")
    }

    /// 409: what was asked for is queued or runs.
    pub(crate) fn duplicate(state: &str, run: Option<String>) -> Self {
        let text = format!("The same request is {state} already.");
        let advice = if run.is_some() {
            "Look at that run; ask again once it is done."
        } else {
            "Ask again once it is done."
        };
        Self { run, ..Self::new(StatusCode::CONFLICT, "Asked for already", text, advice) }
    }

    /// 413 and 415, as the server says them.
    pub(crate) fn body(status: StatusCode, text: &str) -> Self {
        Self::new(status, "This body cannot be taken", text, "")
    }

    /// 429.
    pub(crate) fn too_many(per_hour: i64, seconds: i64) -> Self {
        let text = format!("Everyone may ask for {per_hour} tests in an hour, and these were asked for.");
        let advice = format!("Try again in {seconds} seconds.");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", text, &advice)
        }
    }

    /// 503.
    pub(crate) fn away(what: &str) -> Self {
        let text = format!("The {what} does not answer just now. Nothing is lost; tests go on.");
        Self {
            retry_after: Some(AWAY_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Away for a moment",
                text,
                "Try again in a few seconds.",
            )
        }
    }

    /// 500.
    pub(crate) fn internal() -> Self {
        let text = "This is our mistake. It is in the log of this site.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", text, "")
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        // Neither the error nor its source holds a statement's values.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        if error.may_retry() {
            tracing::warn!(error = %error, error.cause = cause, "a page could not be made: the database is away");
            Self::away("database")
        } else {
            tracing::error!(error = %error, error.cause = cause, "a page could not be made");
            Self::internal()
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_missing() || matches!(error, StoreError::BadName(_)) {
            return Self::not_found("There is no such file.");
        }
        tracing::warn!(error = %error, "a file could not be read from the store");
        Self::away("store")
    }
}

impl From<PathRejection> for Failure {
    fn from(_: PathRejection) -> Self {
        Self::not_found("This address cannot be read.")
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        tracing::error!(error = %error, "a template failed");
        Self::internal()
    }
}

impl IntoResponse for Failure {
    /// Without a body yet: [`dress`] knows what the client wants.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Page<'a> {
    failure: &'a Failure,
    crumbs: Vec<Crumb>,
}

/// Gives a [`Failure`] its body: a page, JSON, or a line of text.
pub(crate) async fn dress(request: Request, next: Next) -> Response {
    let format = match Format::of(request.uri(), request.headers()) {
        Format::Html if wants_json(request.headers()) => Format::Json,
        format => format,
    };
    let mut response = next.run(request).await;
    let Some(failure) = response.extensions_mut().remove::<Failure>() else { return response };
    let mut dressed = (failure.status, body(&failure, format)).into_response();
    let headers = dressed.headers_mut();
    // What the answer had of its own, as `Allow`.
    headers.extend(response.headers_mut().drain().filter_map(|(name, value)| {
        let name = name?;
        (name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE).then_some((name, value))
    }));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"proofhouse\""));
    }
    dressed
}

fn body(failure: &Failure, format: Format) -> Response {
    match format {
        Format::Html => match (Page { failure, crumbs: vec![] }).render() {
            Ok(page) => Html(page).into_response(),
            Err(_) => format!("{}\n", failure.text).into_response(),
        },
        Format::Json => {
            let mut json = json!({"error": failure.text, "advice": failure.advice});
            if let Some(path) = &failure.run {
                json["url"] = path.clone().into();
            }
            axum::Json(json).into_response()
        }
        Format::Text => format!("{}\n", failure.text).into_response(),
    }
}
