//! `/waiting`: what gates still wait for, oldest first.

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use proofhouse_core::{db::GateFilter, names::Context};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{page, parameter, recent::choices};
use crate::{
    app::App,
    failure::Failure,
    private::PublicJob,
    view::{Crumb, JobItem},
    wanted::wants_json,
};

/// How many one page lists.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "waiting.html")]
struct Waiting {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    releases: Vec<String>,
    arches: Vec<String>,
    contexts: [Context; 4],
    jobs: Vec<Item>,
    /// How many of this page are private.
    private: usize,
    older: Option<String>,
    newer: Option<String>,
}

struct Item {
    job: JobItem,
    trigger: String,
}

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    release: String,
    arch: String,
    context: String,
    after: i64,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let text = |name: &str| {
            let text = parameter(query, name).unwrap_or_default().trim().to_owned();
            // PostgreSQL has no NUL in texts.
            if text.contains('\0') { Err(Failure::bad("A filter holds a NUL.", "")) } else { Ok(text) }
        };
        let after = text("after")?;
        let after = if after.is_empty() { Some(0) } else { after.parse().ok().filter(|n| *n >= 0) };
        Ok(Self {
            release: text("release")?,
            arch: text("arch")?,
            context: text("context")?,
            after: after.ok_or_else(|| Failure::bad("after must be a number.", ""))?,
        })
    }

    fn filter(&self) -> GateFilter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        GateFilter {
            release: some(&self.release),
            arch: some(&self.arch),
            context: some(&self.context),
            before_us: 0,
            after: self.after,
            limit: i64::try_from(PAGE).unwrap_or(i64::MAX) + 1,
        }
    }

    /// The address of the same list from another job on.
    fn at(&self, after: i64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("release", &self.release), ("arch", &self.arch), ("context", &self.context)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if after > 0 {
            query.append_pair("after", &after.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/waiting".to_owned() } else { format!("/waiting?{query}") }
    }
}

fn to_json(job: &PublicJob) -> Value {
    json!({
        "uuid": job.uuid, "state": job.state(), "package": job.package, "release": job.release, "arch": job.arch,
        "context": job.context, "trigger": job.trigger, "attempts": job.attempts,
        "received": Timestamp::from_microsecond(job.received_us).unwrap_or_default(),
    })
}

/// `/waiting`.
pub(crate) async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let mut rows = app.db().gates_wait_for(&wanted.filter()).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().map_or(0, |row| row.id);
    let (jobs, private) = PublicJob::split(rows);
    let next = more.then(|| wanted.at(last));
    if wants_json(&headers) {
        let jobs: Vec<Value> = jobs.iter().map(to_json).collect();
        return Ok(Json(json!({ "jobs": jobs, "private": private, "next": next })).into_response());
    }
    let now = Timestamp::now();
    let settings = app.settings();
    let item = |job: &PublicJob| Item { job: JobItem::new(job, now), trigger: job.trigger.clone() };
    page(&Waiting {
        crumbs: vec![],
        releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        contexts: Context::ALL,
        jobs: jobs.iter().map(item).collect(),
        private,
        older: (wanted.after > 0).then(|| wanted.at(0)),
        newer: next,
        wanted,
    })
}
