//! Hosts: those that only fail are set aside, and a job that failed on one goes to another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proofhouse_core::{
    host_health::{Health, tells_of_host},
    names::Pool,
    outcome::Fault,
    protocol::AttemptId,
};
use tokio::time::Instant;

use super::{HostView, OfferView, State, WorkerView};

/// How long a worker whose host is set aside takes no offer.
const ASIDE_SECONDS: u64 = 10;
/// How long a worker takes no offer after one that another host is to have.
const ELSEWHERE_SECONDS: u64 = 2;

/// An offer that is no older lies on the pool's queue still, and whoever asks on comes to it.
const ON_QUEUE: Duration = Duration::from_secs(5);

/// What a host may take in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It is sound; so many slots are free.
    Sound(usize),
    /// It is set aside; one job may show whether it has recovered.
    Probe,
    /// It is set aside.
    Aside,
}

impl Room {
    const fn slots(self) -> usize {
        match self {
            Self::Sound(free) => free,
            Self::Probe => 1,
            Self::Aside => 0,
        }
    }
}

impl State {
    pub(super) fn host_failed(&mut self, id: AttemptId, fault: Fault, now: Instant) {
        let Some(lease) = self.leases.get(&id).filter(|_| tells_of_host(fault)) else { return };
        let view = self.hosts.entry(lease.worker.host.clone());
        let view = view.or_insert(HostView { health: Health::default(), last_fault: now });
        view.health.ended(false);
        view.last_fault = now;
    }

    pub(super) fn host_did_well(&mut self, id: AttemptId) {
        let Some(lease) = self.leases.get(&id) else { return };
        if let Some(view) = self.hosts.get_mut(&lease.worker.host) {
            view.health.ended(true);
        }
    }

    /// The hosts that are set aside, for operators: in one of their pools at least another one takes the tests.
    pub fn hosts_aside(&self) -> BTreeSet<&str> {
        let aside = self.hosts.iter().filter(|(_, view)| view.health.is_aside());
        let elsewhere = |host: &str, score: f64| {
            let pools = self.workers.values().filter(|w| w.host == host).flat_map(|w| &w.pools);
            pools.into_iter().any(|pool| self.best_score(pool) > score)
        };
        aside
            .filter(|(host, view)| elsewhere(host, view.health.score()))
            .map(|(host, _)| host.as_str())
            .collect()
    }

    fn score(&self, host: &str) -> f64 {
        self.hosts.get(host).map_or(1.0, |view| view.health.score())
    }

    /// The health of a pool's soundest host.
    fn best_score(&self, pool: &Pool) -> f64 {
        let serving = self.workers.values().filter(|w| w.slots > 0 && w.pools.contains(pool));
        serving.map(|w| self.score(&w.host)).fold(0.0, f64::max)
    }

    /// The pool's hosts and what they may take. A pool's last host is never set aside: of several that only fail, the one
    /// that fared best stays.
    fn rooms(&self, pool: &Pool, now: Instant) -> BTreeMap<&str, Room> {
        let mut free: BTreeMap<&str, usize> = BTreeMap::new();
        let serving = self.workers.values().filter(|w| w.slots > 0 && w.pools.contains(pool));
        for worker in serving {
            let kept = self.is_kept_for_others(worker, pool);
            *free.entry(&worker.host).or_default() += if kept { 0 } else { worker.free() };
        }
        let best = self.best_score(pool);
        let room = |host: &str, free: usize| match self.hosts.get(host) {
            Some(view) if view.health.is_aside() && view.health.score() < best => {
                let rests = view.last_fault + view.health.probe_after() > now;
                let tries = self.leases.values().any(|lease| lease.worker.host == *host);
                if rests || tries || free == 0 { Room::Aside } else { Room::Probe }
            }
            _ => Room::Sound(free),
        };
        free.iter().map(|(host, free)| (*host, room(host, *free))).collect()
    }

    /// True where an emergency of another of its pools goes before.
    fn is_kept_for_others(&self, worker: &WorkerView, pool: &Pool) -> bool {
        let mut others = worker.pools.iter().filter(|other| *other != pool);
        others.any(|other| self.queue.has_emergency(other)) && !self.queue.has_emergency(pool)
    }

    /// How many offers a pool's workers can take.
    pub(super) fn free(&self, pool: &Pool, now: Instant) -> usize {
        self.rooms(pool, now).values().map(|room| room.slots()).sum()
    }

    /// True where a host that may take a job that failed on `failed_on` has room.
    pub(super) fn has_room_for(&self, pool: &Pool, failed_on: &BTreeSet<String>, now: Instant) -> bool {
        if failed_on.is_empty() {
            return true;
        }
        let rooms = self.rooms(pool, now);
        rooms.iter().any(|(host, room)| room.slots() > 0 && !must_go_elsewhere(&rooms, failed_on, host))
    }

    /// How long a worker of `host` is to leave offers to others, where this one is not for it.
    pub(super) fn must_pause(&self, offer: &OfferView, host: &str, now: Instant) -> Option<u64> {
        let rooms = self.rooms(&offer.used.pool, now);
        if rooms.get(host) == Some(&Room::Aside) {
            return Some(ASIDE_SECONDS);
        }
        if !must_go_elsewhere(&rooms, &offer.failed_on, host) {
            return None;
        }
        // Two hosts that pause can take the offers that are for the other one by turns, for ever.
        let is_for_it = |other: &OfferView| {
            other.used.pool == offer.used.pool
                && other.since + ON_QUEUE > now
                && !must_go_elsewhere(&rooms, &other.failed_on, host)
        };
        Some(if self.offers.values().any(is_for_it) { 0 } else { ELSEWHERE_SECONDS })
    }
}

/// True for a job that failed on this host, where there is a sound one on which it did not.
fn must_go_elsewhere(rooms: &BTreeMap<&str, Room>, failed_on: &BTreeSet<String>, host: &str) -> bool {
    let untried = |(host, room): (&&str, &Room)| matches!(room, Room::Sound(_)) && !failed_on.contains(*host);
    failed_on.contains(host) && rooms.iter().any(untried)
}
