//! `/running`: how long the queues are, and what runs.

mod triggers;
mod wanted;

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proofhouse_core::{
    names::{Context, Pair, Release},
    request::Request,
};

pub(crate) use self::{
    triggers::{TriggerSum, Triggers},
    wanted::{Part, Wanted},
};
use super::{page, recent::choices};
use crate::{
    app::App,
    failure::Failure,
    live::{Live, Now},
    log::plain,
    progress::words,
    view::{Crumb, Outcome, duration, package_path, path, python_str, shown_params},
};

/// How many runs a page has.
const PAGE: usize = 100;
/// With more, the ends of logs are folded.
const MOST_OPEN: usize = 10;
/// A run that takes so many times as long as usual takes long.
const LONG: i64 = 2;

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
    /// All that run, private ones too.
    all: usize,
    /// Only the first [`live::MOST`] of them were read.
    is_cut: bool,
    wanted: Wanted,
    filter_releases: Vec<String>,
    filter_arches: Vec<String>,
    triggers: Triggers,
    packages: Vec<(String, Vec<Run>)>,
    /// How many of them this page has.
    shown: usize,
    fitting: usize,
    /// The ends of logs are shown.
    open: bool,
    /// Release, arch, and how many private runs there are.
    private: Vec<(String, String, usize)>,
    /// Packages that later parts have, and how many runs of each.
    rest: Vec<Rest>,
    first: Option<String>,
    next: Option<String>,
}

/// An architecture of a release.
struct Queue {
    arch: String,
    /// What waits, by context.
    waiting: [i64; 4],
    running: i64,
    disabled: bool,
}

/// A package that a later part has.
struct Rest {
    package: String,
    path: String,
    runs: usize,
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
    /// How long it usually takes.
    usual: Option<String>,
    /// It takes much longer.
    long: bool,
    /// What it does.
    phase: Option<String>,
    worker: Option<String>,
    attempt: i64,
    logtail: String,
}

impl Run {
    fn new(live: &Live, usual: Option<i64>) -> Self {
        let request =
            live.package.parse().ok().and_then(|p| Request::from_params(p, live.params.clone()).ok());
        let params = match &request {
            Some(request) => shown_params(request),
            // Another system's: shown as it came.
            None => live.params.iter().map(|(k, v)| (plain(k), plain(&python_str(v)))).collect(),
        };
        Self {
            package_path: package_path(&live.package),
            path: live.uuid.as_ref().map(|uuid| path(&["run", uuid])),
            params,
            duration: duration(live.duration),
            usual: usual.map(duration),
            long: usual.is_some_and(|usual| is_long(live.duration, usual)),
            outcome: live.outcome,
            release: live.release.clone(),
            arch: live.arch.clone(),
            phase: live.phase.as_deref().map(words),
            worker: live.worker.as_deref().map(words),
            attempt: live.attempt.unwrap_or(1),
            logtail: plain(&live.logtail),
        }
    }
}

/// Much longer than usual, in seconds. To set up a testbed takes a while, which short tests do not say.
const fn is_long(seconds: i64, usual: i64) -> bool {
    seconds > usual.saturating_mul(LONG).saturating_add(600)
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

/// How long each of these usually takes, in seconds.
pub(crate) async fn usual(app: &App, runs: &[&Live]) -> Result<Vec<Option<i64>>, Failure> {
    let tests: Vec<[&str; 3]> =
        runs.iter().map(|live| [live.package.as_str(), &live.release, &live.arch]).collect();
    Ok(app.db().usual_seconds(&tests).await?)
}

/// `/running`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let wanted = Wanted::parse(query.as_deref())?;
    let now = app.now().await?;
    let part = wanted.part(&now, PAGE)?;
    let usual = usual(&app, &part.runs).await?;
    let releases = queues(&app).await?;
    let settings = app.settings();
    page(&Running {
        held: app.situation().await?.held_back(),
        queued: releases.values().flatten().flat_map(|q| q.waiting).sum(),
        parked: app.db().public_parked_count().await?,
        all: now.runs.len() + now.private.values().sum::<usize>(),
        is_cut: now.is_cut,
        releases,
        filter_releases: choices(settings.releases().into_iter().map(ToString::to_string), &wanted.release),
        filter_arches: choices(settings.arches().into_iter().map(ToString::to_string), &wanted.arch),
        triggers: Triggers::of(&now, &app.gates().await?, &wanted),
        ..Running::of(&part, &usual, wanted)
    })
}

impl Running {
    /// What runs now, without any queue.
    fn of(part: &Part<'_>, usual: &[Option<i64>], wanted: Wanted) -> Self {
        let mut packages: Vec<(String, Vec<Run>)> = Vec::new();
        for (live, usual) in part.runs.iter().zip(usual) {
            let run = Run::new(live, *usual);
            match packages.last_mut() {
                Some((name, runs)) if *name == live.package => runs.push(run),
                _ => packages.push((live.package.clone(), vec![run])),
            }
        }
        let mut rest: Vec<Rest> = Vec::new();
        let last = packages.last().map(|(package, _)| package.clone());
        // Only a list by package has a place for each.
        let behind = part.rest.iter().filter(|_| !wanted.is_longest_first());
        for live in behind.filter(|live| Some(&live.package) != last.as_ref()) {
            match rest.last_mut() {
                Some(other) if other.package == live.package => other.runs += 1,
                _ => rest.push(Rest {
                    package: live.package.clone(),
                    path: super::filter::address("/running", &[("package", &live.package)]),
                    runs: 1,
                }),
            }
        }
        Self {
            crumbs: vec![],
            contexts: Context::ALL,
            releases: BTreeMap::new(),
            held: vec![],
            queued: 0,
            parked: 0,
            all: part.runs.len(),
            is_cut: false,
            filter_releases: vec![],
            filter_arches: vec![],
            triggers: Triggers::default(),
            packages,
            shown: part.runs.len(),
            fitting: part.fitting,
            open: part.runs.len() <= MOST_OPEN,
            private: part.private.clone(),
            first: wanted.after.is_some().then(|| wanted.at("/running", None)),
            next: part
                .runs
                .last()
                .filter(|_| !part.rest.is_empty())
                .map(|last| wanted.at("/running", Some(last))),
            rest,
            wanted,
        }
    }
}

/// The page, where nothing else is known.
pub(crate) fn alone(now: &Now) -> Result<String, Failure> {
    let wanted = Wanted::default();
    let part = wanted.part(now, PAGE)?;
    let usual = vec![None; part.runs.len()];
    Ok(Running::of(&part, &usual, wanted).render()?)
}
