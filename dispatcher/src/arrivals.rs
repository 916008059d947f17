//! Where new jobs stand: intake tells the leader.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// Lanes into which jobs came since the leader last looked.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    lanes: Mutex<BTreeSet<String>>,
    some: Notify,
}

impl Arrivals {
    /// Jobs came into these lanes, and are committed.
    pub(crate) fn add<'a>(&self, lanes: impl Iterator<Item = &'a str>) {
        let mut known = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in lanes {
            if !known.contains(lane) {
                known.insert(lane.to_owned());
            }
        }
        drop(known);
        self.some.notify_one();
    }

    /// All that came since; waits until there are any. Nothing is lost where the wait is given up.
    pub(crate) async fn next(&self) -> Vec<String> {
        loop {
            self.some.notified().await;
            let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
            if !lanes.is_empty() {
                return lanes.into_iter().collect();
            }
        }
    }
}
