//! Offers: a pool's queue gets about as many as it has free slots.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proofhouse_core::{db::Candidate, names::Pool, protocol::AttemptId};
use tokio::time::Instant;

use super::{Action, Next, OfferView, State, Use};

/// A worker announces itself again and again; one that has not for so long is gone.
const SILENT: Duration = Duration::from_secs(120);

impl State {
    pub(super) fn stir_all(&mut self) {
        let pools: Vec<Pool> = self.workers.values().flat_map(|w| w.pools.clone()).collect();
        self.stirred.extend(pools);
    }

    pub(super) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let old = self.offers.iter().filter(|(_, offer)| offer.since + self.rules.offer <= now);
        for id in old.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.withdraw(id);
        }
        self.workers.retain(|_, worker| !worker.holds.is_empty() || worker.seen + SILENT > now);
        while let Some((at, lane)) = self.pausing.pop_first() {
            if at > now {
                self.pausing.insert((at, lane));
                break;
            }
            self.woken(&lane);
        }
        for lane in std::mem::take(&mut self.resting).into_values() {
            self.woken(&lane);
        }
        self.queue.hosts_changed();
        self.reading.clear();
        self.stir_all();
        self.ask_for_echo(now)
    }

    pub(super) fn link_down(&mut self) -> Vec<Action> {
        self.link_up = false;
        self.echo = None;
        vec![]
    }

    pub(super) fn link_new(&mut self, now: Instant) -> Vec<Action> {
        self.link_up = true;
        self.echo = None;
        for id in self.offers.keys().copied().collect::<Vec<_>>() {
            self.withdraw(id);
        }
        self.renew_all(now);
        for worker in self.workers.values_mut() {
            worker.seen = now;
        }
        self.stir_all();
        vec![Action::Hail]
    }

    /// Jobs may wait in a lane.
    pub(super) fn woken(&mut self, lane: &str) {
        if let Some(pools) = self.queue.wake(lane) {
            self.stirred.extend(pools.iter().cloned());
        }
    }

    /// Takes an offer back, or off the list.
    pub(super) fn remove_offer(&mut self, id: AttemptId) -> Option<OfferView> {
        let offer = self.offers.remove(&id)?;
        if let Some(count) = self.outstanding.get_mut(&offer.used.pool) {
            *count = count.saturating_sub(1);
        }
        Some(offer)
    }

    /// Offers as much as slots are free.
    pub(super) fn fill(&mut self, now: Instant) -> Vec<Action> {
        if !self.link_up {
            return vec![];
        }
        let mut actions = Vec::new();
        while let Some(pool) = self.stirred.pop_first() {
            if !self.reading.contains(&pool) {
                self.fill_pool(&pool, now, &mut actions);
            }
        }
        actions
    }

    fn fill_pool(&mut self, pool: &Pool, now: Instant, actions: &mut Vec<Action>) {
        let (free, slots) = (self.free(pool, now), self.slots(pool));
        let mut outstanding = self.outstanding.get(pool).copied().unwrap_or(0);
        while outstanding < free {
            let mut queue = std::mem::take(&mut self.queue);
            let has_room = |failed_on: &BTreeSet<String>| self.has_room_for(pool, failed_on, now);
            let next = queue.next(pool, slots, has_room, |id| self.is_taken(id));
            self.queue = queue;
            match next {
                Next::Job(candidate) => {
                    outstanding += 1;
                    actions.push(self.offer(pool, candidate, now));
                }
                Next::Read(lanes, limit) => {
                    self.reading.insert(pool.clone());
                    actions.push(Action::Read(pool.clone(), lanes, limit));
                    break;
                }
                Next::Nothing => break,
            }
        }
    }

    /// All slots of a pool's workers.
    fn slots(&self, pool: &Pool) -> usize {
        self.workers.values().filter(|w| w.pools.contains(pool)).map(|w| w.slots).sum()
    }

    fn offer(&mut self, pool: &Pool, candidate: Candidate, now: Instant) -> Action {
        let id = candidate.next();
        let used = Use::of_candidate(&candidate, pool.clone());
        *self.outstanding.entry(pool.clone()).or_default() += 1;
        self.offers.insert(id, OfferView { used, since: now, failed_on: candidate.failed_on });
        Action::Offer(pool.clone(), id)
    }

    /// On offer, put off, or running.
    fn is_taken(&self, id: AttemptId) -> bool {
        self.offers.contains_key(&id) || self.leases.contains_key(&id) || self.resting.contains_key(&id)
    }

    pub(super) fn read(
        &mut self,
        pool: Pool,
        lanes: &[(String, i64)],
        limit: usize,
        found: BTreeMap<String, Vec<Candidate>>,
    ) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.read(lanes, limit, found, |id| self.is_taken(id));
        self.queue = queue;
        self.reading.remove(&pool);
        self.stirred.insert(pool);
    }
}
