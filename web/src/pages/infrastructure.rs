//! `/infrastructure`: workers, their machines, what they run, and what infrastructure kept from running.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use askama::Template;
use axum::{
    Json,
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::{
    db::{HeldJob, HostRecord, ParkedRow, WorkerRow},
    protocol,
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::{packages::attempts::sentence, page, parameter};
use crate::{
    app::App,
    failure::Failure,
    private::PublicJob,
    view::{Crumb, When, package_path, path},
};

/// How many workers a page lists.
const PAGE: usize = 200;
/// More tests than any fleet runs are not read.
const MOST_TESTS: i64 = 20_000;

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only workers in this state: ready, unable, draining, retiring or away.
    #[param(required = false)]
    pub(crate) state: String,
    /// Only workers that serve this pool.
    #[param(required = false)]
    pub(crate) pool: String,
    /// Only workers on this host.
    #[param(required = false)]
    pub(crate) host: String,
    /// Only this worker.
    #[param(required = false)]
    pub(crate) worker: String,
    /// Only workers behind this name.
    #[param(required = false)]
    pub(crate) after: String,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Self {
        let text = |name: &str| parameter(query, name).unwrap_or_default().trim().to_owned();
        let (state, pool, host) = (text("state"), text("pool"), text("host"));
        Self { state, pool, host, worker: text("worker"), after: text("after") }
    }

    fn fits(&self, worker: &Worker) -> bool {
        (self.state.is_empty() || self.state == worker.state)
            && (self.pool.is_empty() || worker.pools.contains(&self.pool))
            && (self.host.is_empty() || self.host == worker.host)
            && (self.worker.is_empty() || self.worker == worker.name)
    }

    fn is_filter(&self) -> bool {
        [&self.state, &self.pool, &self.host, &self.worker].iter().any(|text| !text.is_empty())
    }

    /// The address of the part of the list behind a name.
    fn behind(&self, base: &str, after: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("state", self.state.as_str()),
            ("pool", &self.pool),
            ("host", &self.host),
            ("worker", &self.worker),
            ("after", after),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
    }
}

/// Who runs tests, and what does not run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Infrastructure {
    /// How many workers are in each state.
    pub(crate) states: BTreeMap<String, usize>,
    /// How many workers run each version.
    pub(crate) versions: BTreeMap<String, usize>,
    /// Slots of all workers that are there.
    pub(crate) slots: i64,
    /// Tests that run.
    pub(crate) running: usize,
    /// Those of them that not everybody may see.
    pub(crate) private: usize,
    /// Machines that are there, or on which an attempt failed within a day.
    pub(crate) hosts: Vec<Host>,
    /// Tests that infrastructure kept from running until their attempts were spent, by the last reason.
    pub(crate) parked: Vec<Reason>,
    /// Requests that could not be taken, by reason.
    pub(crate) rejected: Vec<Reason>,
    /// By name.
    pub(crate) workers: Vec<Worker>,
    /// The address of the next part of the list of workers.
    pub(crate) next: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Host {
    /// Its name.
    pub(crate) name: String,
    /// How many workers use it.
    pub(crate) workers: usize,
    /// From 0, where all attempts fail for reasons that are not the packages', to 1.
    pub(crate) health: f64,
    /// It gets no more than a probe now and then until it recovers.
    pub(crate) aside: bool,
    /// When an attempt last failed there for such a reason, within a day.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_fault: Option<Timestamp>,
}

/// How many there are of a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// Its name.
    pub(crate) name: String,
    /// The same for people.
    pub(crate) sentence: String,
    /// How many.
    pub(crate) count: i64,
}

/// A worker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Worker {
    /// Its name.
    pub(crate) name: String,
    /// Its machine.
    pub(crate) host: String,
    /// The pools that it serves.
    pub(crate) pools: Vec<String>,
    /// How many tests it runs at once.
    pub(crate) slots: i64,
    /// `ready`, `unable`, `draining`, `retiring` or `away`.
    pub(crate) state: &'static str,
    /// Why it takes no work.
    pub(crate) unable: Option<String>,
    /// The program's version.
    pub(crate) version: String,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) seen: Timestamp,
    /// The tests that it runs, as far as everybody may see them.
    pub(crate) tests: Vec<Test>,
}

/// A test that runs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Test {
    /// The run's name.
    pub(crate) uuid: String,
    /// The package.
    pub(crate) package: String,
    /// The release.
    pub(crate) release: String,
    /// The architecture.
    pub(crate) arch: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
}

