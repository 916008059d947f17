//! `/`: search, what is queued and runs, the newest results.

use std::collections::HashMap;

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::Timestamp;
use proofhouse_core::{
    db::{QueueCount, RecentFilter},
    names::{Arch, Pair, Release},
};

use super::{filter::address, page};
use crate::{
    app::App,
    failure::Failure,
    private::PublicResult,
    settings::Settings,
    view::{Crumb, ResultItem, path},
};

/// How many of the newest results are shown.
const NEWEST: i64 = 25;

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    crumbs: Vec<Crumb>,
    releases: Vec<&'a Release>,
    rows: Vec<(&'a Arch, Vec<Option<Cell>>)>,
    held: Vec<String>,
    queued: i64,
    running: i64,
    parked: i64,
    results: Vec<ResultItem>,
}

/// What a pair has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    /// The page of its queue; where several have something, of all that waits and runs.
    page: String,
    waiting: i64,
    running: i64,
    disabled: bool,
}

fn rows<'a>(settings: &'a Settings, counts: &[QueueCount]) -> Vec<(&'a Arch, Vec<Option<Cell>>)> {
    let mut sums: HashMap<(&str, &str), (i64, i64)> = HashMap::new();
    let mut busy: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for count in counts {
        let key = (count.release.as_str(), count.arch.as_str());
        let sum = sums.entry(key).or_default();
        sum.0 += count.waiting;
        sum.1 += count.running;
        if count.waiting + count.running > 0 {
            busy.entry(key).or_default().push(&count.context);
        }
    }
    let cell = |release: &Release, arch: &Arch| {
        let pair = Pair { release: release.clone(), arch: arch.clone() };
        let key = (release.as_str(), arch.as_str());
        let (waiting, running) = sums.get(&key).copied().unwrap_or_default();
        let queue = |context| path(&["queue", context, release.as_str(), arch.as_str()]);
        settings.pairs.contains(&pair).then(|| Cell {
            page: match busy.get(&key).map_or(&[][..], Vec::as_slice) {
                [] => queue("ubuntu"),
                [context] => queue(context),
                _ => address("/running", &[("release", release.as_str()), ("arch", arch.as_str())]),
            },
            waiting,
            running,
            disabled: settings.disabled.contains(&pair),
        })
    };
    let releases = settings.releases();
    let row = |arch| (arch, releases.iter().map(|release| cell(release, arch)).collect());
    settings.arches().into_iter().map(row).collect()
}

/// `/`.
pub(crate) async fn get(State(app): State<App>) -> Result<Response, Failure> {
    let counts = app.queue_counts().await?;
    let filter = RecentFilter { limit: NEWEST, ..RecentFilter::default() };
    let results = PublicResult::all(app.db().recent(&filter).await?);
    page(&Home {
        crumbs: vec![],
        releases: app.settings().releases(),
        rows: rows(app.settings(), &counts),
        held: app.situation().await?.held_back(),
        queued: counts.iter().map(|c| c.waiting).sum(),
        running: counts.iter().map(|c| c.running).sum(),
        parked: app.db().public_parked_count().await?,
        results: ResultItem::list(&results, Timestamp::now()),
    })
}
