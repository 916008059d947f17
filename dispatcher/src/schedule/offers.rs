//! Offers: a pool's queue gets about as many as it has free slots.

use std::time::Duration;

use proofhouse_core::{db::Candidate, names::Pool};
use tokio::time::Instant;

use super::{Action, OfferView, State};

/// A worker announces itself again and again; one that has not for so long is gone.
const SILENT: Duration = Duration::from_secs(120);

impl State {
    pub(super) fn stir_all(&mut self) -> Vec<Action> {
        let pools: Vec<Pool> = self.workers.values().flat_map(|w| w.pools.clone()).collect();
        self.stirred.extend(pools);
        vec![]
    }

    pub(super) fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.offers.retain(|_, offer| offer.since + self.rules.offer > now);
        self.workers.retain(|_, worker| !worker.holds.is_empty() || worker.seen + SILENT > now);
        self.stir_all();
        self.run_out(now)
    }

    pub(super) fn link_down(&mut self) -> Vec<Action> {
        self.link_up = false;
        vec![]
    }

    pub(super) fn link_new(&mut self, now: Instant) -> Vec<Action> {
        self.link_up = true;
        self.offers.clear();
        for lease in self.leases.values_mut() {
            lease.ends = now + self.rules.lease;
        }
        for worker in self.workers.values_mut() {
            worker.seen = now;
        }
        self.stir_all();
        vec![Action::Hail]
    }

    /// Offers of a pool that nobody has taken yet.
    fn outstanding(&self, pool: &Pool) -> usize {
        self.offers.values().filter(|offer| offer.pool == *pool).count()
    }

    /// Asks for work where slots are free.
    pub(super) fn fill(&mut self, now: Instant) -> Vec<Action> {
        if !self.link_up {
            return vec![];
        }
        let mut actions = Vec::new();
        for pool in std::mem::take(&mut self.stirred) {
            let (free, outstanding) = (self.free(&pool, now), self.outstanding(&pool));
            if free > outstanding {
                // Those on offer come first in the job table too.
                actions.push(Action::FindWork(pool, free + outstanding));
            }
        }
        actions
    }

    pub(super) fn offer(&mut self, pool: &Pool, candidates: &[Candidate], now: Instant) -> Vec<Action> {
        let wanted = self.free(pool, now).saturating_sub(self.outstanding(pool));
        let fresh: Vec<_> = candidates
            .iter()
            .filter(|candidate| !self.offers.contains_key(&candidate.next()))
            .filter(|candidate| self.has_room_for(pool, &candidate.failed_on, now))
            .take(wanted)
            .collect();
        for candidate in &fresh {
            let failed_on = candidate.failed_on.clone();
            self.offers.insert(candidate.next(), OfferView { pool: pool.clone(), since: now, failed_on });
        }
        fresh.into_iter().map(|candidate| Action::Offer(pool.clone(), candidate.next())).collect()
    }
}