impl Test {
    fn path(&self) -> String {
        path(&["run", &self.uuid])
    }

    fn package_path(&self) -> String {
        package_path(&self.package)
    }

    fn since(&self) -> When {
        When::new(self.since, Timestamp::now())
    }
}

fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or_default()
}

/// Idle and busy are not told apart: a worker that shows no test may run a private one.
fn state(worker: &WorkerRow, now_us: i64) -> &'static str {
    match protocol::Wanted::from_stored(&worker.wanted) {
        _ if worker.is_away(now_us) => "away",
        protocol::Wanted::Retire => "retiring",
        protocol::Wanted::Drain => "draining",
        protocol::Wanted::Work if worker.draining => "draining",
        protocol::Wanted::Work if worker.unable.is_some() => "unable",
        protocol::Wanted::Work => "ready",
    }
}

impl Worker {
    fn new(row: WorkerRow, now_us: i64, tests: Vec<Test>) -> Self {
        Self {
            state: state(&row, now_us),
            pools: row.pools.split_whitespace().map(str::to_owned).collect(),
            seen: time(row.seen_us),
            name: row.name,
            host: row.host,
            slots: row.slots,
            unable: row.unable,
            version: row.version,
            tests,
        }
    }

    fn symbol(&self) -> &'static str {
        match self.state {
            "ready" => "✔",
            "unable" => "⚠",
            "away" => "✘",
            _ => "⊘",
        }
    }

    fn seen(&self) -> When {
        When::new(self.seen, Timestamp::now())
    }
}

impl Host {
    fn percent(&self) -> String {
        format!("{:.0} %", self.health * 100.0)
    }

    fn last_fault(&self) -> Option<When> {
        self.last_fault.map(|at| When::new(at, Timestamp::now()))
    }
}

/// Of what fault or reason, in words.
pub(super) fn parked_sentence(name: &str) -> String {
    if name == ParkedRow::NOT_ANSWERED {
        return "it could not be answered without a run".to_owned();
    }
    sentence(name)
}

/// What workers hold, by their names; how many tests that are, and how many are private.
fn tests(held: Vec<HeldJob>) -> (HashMap<String, Vec<Test>>, usize, usize) {
    let (mut by_worker, running, mut private) = (HashMap::<String, Vec<Test>>::new(), held.len(), 0);
    for HeldJob { job, worker, granted_us } in held {
        let Some(job) = PublicJob::of(job) else {
            private += 1;
            continue;
        };
        by_worker.entry(worker).or_default().push(Test {
            uuid: job.uuid.clone(),
            package: job.package.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            since: time(granted_us),
        });
    }
    (by_worker, running, private)
}

fn hosts(workers: &[Worker], records: &BTreeMap<String, HostRecord>, now_us: i64) -> Vec<Host> {
    let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
    let there: Vec<&Worker> = workers.iter().filter(|worker| worker.state != "away").collect();
    let score = |host: &str| records.get(host).map_or(1.0, |record| record.health.score());
    let best = |pool: &String| {
        let serving = there.iter().filter(|worker| worker.slots > 0 && worker.pools.contains(pool));
        serving.map(|worker| score(&worker.host)).fold(0.0, f64::max)
    };
    // As dispatchers do it: a pool's last host is never set aside.
    let is_aside = |name: &str| {
        let pools = there.iter().filter(|worker| worker.host == name).flat_map(|worker| &worker.pools);
        records.get(name).is_some_and(|record| record.health.is_aside())
            && pools.into_iter().any(|pool| best(pool) > score(name))
    };
    let named = there.iter().map(|worker| worker.host.as_str());
    for name in named.chain(records.keys().map(String::as_str)) {
        hosts.entry(name).or_insert_with(|| {
            let record = records.get(name);
            Host {
                name: name.to_owned(),
                workers: 0,
                health: (score(name) * 100.0).round() / 100.0,
                aside: is_aside(name),
                last_fault: record.map(|record| time(now_us - record.last_fault_us)),
            }
        });
    }
    for worker in there {
        if let Some(host) = hosts.get_mut(worker.host.as_str()) {
            host.workers += 1;
        }
    }
    let mut hosts: Vec<Host> = hosts.into_values().collect();
    // What is ill first.
    hosts.sort_by(|one, other| one.health.total_cmp(&other.health).then_with(|| one.name.cmp(&other.name)));
    hosts
}

