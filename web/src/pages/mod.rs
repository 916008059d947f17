//! The pages. A page's handler and its template have the same path.

pub(crate) mod attempt_log;
pub(crate) mod compare;
pub(crate) mod filter;
pub(crate) mod home;
pub(crate) mod infrastructure;
pub(crate) mod lists;
pub(crate) mod live_log;
pub(crate) mod open;
pub(crate) mod packages;
pub(crate) mod parked;
pub(crate) mod ppa;
pub(crate) mod queue;
pub(crate) mod recent;
pub(crate) mod release;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod search;
pub(crate) mod statistics;
pub(crate) mod trigger;
pub(crate) mod user;
pub(crate) mod waiting;

use askama::Template;
use axum::{
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use url::form_urlencoded;

use crate::{failure::Failure, log::LogView};

/// Lists of packages: address and name.
pub(crate) const LISTS: [(&str, &str); 6] = [
    ("/packages", "All"),
    ("/failing", "Failing"),
    ("/flaky", "Flaky"),
    ("/slow", "Slow"),
    ("/stale", "Not run for long"),
    ("/stuck", "Stuck"),
];

/// The first value that a query has under a name.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// A page as an answer.
pub(crate) fn page(template: &impl Template) -> Result<Response, Failure> {
    Ok(Html(template.render()?).into_response())
}

/// The page of a log. While that is still read, the page asks for itself again.
fn log_page<T: Template>(log: LogView, of: impl FnOnce(LogView) -> T) -> Result<Response, Failure> {
    let is_early = log.is_early();
    let mut response = page(&of(log))?;
    if is_early {
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("2"));
    }
    Ok(response)
}
