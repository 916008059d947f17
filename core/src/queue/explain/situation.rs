//! What all waiting jobs share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::super::{CapKind, Class, Controls, EMERGENCY, Lane, PoolRules};
use crate::names::{Context, Pair, Pool};

/// How many times as much as all others one person counts for at most, where it is guessed what people will ask for.
const MOST_OF_ONE: i64 = 3;

/// What all waiting jobs share, as one look at the job table found it.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    /// Microseconds since 1970.
    pub now_us: i64,
    /// A dispatcher leads.
    pub leader: bool,
    /// Which pools may run what.
    pub rules: Arc<PoolRules>,
    /// What operators hold back.
    pub controls: Controls,
    /// The workers that are there.
    pub serving: Vec<Serving>,
    /// What runs.
    pub in_use: InUse,
    /// What is said is for everybody: no cap tells that a private run counts for it.
    pub for_everybody: bool,
    /// How long attempts took lately.
    pub durations: BTreeMap<Pool, Durations>,
    pub(super) lanes: Vec<Load>,
    pub(super) arrivals: Vec<Load>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The pools it serves.
    pub pools: BTreeSet<Pool>,
    /// Its machine.
    pub host: String,
    /// How many tests it runs at once.
    pub slots: usize,
    /// How many it runs.
    pub held: usize,
    /// It takes work.
    pub able: bool,
    /// Its host is set aside.
    pub aside: bool,
}

/// How long attempts took, from grant to end, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durations {
    /// On average.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// A job that runs.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Its package.
    pub package: &'a str,
    /// Its first trigger.
    pub trigger: &'a str,
    /// Who asked for it first.
    pub requester: &'a str,
    /// Not everybody may know of it.
    pub private: bool,
}

/// How much runs, by what limits it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    capped: HashMap<(CapKind, String), usize>,
    /// How many of those are private. Of a pool everybody may know how many run.
    private: HashMap<(CapKind, String), usize>,
    people: BTreeMap<Pool, usize>,
    emergencies: BTreeMap<Pool, usize>,
}

/// Jobs that have a lane's pools, rank and context in common.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) lane: Lane,
    pub(super) pools: Arc<[Pool]>,
    /// How many wait; of arrivals, how many a second come.
    pub(super) jobs: f64,
}

impl InUse {
    /// A job runs in a pool.
    pub fn add(&mut self, pool: &Pool, lane: Option<&Lane>, job: &Running<'_>) {
        let own = [
            (CapKind::Package, job.package),
            (CapKind::Trigger, job.trigger),
            (CapKind::Requester, job.requester),
        ];
        for (kind, name) in own.into_iter().chain([(CapKind::Pool, pool.as_str())]) {
            *self.capped.entry((kind, name.to_owned())).or_default() += 1;
        }
        for (kind, name) in own.into_iter().filter(|_| job.private) {
            *self.private.entry((kind, name.to_owned())).or_default() += 1;
        }
        if lane.is_some_and(|lane| lane.class == Class::People) {
            *self.people.entry(pool.clone()).or_default() += 1;
        }
        if lane.is_some_and(|lane| lane.level >= EMERGENCY) {
            *self.emergencies.entry(pool.clone()).or_default() += 1;
        }
    }

    pub(super) fn of(&self, kind: CapKind, name: &str) -> usize {
        self.capped.get(&(kind, name.to_owned())).copied().unwrap_or(0)
    }

    /// All that run, by a kind of name.
    pub(super) fn names(&self, kind: CapKind) -> impl Iterator<Item = &str> {
        self.capped.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }

    pub(super) fn people(&self, pool: &Pool) -> usize {
        self.people.get(pool).copied().unwrap_or(0)
    }
}

impl Situation {
    /// One in which nothing runs or waits.
    pub fn new(now_us: i64, rules: Arc<PoolRules>, controls: Controls) -> Self {
        Self { now_us, rules, controls, ..Self::default() }
    }

    /// The lanes in which jobs wait, and how many: those that nothing holds back.
    pub fn set_lanes(&mut self, lanes: impl IntoIterator<Item = (Lane, i64)>) {
        let mut route = self.router();
        let free = |lane: &Lane| {
            let full = |kind| self.reached(kind, &lane.key).is_some();
            self.controls.pause_of(lane).is_none() && !full(key_kind(lane))
        };
        let loads = lanes.into_iter().filter(|(lane, jobs)| *jobs > 0 && free(lane));
        let loads = loads.map(|(lane, jobs)| Load { pools: route(&lane), lane, jobs: number(jobs) });
        self.lanes = loads.collect();
    }

    /// What people asked for within the last so many seconds. What goes on like this comes meanwhile; but one
    /// person counts only for some times as much as all others: a list of hundreds waits already, and says nothing of how
    /// often such lists come.
    pub fn set_arrivals(&mut self, lanes: impl IntoIterator<Item = (Lane, i64)>, seconds: f64) {
        let lanes: Vec<(Lane, i64)> = lanes.into_iter().collect();
        let mut people: BTreeMap<&str, i64> = BTreeMap::new();
        for (lane, jobs) in &lanes {
            *people.entry(&lane.key).or_default() += jobs;
        }
        let all: i64 = people.values().sum();
        let part = |jobs: i64| number((MOST_OF_ONE * (all - jobs)).min(jobs)) / number(jobs).max(1.0);
        let mut route = self.router();
        let load = |(lane, jobs): &(Lane, i64)| Load {
            pools: route(lane),
            lane: lane.clone(),
            jobs: number(*jobs) * part(people[lane.key.as_str()]) / seconds.max(1.0),
        };
        self.arrivals = lanes.iter().map(load).collect();
    }

    fn router(&self) -> impl FnMut(&Lane) -> Arc<[Pool]> + use<> {
        let rules = self.rules.clone();
        let mut known: HashMap<(Context, Pair, String), Arc<[Pool]>> = HashMap::new();
        move |lane| {
            let key = (lane.context, lane.pair.clone(), lane.labels.clone());
            known.entry(key).or_insert_with(|| rules.pools_of(lane).into()).clone()
        }
    }

    /// How many run and may run, where a cap is reached.
    pub(super) fn reached(&self, kind: CapKind, name: &str) -> Option<(usize, usize)> {
        let most = self.controls.most(kind, name)?;
        let running = self.in_use.of(kind, name);
        (running >= most).then_some((running, most))
    }

    /// The same, as far as whoever is told may know it.
    pub(super) fn told(&self, kind: CapKind, name: &str) -> Option<(usize, usize)> {
        let (running, most) = self.reached(kind, name)?;
        let private = self.in_use.private.get(&(kind, name.to_owned())).copied().unwrap_or(0);
        let told = if self.for_everybody { running - private } else { running };
        (told >= most).then_some((told, most))
    }

    /// True where an emergency waits or runs in a pool.
    pub(super) fn has_emergency(&self, pool: &Pool) -> bool {
        self.in_use.emergencies.get(pool).is_some_and(|n| *n > 0)
            || self.lanes.iter().any(|load| load.lane.level >= EMERGENCY && load.pools.contains(pool))
    }
}

/// What a lane's key is the name of.
pub(super) fn key_kind(lane: &Lane) -> CapKind {
    if lane.class == Class::People { CapKind::Requester } else { CapKind::Trigger }
}

/// A count, for arithmetic.
pub(super) fn number(jobs: i64) -> f64 {
    f64::from(u32::try_from(jobs.max(0)).unwrap_or(u32::MAX))
}
