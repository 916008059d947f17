//! How many jobs start before one: the leader's rules (levels, people, shares, turns) as arithmetic on counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Situation,
    situation::{Load, number},
};
use crate::{
    names::{Context, Pool},
    queue::{CapKind, Class, EMERGENCY, Lane, slots_of_people},
};

/// What stands beside a lane in its pools.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) situation: &'a Situation,
    pub(super) lane: &'a Lane,
    pub(super) pools: Vec<Pool>,
    /// How many slots there are for it, and how many of them are free.
    pub(super) slots: f64,
    pub(super) free: f64,
    /// Of greater levels.
    urgent: f64,
    /// The lanes with which it takes turns.
    own: Vec<(&'a Lane, Group)>,
    /// What people have waiting, where it is not a person's.
    people: Group,
    /// The other contexts; for a person's job all contexts together.
    contexts: BTreeMap<Context, Group>,
    /// The part of the slots on which people go first, and how many of these are free now.
    people_share: f64,
    people_free: f64,
}

/// How many jobs wait, and how many a second come.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    jobs: f64,
    rate: f64,
}

impl Group {
    fn after(self, seconds: f64) -> f64 {
        self.jobs + self.rate * seconds
    }
}

/// Where another lane stands, seen from one.
enum Side {
    Urgent,
    Own,
    People,
    Context(Context),
    Behind,
}

fn side(lane: &Lane, other: &Lane) -> Side {
    match other.level.cmp(&lane.level) {
        std::cmp::Ordering::Greater => Side::Urgent,
        std::cmp::Ordering::Less => Side::Behind,
        std::cmp::Ordering::Equal => match (lane.class, other.class) {
            (Class::People, Class::People) => Side::Own,
            (_, Class::People) => Side::People,
            (Class::People, _) => Side::Context(other.context),
            _ if lane.context == other.context => Side::Own,
            _ => Side::Context(other.context),
        },
    }
}

impl Situation {
    /// How a lane stands.
    pub(super) fn view<'a>(&'a self, lane: &'a Lane) -> View<'a> {
        let pools = self.rules.pools_of(lane);
        let wanted = self.lanes.iter().flat_map(|load| load.pools.iter()).chain(&pools).collect();
        let (slots, free) = self.slots(&pools, &wanted, lane.level < EMERGENCY);
        let (first, people) = pools.iter().fold((0, 0), |(first, people), pool| {
            let slots =
                self.serving.iter().filter(|w| w.able && w.pools.contains(pool)).map(|w| w.slots).sum();
            (first + slots_of_people(slots), people + self.in_use.people(pool))
        });
        let all: usize = self.serving_any(&pools).map(|w| w.slots).sum();
        let mut view = View {
            situation: self,
            lane,
            slots,
            free,
            urgent: 0.0,
            own: Vec::new(),
            people: Group::default(),
            contexts: BTreeMap::new(),
            people_share: if first == 0 { 0.5 } else { (size(first) / size(all)).min(0.5) },
            people_free: size(first.saturating_sub(people)),
            pools,
        };
        for load in self.lanes.iter().filter(|load| load.lane != *lane) {
            view.add(load, load.jobs * self.overlap(load, &view.pools), false);
        }
        // What comes to its own lane stands behind it.
        for load in self.arrivals.iter().filter(|load| load.lane != *lane) {
            view.add(load, load.jobs * self.overlap(load, &view.pools), true);
        }
        view
    }

    fn serving_any<'a>(&'a self, pools: &'a [Pool]) -> impl Iterator<Item = &'a super::Serving> {
        self.serving.iter().filter(move |w| w.able && pools.iter().any(|pool| w.pools.contains(pool)))
    }

    /// Slots, and free slots, of some pools, as far as caps allow. A worker's slots are shared by those of its pools
    /// for which anything waits.
    fn slots(&self, pools: &[Pool], wanted: &BTreeSet<&Pool>, capped: bool) -> (f64, f64) {
        pools.iter().fold((0.0, 0.0), |(slots, free), pool| {
            let (mut all, mut unused) = (0.0, 0.0);
            for worker in self.serving_any(std::slice::from_ref(pool)) {
                let sharing = size(worker.pools.iter().filter(|pool| wanted.contains(pool)).count().max(1));
                all += size(worker.slots) / sharing;
                unused += size(worker.slots.saturating_sub(worker.held)) / sharing;
            }
            if let Some(most) = self.controls.most(CapKind::Pool, pool.as_str()).filter(|_| capped) {
                all = all.min(size(most));
                unused = unused.min(size(most.saturating_sub(self.in_use.of(CapKind::Pool, pool.as_str()))));
            }
            (slots + all, free + unused)
        })
    }

    /// Which part of another lane's jobs runs in these pools.
    fn overlap(&self, load: &Load, pools: &[Pool]) -> f64 {
        let common: Vec<Pool> = load.pools.iter().filter(|pool| pools.contains(pool)).cloned().collect();
        if common.len() == load.pools.len() || common.is_empty() {
            return if common.is_empty() { 0.0 } else { 1.0 };
        }
        let slots = |pools: &[Pool]| self.serving_any(pools).map(|w| w.slots).sum::<usize>();
        size(slots(&common)) / size(slots(&load.pools).max(1))
    }
}

impl<'a> View<'a> {
    fn add(&mut self, load: &'a Load, jobs: f64, comes: bool) {
        if jobs <= 0.0 {
            return;
        }
        let group = match side(self.lane, &load.lane) {
            Side::Behind => return,
            Side::Urgent if comes => return,
            Side::Urgent => return self.urgent += jobs,
            // Those to which more comes are people's, and few.
            Side::Own => {
                let known = self.own.iter().position(|(lane, _)| comes && **lane == load.lane);
                let place = known.unwrap_or(self.own.len());
                if known.is_none() {
                    self.own.push((&load.lane, Group::default()));
                }
                &mut self.own[place].1
            }
            Side::People => &mut self.people,
            Side::Context(context) => self.contexts.entry(context).or_default(),
        };
        if comes {
            group.rate += jobs;
        } else {
            group.jobs += jobs;
        }
    }

    /// How many start before a job that has `before` before it in its lane, of what waits and of what comes within so many
    /// seconds.
    pub(super) fn place(&self, before: f64, seconds: f64) -> f64 {
        // Each other lane has a turn before each of its own, whatever comes to it; whether one more goes first is not known:
        // half of them.
        let turns: f64 = self.own.iter().map(|(_, group)| group.after(seconds).min(before + 0.5)).sum();
        let own = before + turns;
        let to_people = self.people_share / (1.0 - self.people_share);
        let others = if self.lane.class == Class::People {
            let all: f64 = self.contexts.values().map(|group| group.after(seconds)).sum();
            all.min((own - self.people_free).max(0.0) / to_people)
        } else {
            let paid = own * f64::from(self.lane.context.price());
            let turns = |(context, group): (&Context, &Group)| {
                group.after(seconds).min(paid / f64::from(context.price()) + 0.5)
            };
            let contexts: f64 = self.contexts.iter().map(turns).sum();
            let people = self.people.after(seconds).min(self.people_free + (own + contexts) * to_people);
            contexts + people
        };
        self.urgent + own + others
    }
}

pub(super) fn size(n: usize) -> f64 {
    number(i64::try_from(n).unwrap_or(i64::MAX))
}
