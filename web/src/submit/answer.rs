//! What was taken, in the words that scripts match (contract "request.cgi").

use std::fmt::{self, Write};

use askama::{Template, filters::HtmlSafe};
use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use proofhouse_core::params::Ppa;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Kind, take::Accepted};
use crate::{
    failure::Failure,
    pages::page,
    settings::Settings,
    view::{Crumb, pair_path, path, python_list},
};

#[derive(Template)]
#[template(path = "submitted.html")]
struct Submitted {
    crumbs: Vec<Crumb>,
    /// One list of names and values for each architecture.
    requests: Vec<Vec<Fact>>,
}

/// Text in an element. Scripts match `['owner/name']`: apostrophes, which mean nothing there, stay as they are.
struct Text(String);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl HtmlSafe for Text {}

/// A line of the answer.
struct Fact {
    name: &'static str,
    value: Text,
    /// The value is an address of this site.
    link: bool,
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// The names of PPAs, without credentials.
fn ppas(accepted: &Accepted) -> Vec<String> {
    accepted.checked.request.ppas.iter().map(Ppa::public).collect()
}

fn result_url(settings: &Settings, accepted: &Accepted) -> String {
    settings.link(&path(&["run", &accepted.uuid.to_string()]))
}

fn history_url(settings: &Settings, accepted: &Accepted) -> String {
    let pair = &accepted.checked.queue.pair;
    let package = accepted.checked.request.package.as_str();
    settings.link(&pair_path(package, pair.release.as_str(), pair.arch.as_str()))
}

fn facts(settings: &Settings, accepted: &Accepted) -> Vec<Fact> {
    let (pair, request) = (&accepted.checked.queue.pair, &accepted.checked.request);
    let fact = |name, value: String| Fact { name, value: Text(value), link: false };
    let mut facts = vec![
        fact("UUID", accepted.uuid.to_string()),
        Fact { name: "Result url", value: Text(result_url(settings, accepted)), link: true },
        Fact { name: "Result history", value: Text(history_url(settings, accepted)), link: true },
        fact("package", request.package.to_string()),
        fact("release", pair.release.to_string()),
        fact("arch", pair.arch.to_string()),
        fact("requester", request.requester.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    let lists = [
        ("triggers", texts(&request.triggers)),
        ("ppas", ppas(accepted)),
        ("env", texts(&request.env)),
        ("readable-by", texts(&request.readable_by)),
    ];
    facts.extend(
        lists.into_iter().filter(|(_, l)| !l.is_empty()).map(|(name, l)| fact(name, python_list(&l))),
    );
    let single = [
        ("all-proposed", request.all_proposed.then(|| "1".to_owned())),
        ("testname", request.testname.as_ref().map(ToString::to_string)),
        ("build-git", request.build_git.as_ref().map(ToString::to_string)),
        ("test-git", request.test_git.as_ref().map(ToString::to_string)),
        ("test-bzr", request.test_bzr.as_ref().map(ToString::to_string)),
    ];
    facts.extend(single.into_iter().filter_map(|(name, value)| value.map(|v| fact(name, v))));
    facts
}

/// What was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// The name of the first run.
    uuid: Option<Uuid>,
    /// Its page.
    url: Option<String>,
    /// One for each architecture.
    requests: Vec<TakenRequest>,
}

/// A request that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TakenRequest {
    /// The run's name.
    uuid: Uuid,
    /// Its page.
    url: String,
    /// All runs of the package there.
    history_url: String,
    /// The source package.
    package: String,
    /// The release.
    release: String,
    /// The architecture.
    arch: String,
    /// In whose name it is asked for.
    requester: Option<String>,
    /// The uploads that it is for.
    triggers: Vec<String>,
    /// The PPAs, without credentials.
    ppas: Vec<String>,
}

impl TakenRequest {
    fn new(settings: &Settings, accepted: &Accepted) -> Self {
        let (pair, request) = (&accepted.checked.queue.pair, &accepted.checked.request);
        Self {
            uuid: accepted.uuid,
            url: result_url(settings, accepted),
            history_url: history_url(settings, accepted),
            package: request.package.to_string(),
            release: pair.release.to_string(),
            arch: pair.arch.to_string(),
            requester: request.requester.as_ref().map(ToString::to_string),
            triggers: texts(&request.triggers),
            ppas: ppas(accepted),
        }
    }
}

/// The answer. In JSON `uuid` and `url` are those of the first of `requests`.
pub(super) fn answer(settings: &Settings, all: &[Accepted], kind: Kind) -> Result<Response, Failure> {
    let mut response = match kind {
        Kind::Page => {
            let requests = all.iter().map(|accepted| facts(settings, accepted)).collect();
            page(&Submitted { crumbs: vec![], requests })?
        }
        Kind::Json => {
            let requests: Vec<_> = all.iter().map(|accepted| TakenRequest::new(settings, accepted)).collect();
            let (uuid, url) = requests.first().map(|first| (first.uuid, first.url.clone())).unzip();
            Json(Taken { uuid, url, requests }).into_response()
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
