//! What goes wrong, said so that its reader knows what to do. One value; page, JSON or text as the client wants it.

use askama::Template;
use axum::{
    extract::{Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use proofhouse_core::{db::DbError, store::StoreError};
use serde_json::{Value, json};

use crate::{
    app::App,
    settings::Settings,
    view::Crumb,
    wanted::{Format, wants_json},
};

/// How long a client waits before it tries again while the database or the store is away, in seconds.
const AWAY_SECONDS: i64 = 10;

/// The type of a problem's details.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// What can go wrong: title, status and what it means. A title's words are the name of the problem's type.
pub(crate) const PROBLEMS: [(&str, StatusCode, &str); 13] = [
    (NOT_FOUND, StatusCode::NOT_FOUND, "There is nothing at this address that everybody may see."),
    (NOT_SERVED, StatusCode::NOT_FOUND, "The release or the architecture is not configured here."),
    (
        BAD,
        StatusCode::BAD_REQUEST,
        "A parameter, or the body, is not what it should be; the detail says which.",
    ),
    (WHO, StatusCode::UNAUTHORIZED, "A token is needed, and there is none, or none that is valid."),
    (FORBIDDEN, StatusCode::FORBIDDEN, "Whoever asks may not do that."),
    (METHOD, StatusCode::METHOD_NOT_ALLOWED, "The address answers other methods."),
    (DUPLICATE, StatusCode::CONFLICT, "The same test is queued or runs already; url leads to it."),
    (
        BODY,
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is too large, or of a type that is not read; the status says which.",
    ),
    (
        TOO_MANY,
        StatusCode::TOO_MANY_REQUESTS,
        "A person asked for too many tests; Retry-After says when more are taken.",
    ),
    (
        TOO_FAST,
        StatusCode::TOO_MANY_REQUESTS,
        "An address asked for too many pages; Retry-After says when to go on.",
    ),
    (
        BUSY,
        StatusCode::SERVICE_UNAVAILABLE,
        "More is asked for than the site can answer; Retry-After says when to try again.",
    ),
    (
        AWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        "The database or the store does not answer; Retry-After says when to try again.",
    ),
    (INTERNAL, StatusCode::INTERNAL_SERVER_ERROR, "The mistake is ours."),
];
const NOT_FOUND: &str = "Not found";
const NOT_SERVED: &str = "Not served here";
const BAD: &str = "This cannot be understood";
const WHO: &str = "Who is asking?";
const FORBIDDEN: &str = "Not allowed";
const METHOD: &str = "Method not allowed";
const DUPLICATE: &str = "Asked for already";
const BODY: &str = "This body cannot be taken";
const TOO_MANY: &str = "Too many requests";
const TOO_FAST: &str = "Too fast";
const BUSY: &str = "Too much at once";
const AWAY: &str = "Away for a moment";
const INTERNAL: &str = "Something went wrong";

/// The name of a problem's type: its title as a part of an address.
pub(crate) fn problem_name(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

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

    /// The problem's details (RFC 9457).
    pub(crate) fn problem(&self, settings: &Settings) -> Value {
        let mut problem = json!({
            "type": settings.link(&format!("/api#{}", problem_name(self.title))),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.text,
            "advice": self.advice,
            // As the old system calls the detail.
            "error": self.text,
        });
        if let Some(path) = &self.run {
            problem["url"] = path.clone().into();
        }
        problem
    }

    /// 404.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        let advice = "Search for a package by its name, or look at what ran lately.";
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND, text, advice)
    }

    /// 404: a release or arch that is not configured.
    pub(crate) fn not_served(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_SERVED, text, advice)
    }

    /// 400.
    pub(crate) fn bad(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD, text, advice)
    }

    /// 401.
    pub(crate) fn who(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, WHO, text, advice)
    }

    /// 403.
    pub(crate) fn forbidden(text: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, FORBIDDEN, text, advice)
    }

    /// 405.
    pub(crate) fn method(allowed: &str) -> Self {
        let text = format!("This address answers {allowed} only.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, METHOD, text, "")
    }

    /// 409: what was asked for is queued or runs.
    pub(crate) fn duplicate(state: &str, run: Option<String>) -> Self {
        let text = format!("The same request is {state} already.");
        let advice = if run.is_some() {
            "Look at that run; ask again once it is done."
        } else {
            "Ask again once it is done."
        };
        Self { run, ..Self::new(StatusCode::CONFLICT, DUPLICATE, text, advice) }
    }

    /// 413 and 415, as the server says them.
    pub(crate) fn body(status: StatusCode, text: &str) -> Self {
        Self::new(status, BODY, text, "")
    }

    /// 429.
    pub(crate) fn too_many(per_hour: i64, seconds: i64) -> Self {
        let text = format!("Everyone may ask for {per_hour} tests in an hour, and these were asked for.");
        let advice = format!("Try again in {seconds} seconds.");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY, text, &advice)
        }
    }

    /// 429: an address asks for more pages than it may.
    pub(crate) fn too_fast(seconds: i64) -> Self {
        let text = "So much was asked for from this address that others would have to wait.";
        let advice = format!("Try again in {seconds} seconds. Scripts find lists of thousands at /api.");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, TOO_FAST, text, &advice)
        }
    }

    /// 503: more is asked for than anybody could answer.
    pub(crate) fn busy() -> Self {
        let text = "More is asked for just now than this site can answer.";
        Self {
            retry_after: Some(AWAY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, text, "Try again in a few seconds.")
        }
    }

    /// 503.
    pub(crate) fn away(what: &str) -> Self {
        let text = format!("The {what} does not answer just now. Nothing is lost; tests go on.");
        Self {
            retry_after: Some(AWAY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, AWAY, text, "Try again in a few seconds.")
        }
    }

    /// 500.
    pub(crate) fn internal() -> Self {
        let text = "This is our mistake. It is in the log of this site.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, text, "")
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
pub(crate) async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let format = match Format::of(request.uri(), request.headers()) {
        Format::Html if wants_json(request.headers()) => Format::Json,
        format => format,
    };
    let mut response = next.run(request).await;
    let Some(failure) = response.extensions_mut().remove::<Failure>() else { return response };
    let mut dressed = (failure.status, body(&failure, format, app.settings())).into_response();
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

fn body(failure: &Failure, format: Format, settings: &Settings) -> Response {
    match format {
        Format::Html => match (Page { failure, crumbs: vec![] }).render() {
            Ok(page) => Html(page).into_response(),
            Err(_) => format!("{}\n", failure.text).into_response(),
        },
        Format::Json => {
            ([(header::CONTENT_TYPE, PROBLEM)], failure.problem(settings).to_string()).into_response()
        }
        Format::Text => format!("{}\n", failure.text).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_described() {
        let all = [
            Failure::not_found(""),
            Failure::not_served("", ""),
            Failure::bad("", ""),
            Failure::who("", ""),
            Failure::forbidden("", ""),
            Failure::method(""),
            Failure::duplicate("", None),
            Failure::body(StatusCode::PAYLOAD_TOO_LARGE, ""),
            Failure::too_many(1, 1),
            Failure::too_fast(1),
            Failure::busy(),
            Failure::away(""),
            Failure::internal(),
        ];
        let said: Vec<_> = all.iter().map(|failure| (failure.title, failure.status)).collect();
        assert_eq!(said, PROBLEMS.map(|(title, status, _)| (title, status)));
        let names: std::collections::BTreeSet<_> =
            said.iter().map(|(title, _)| problem_name(title)).collect();
        assert!(names.len() == all.len() && names.contains("who-is-asking"), "{names:?}");
    }
}
