//! Turns: who has had one goes to the end.

use std::collections::{BTreeMap, HashMap};

use super::LaneId;

/// Lanes that take turns. One that comes goes to the end, so that those that stand there are never overtaken for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    order: BTreeMap<u64, LaneId>,
    places: HashMap<LaneId, u64>,
    last: u64,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn first(&self) -> Option<LaneId> {
        self.order.values().next().copied()
    }

    pub(super) fn soon(&self, n: usize) -> impl Iterator<Item = LaneId> {
        self.order.values().take(n).copied()
    }

    /// To the end, from wherever it stood.
    pub(super) fn move_to_end(&mut self, lane: LaneId) {
        self.leave(lane);
        self.last += 1;
        self.order.insert(self.last, lane);
        self.places.insert(lane, self.last);
    }

    /// To the end, unless it stands in line.
    pub(super) fn join(&mut self, lane: LaneId) {
        if !self.places.contains_key(&lane) {
            self.move_to_end(lane);
        }
    }

    pub(super) fn leave(&mut self, lane: LaneId) {
        if let Some(place) = self.places.remove(&lane) {
            self.order.remove(&place);
        }
    }
}
