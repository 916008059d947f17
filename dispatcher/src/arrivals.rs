//! Where new jobs stand, and those that requests joined: intake tells the leader.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// Lanes in which something changed since the leader last looked.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    came: Mutex<Came>,
    some: Notify,
}

/// What intake did.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// Jobs came to the end of these lanes.
    pub(crate) lanes: BTreeSet<String>,
    /// Jobs that were there already stand in these lanes now, wherever.
    pub(crate) joined: BTreeSet<String>,
}

impl Arrivals {
    /// Jobs came into these lanes, and others joined those of these, and all is committed.
    pub(crate) fn add<'a>(
        &self,
        lanes: impl Iterator<Item = &'a str>,
        joined: impl Iterator<Item = &'a str>,
    ) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        insert_all(&mut came.lanes, lanes);
        insert_all(&mut came.joined, joined);
        drop(came);
        self.some.notify_one();
    }

    /// All that came since; waits until there is any. Nothing is lost where the wait is given up.
    pub(crate) async fn next(&self) -> Came {
        loop {
            self.some.notified().await;
            let came = std::mem::take(&mut *self.came.lock().unwrap_or_else(PoisonError::into_inner));
            if !came.lanes.is_empty() || !came.joined.is_empty() {
                return came;
            }
        }
    }
}

fn insert_all<'a>(known: &mut BTreeSet<String>, lanes: impl Iterator<Item = &'a str>) {
    for lane in lanes {
        if !known.contains(lane) {
            known.insert(lane.to_owned());
        }
    }
}
