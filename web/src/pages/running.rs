//! `/running`: how long the queues are, and what runs.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::Timestamp;
use proofhouse_core::{
    names::{Context, Pair, Release},
    request::Request,
};

use super::page;
use crate::{
    app::App,
    failure::Failure,
    live::{self, Live, Now},
    log::plain,
    view::{Crumb, Outcome, duration, package_path, path, python_str, shown_params},
};

#[derive(Template)]
#[template(path = "running.html")]
struct Running {
    crumbs: Vec<Crumb>,
    contexts: [Context; 4],
    /// The queues of each release.
    releases: BTreeMap<Release, Vec<Queue>>,
    held: Vec<String>,
    queued: i64,
    /// Without private runs: that they wait or run may be known, but not that they failed.
    parked: i64,
    packages: Vec<(String, Vec<Run>)>,
    runs: usize,
    /// Release, arch, and how many private runs there are.
    private: Vec<(String, String, usize)>,
}

/// An architecture of a release.
struct Queue {
    arch: String,
    /// What waits, by context.
    waiting: [i64; 4],
    running: i64,
    disabled: bool,
}

/// A run.
struct Run {
    release: String,
    arch: String,
    path: Option<String>,
    package_path: String,
    outcome: Outcome,
    params: Vec<(String, String)>,
    duration: String,
    worker: Option<String>,
    attempt: i64,
    logtail: String,
}

impl From<Live> for Run {
    fn from(live: Live) -> Self {
        let request =
            live.package.parse().ok().and_then(|p| Request::from_params(p, live.params.clone()).ok());
        let params = match &request {
            Some(request) => shown_params(request),
            // Another system's: shown as it came.
            None => live.params.iter().map(|(k, v)| (plain(k), plain(&python_str(v)))).collect(),
        };
        Self {
            package_path: package_path(&live.package),
            path: live.uuid.map(|uuid| path(&["run", &uuid])),
            params,
            duration: duration(live.duration),
            outcome: live.outcome,
            release: live.release,
            arch: live.arch,
            worker: live.worker.map(|worker| plain(&worker)),
            attempt: live.attempt.unwrap_or(1),
            logtail: plain(&live.logtail),
        }
    }
}

async fn queues(app: &App) -> Result<BTreeMap<Release, Vec<Queue>>, Failure> {
    let counts = app.queue_counts().await?;
    let mut by_key: HashMap<(&str, &str, &str), (i64, i64)> = HashMap::new();
    for c in counts.iter() {
        by_key.insert((&c.release, &c.arch, &c.context), (c.waiting, c.running));
    }
    let settings = app.settings();
    let queue = |pair: &Pair| {
        let of = |context: Context| {
            by_key
                .get(&(pair.release.as_str(), pair.arch.as_str(), context.as_str()))
                .copied()
                .unwrap_or_default()
        };
        Queue {
            arch: pair.arch.to_string(),
            waiting: Context::ALL.map(|c| of(c).0),
            running: Context::ALL.map(|c| of(c).1).into_iter().sum(),
            disabled: settings.disabled.contains(pair),
        }
    };
    let mut releases: BTreeMap<Release, Vec<Queue>> = BTreeMap::new();
    for pair in &settings.pairs {
        releases.entry(pair.release.clone()).or_default().push(queue(pair));
    }
    Ok(releases)
}

/// `/running`.
pub(crate) async fn get(State(app): State<App>) -> Result<Response, Failure> {
    let now = live::now(&app, Timestamp::now()).await?;
    let releases = queues(&app).await?;
    page(&Running {
        held: app.situation().await?.held_back(),
        queued: releases.values().flatten().flat_map(|q| q.waiting).sum(),
        parked: app.db().public_parked_count().await?,
        releases,
        ..Running::of(now)
    })
}

impl Running {
    /// What runs now, without any queue.
    fn of(now: Now) -> Self {
        let runs = now.runs.len() + now.private.values().sum::<usize>();
        let mut packages: Vec<(String, Vec<Run>)> = Vec::new();
        for live in now.runs {
            let package = live.package.clone();
            match packages.last_mut() {
                Some((name, runs)) if *name == package => runs.push(live.into()),
                _ => packages.push((package, vec![live.into()])),
            }
        }
        Self {
            crumbs: vec![],
            contexts: Context::ALL,
            releases: BTreeMap::new(),
            held: vec![],
            queued: 0,
            parked: 0,
            packages,
            runs,
            private: now.private.into_iter().map(|((release, arch), n)| (release, arch, n)).collect(),
        }
    }
}

/// The page, where nothing else is known.
pub(crate) fn alone(now: Now) -> Result<String, askama::Error> {
    Running::of(now).render()
}
