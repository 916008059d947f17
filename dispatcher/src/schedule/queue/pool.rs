//! One pool's choice between lanes: by level, then people, then contexts by their shares, then each lane in its turn.

use std::{cmp::Reverse, collections::BTreeMap};

use proofhouse_core::{
    names::Context,
    queue::{Class, EMERGENCY, slots_of_people},
};

use super::{LaneId, Rank, line::Line, usage::PoolUse};

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) lane: LaneId,
    rank: Rank,
}

impl Turn {
    pub(super) const fn is_emergency(&self) -> bool {
        self.rank.level >= EMERGENCY
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct PoolQueue {
    levels: BTreeMap<Reverse<i32>, Level>,
    /// The last turn was a person's.
    person_went: bool,
}

#[derive(Debug, Clone, Default)]
struct Level {
    people: Line,
    contexts: BTreeMap<Context, Account>,
    /// What the context whose turn it last was had paid: one that comes anew does not catch up on the past.
    paid: u64,
}

#[derive(Debug, Clone, Default)]
struct Account {
    line: Line,
    paid: u64,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.people.is_empty() && self.contexts.values().all(|account| account.line.is_empty())
    }

    /// The context that has paid least for its share.
    fn others(&self) -> Option<(Context, LaneId)> {
        let waiting = self
            .contexts
            .iter()
            .filter_map(|(context, account)| account.line.first().map(|lane| (account.paid, *context, lane)));
        waiting.min().map(|(_, context, lane)| (context, lane))
    }
}

impl PoolQueue {
    pub(super) fn line_up(&mut self, lane: LaneId, rank: Rank) {
        let level = self.levels.entry(Reverse(rank.level)).or_default();
        if rank.class == Class::People {
            return level.people.join(lane);
        }
        let paid = level.paid;
        let account = level.contexts.entry(rank.context).or_default();
        if account.line.is_empty() {
            account.paid = account.paid.max(paid);
        }
        account.line.join(lane);
    }

    pub(super) fn step_out(&mut self, lane: LaneId, rank: Rank) {
        let Some(level) = self.levels.get_mut(&Reverse(rank.level)) else { return };
        if rank.class == Class::People {
            level.people.leave(lane);
        } else if let Some(account) = level.contexts.get_mut(&rank.context) {
            account.line.leave(lane);
        }
        // Level 0 remembers what each context paid; the others come and go.
        if rank.level != 0 && level.is_empty() {
            self.levels.remove(&Reverse(rank.level));
        }
    }

    /// True where an emergency may go on.
    pub(super) fn has_emergency(&self) -> bool {
        self.levels.range(..=Reverse(EMERGENCY)).any(|(_, level)| !level.is_empty())
    }

    /// Whose turn it is, of `slots` slots of which so many are in use; beside an emergency that of another one, or nobody's.
    pub(super) fn turn(&self, slots: usize, used: PoolUse, is_emergency: bool) -> Option<Turn> {
        let (Reverse(number), level) = self.levels.iter().find(|(_, level)| !level.is_empty())?;
        if *number < EMERGENCY && is_emergency {
            return None;
        }
        let (person, other) = (level.people.first(), level.others());
        let people_first = if slots < 2 { !self.person_went } else { used.people < slots_of_people(slots) };
        let rank = |class, context| Rank { level: *number, class, context };
        match (person, other) {
            (Some(lane), other) if people_first || other.is_none() => {
                Some(Turn { lane, rank: rank(Class::People, Context::Ubuntu) })
            }
            (_, Some((context, lane))) => Some(Turn { lane, rank: rank(Class::Gates, context) }),
            _ => None,
        }
    }

    /// The turn was taken.
    pub(super) fn took(&mut self, turn: &Turn) {
        let person = turn.rank.class == Class::People;
        self.person_went = person;
        let Some(level) = self.levels.get_mut(&Reverse(turn.rank.level)) else { return };
        if person {
            return level.people.move_to_end(turn.lane);
        }
        if let Some(account) = level.contexts.get_mut(&turn.rank.context) {
            level.paid = account.paid;
            account.paid += u64::from(turn.rank.context.price());
            account.line.move_to_end(turn.lane);
        }
    }

    /// Lanes whose turns come soon, about `n` of them.
    pub(super) fn soon(&self, n: usize) -> Vec<LaneId> {
        let levels = self.levels.values().filter(|level| !level.is_empty()).take(1);
        levels
            .flat_map(|level| {
                let contexts = level.contexts.values().flat_map(|account| account.line.soon(n / 2));
                level.people.soon(n / 2).chain(contexts).collect::<Vec<_>>()
            })
            .collect()
    }
}