fn count(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// All of it.
pub(crate) async fn read(app: &App) -> Result<Infrastructure, Failure> {
    let db = app.db();
    let now_us = db.now_us().await?;
    let (mut tests, running, private) = tests(db.held_jobs(MOST_TESTS).await?);
    let worker = |row: WorkerRow| {
        let tests = tests.remove(&row.name).unwrap_or_default();
        Worker::new(row, now_us, tests)
    };
    let workers: Vec<Worker> = db.workers().await?.into_iter().map(worker).collect();
    let there = || workers.iter().filter(|worker| worker.state != "away");
    let parked = db.public_parked_faults().await?.into_iter();
    let rejected = db.rejected_kinds().await?.into_iter();
    Ok(Infrastructure {
        states: count(workers.iter().map(|worker| worker.state.to_owned())),
        versions: count(there().map(|worker| worker.version.clone())),
        slots: there().map(|worker| worker.slots).sum(),
        running,
        private,
        hosts: hosts(&workers, &db.public_host_records().await?, now_us),
        parked: parked
            .map(|(name, count)| Reason { sentence: parked_sentence(&name), name, count })
            .collect(),
        rejected: rejected
            .map(|(name, count)| Reason { sentence: name.replace('-', " "), name, count })
            .collect(),
        workers,
        next: None,
    })
}

/// The part that an address asks for; and how many workers fit.
async fn part(app: &App, wanted: &Wanted, base: &str) -> Result<(Infrastructure, usize), Failure> {
    let all: Arc<Infrastructure> = app.infrastructure().await?;
    let mut part = Infrastructure::clone(&all);
    part.workers.retain(|worker| wanted.fits(worker));
    let fitting = part.workers.len();
    part.workers.retain(|worker| worker.name > wanted.after);
    if part.workers.len() > PAGE {
        part.workers.truncate(PAGE);
        part.next = part.workers.last().map(|worker| wanted.behind(base, &worker.name));
    }
    Ok((part, fitting))
}

/// Workers and their machines
///
/// With what they run as far as everybody may see it, and how much infrastructure kept from running.
#[utoipa::path(get, path = "/api/v1/infrastructure", tag = "now", params(Wanted), responses((status = OK, body = Infrastructure)))]
pub(crate) async fn json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Infrastructure>, Failure> {
    let wanted = Wanted::parse(query.as_deref());
    Ok(Json(part(&app, &wanted, "/api/v1/infrastructure").await?.0))
}

#[derive(Template)]
#[template(path = "infrastructure.html")]
struct Page {
    crumbs: Vec<Crumb>,
    wanted: Wanted,
    all: Infrastructure,
    states: [&'static str; 5],
    /// How many workers fit the filters.
    fitting: usize,
    first: Option<String>,
}

/// `/infrastructure`.
pub(crate) async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    const BASE: &str = "/infrastructure";
    let wanted = Wanted::parse(query.as_deref());
    let (all, fitting) = part(&app, &wanted, BASE).await?;
    page(&Page {
        crumbs: vec![],
        all,
        states: ["ready", "unable", "draining", "retiring", "away"],
        fitting,
        first: (!wanted.after.is_empty()).then(|| wanted.behind(BASE, "")),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use proofhouse_core::host_health::Health;

    use super::*;

    #[test]
    fn a_pools_last_host_is_not_said_to_be_set_aside() {
        let worker = |host: &str, slots| Worker {
            name: format!("w-{host}"),
            host: host.to_owned(),
            pools: vec!["amd64".to_owned()],
            slots,
            state: "ready",
            unable: None,
            version: String::new(),
            seen: Timestamp::UNIX_EPOCH,
            tests: Vec::new(),
        };
        let mut health = Health::default();
        (0..9).for_each(|_| health.ended(false));
        let records = BTreeMap::from([("ill".to_owned(), HostRecord { health, last_fault_us: 0 })]);
        for (workers, is_aside) in [
            (vec![worker("ill", 4)], false),
            (vec![worker("ill", 4), worker("retires", 0)], false),
            (vec![worker("ill", 4), worker("sound", 4)], true),
            (vec![], false),
        ] {
            let all = hosts(&workers, &records, 0);
            let ill = all.iter().find(|host| host.name == "ill").unwrap();
            assert_eq!((ill.aside, ill.health < 0.4), (is_aside, true), "{workers:?}");
        }
    }
}
