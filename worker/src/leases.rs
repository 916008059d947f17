//! The leases that this worker holds: renewed together, every third of their length.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proofhouse_core::{
    faults::{self, Step},
    protocol::{Ask, AttemptId},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::leader::Leader;

/// The leases that this worker holds.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<Held>,
    /// Something was granted, or the length changed.
    changed: Notify,
}

#[derive(Default)]
struct Held {
    leases: BTreeMap<AttemptId, CancellationToken>,
    seconds: u64,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a lease from now on.
    pub(crate) fn hold(self: &Arc<Self>, id: AttemptId, seconds: u64) -> Lease {
        let lost = CancellationToken::new();
        let mut held = self.held();
        held.leases.insert(id, lost.clone());
        held.seconds = seconds;
        drop(held);
        self.changed.notify_one();
        Lease { leases: self.clone(), id, lost }
    }

    /// The attempts that this worker holds.
    pub(crate) fn ids(&self) -> Vec<AttemptId> {
        self.held().leases.keys().copied().collect()
    }

    /// What the leader says of them.
    pub(crate) fn renewed(&self, given_up: &[AttemptId], seconds: u64) {
        let mut held = self.held();
        held.seconds = seconds;
        given_up.iter().filter_map(|id| held.leases.get(id)).for_each(CancellationToken::cancel);
    }

    fn third(&self) -> Duration {
        Duration::from_secs(self.held().seconds.max(1)) / 3
    }

    /// Renews for as long as it is polled.
    pub(crate) async fn renew(&self, leader: &Leader) {
        let mut last = Instant::now();
        loop {
            if self.ids().is_empty() {
                self.changed.notified().await;
                last = Instant::now();
            }
            tokio::select! {
                () = self.changed.notified() => continue,
                () = tokio::time::sleep_until(last + self.third()) => {}
            }
            last = Instant::now();
            let ids = self.ids();
            if !ids.is_empty() {
                faults::reached(Step::Renewed);
                leader.send(Ask::Renew { ids }).await;
            }
        }
    }
}

/// A lease; dropping it lets it run out.
pub(crate) struct Lease {
    leases: Arc<Leases>,
    id: AttemptId,
    lost: CancellationToken,
}

impl Lease {
    /// Returns once the leader says that the attempt was given up. A lease of which nothing is heard is not lost.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.held().leases.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_held_until_it_is_dropped_and_lost_when_it_is_given_up() {
        let leases = Arc::new(Leases::default());
        let (one, two) = (AttemptId { job: 1, attempt: 1 }, AttemptId { job: 2, attempt: 1 });
        let first = leases.hold(one, 60);
        let second = leases.hold(two, 60);
        assert_eq!(leases.ids(), [one, two]);
        leases.renewed(&[two, AttemptId { job: 3, attempt: 1 }], 30);
        assert!(second.lost.is_cancelled() && !first.lost.is_cancelled());
        assert_eq!(leases.third(), Duration::from_secs(10));
        drop(second);
        assert_eq!(leases.ids(), [one]);
    }
}
