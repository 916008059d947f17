//! Which waiting job goes next in a pool.
//!
//! The job table holds the jobs; here stand the lanes that have any, and of those whose turn is near the first few jobs
//! (their window). A choice costs the same however many wait.

mod line;
mod pool;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use proofhouse_core::{
    db::Candidate,
    names::{Context, Pair, Pool},
    protocol::AttemptId,
    queue::{CapKind, Class, Controls, EMERGENCY, Lane, PoolRules},
};

use self::pool::PoolQueue;
pub use self::usage::Use;
use self::usage::{Block, InUse};

/// How many of a lane's jobs are looked at at once.
const WINDOW: usize = 64;
/// About how many lanes are asked for together, and how many jobs of all of them.
const LANES_AT_ONCE: usize = 128;
const JOBS_AT_ONCE: usize = 128;

/// A lane for as long as jobs wait in it.
type LaneId = u64;

/// What comes of looking for the next job.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This one.
    Job(Candidate),
    /// The jobs of these lanes behind these numbers have to be read first; so many of each.
    Read(Vec<(String, i64)>, usize),
    /// Nothing may be offered.
    Nothing,
}

/// What is said of a lane where it takes its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rank {
    level: i32,
    class: Class,
    context: Context,
}

impl Rank {
    /// True where a cap of this kind that one of a lane's jobs has reached is that of all: it is what makes them a lane.
    const fn shares(self, kind: CapKind) -> bool {
        match self.class {
            Class::People => matches!(kind, CapKind::Requester),
            Class::Gates | Class::Bulk => matches!(kind, CapKind::Trigger),
        }
    }
}

#[derive(Debug, Clone)]
struct Waiting {
    text: Arc<str>,
    rank: Rank,
    pools: Arc<[Pool]>,
    /// Its next jobs, as far as they were read.
    window: VecDeque<Candidate>,
    /// Up to this number they were read.
    after: i64,
    /// Nothing stands behind the window.
    whole: bool,
    /// How many of its jobs are on offer: they stand in front of its window in the table.
    offered: usize,
    standing: Standing,
}

impl Waiting {
    /// It is read anew, from its first job.
    fn forget_window(&mut self) {
        self.window.clear();
        self.after = 0;
        self.whole = false;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It takes its turns in its pools.
    InLine,
    /// Until less of one of these runs.
    Blocked(BTreeSet<Block>),
    /// Until an operator resumes.
    Paused,
}

/// Of a lane, what later decisions depend on: its next jobs, how far and whether all of it was read, how many of it are on
/// offer.
#[cfg(test)]
pub(super) struct Essence {
    pub(super) window: Vec<AttemptId>,
    pub(super) after: i64,
    pub(super) whole: bool,
    pub(super) offered: usize,
    pub(super) in_line: bool,
}

/// All that waits, and what limits it.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    rules: Arc<PoolRules>,
    controls: Controls,
    names: HashMap<Arc<str>, LaneId>,
    lanes: BTreeMap<LaneId, Waiting>,
    last: LaneId,
    pools: BTreeMap<Pool, PoolQueue>,
    blocked: BTreeMap<Block, BTreeSet<LaneId>>,
    in_use: InUse,
    /// The pools of lanes that differ in their fairness alone.
    routes: HashMap<(Context, Pair, String), Arc<[Pool]>>,
    /// Pools of emergencies that wait, be it for their next attempt or for a host.
    emergencies: BTreeSet<Pool>,
}

impl Queue {
    /// An empty one.
    pub fn new(rules: Arc<PoolRules>, controls: Controls) -> Self {
        Self { rules, controls, ..Self::default() }
    }

    /// Jobs came to the end of this lane. Returns the pools that may take them; none where the lane's text is not one.
    pub fn arrived(&mut self, lane: &str) -> Option<Arc<[Pool]>> {
        match self.names.get(lane).copied() {
            Some(id) => {
                let waiting = self.lanes.get_mut(&id)?;
                waiting.whole = false;
                let pools = waiting.pools.clone();
                let is_paused = waiting.standing == Standing::Paused;
                // What holds the others back need not hold back these.
                if !is_paused && !self.is_held_as_a_whole(id) {
                    self.line_up(id);
                }
                Some(pools)
            }
            None => self.enter(lane),
        }
    }

    /// Jobs may wait anywhere in this lane: it is read anew.
    pub fn wake(&mut self, lane: &str) -> Option<Arc<[Pool]>> {
        let pools = self.arrived(lane);
        if let Some(waiting) = self.names.get(lane).and_then(|id| self.lanes.get_mut(id)) {
            waiting.forget_window();
        }
        pools
    }

    fn enter(&mut self, lane: &str) -> Option<Arc<[Pool]>> {
        let place: Lane = lane.parse().ok()?;
        let pools = self.route(&place);
        let text: Arc<str> = lane.into();
        self.last += 1;
        let id = self.last;
        let rank = Rank { level: place.level, class: place.class, context: place.context };
        let paused = self.controls.pause_of(&place).is_some();
        let waiting = Waiting {
            text: text.clone(),
            rank,
            pools: pools.clone(),
            window: VecDeque::new(),
            after: 0,
            whole: false,
            offered: 0,
            standing: if paused { Standing::Paused } else { Standing::InLine },
        };
        self.names.insert(text, id);
        self.lanes.insert(id, waiting);
        if !paused {
            self.line_up(id);
        }
        Some(pools)
    }

    fn route(&mut self, lane: &Lane) -> Arc<[Pool]> {
        let rules = &self.rules;
        let key = (lane.context, lane.pair.clone(), lane.labels.clone());
        self.routes.entry(key).or_insert_with(|| rules.pools_of(lane).into()).clone()
    }

    fn line_up(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.standing = Standing::InLine;
        for pool in &*lane.pools {
            self.pools.entry(pool.clone()).or_default().line_up(id, lane.rank);
        }
    }

    fn step_out(&mut self, id: LaneId, standing: Standing) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for pool in &*lane.pools {
            if let Some(queue) = self.pools.get_mut(pool) {
                queue.step_out(id, lane.rank);
            }
        }
        lane.standing = standing;
    }

    /// None of its jobs may go on in this pool. One that waits for a host may do so in another.
    fn block(&mut self, id: LaneId, pool: &Pool, blocks: BTreeSet<Block>) {
        for block in &blocks {
            self.blocked.entry(block.clone()).or_default().insert(id);
        }
        if !blocks.contains(&Block::Host) {
            // It is read anew when it lines up again: of very many lanes nothing is kept meanwhile.
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.forget_window();
            }
            return self.step_out(id, Standing::Blocked(blocks));
        }
        if let (Some(lane), Some(queue)) = (self.lanes.get(&id), self.pools.get_mut(pool)) {
            queue.step_out(id, lane.rank);
        }
    }

    /// True where a cap that holds back one of its jobs holds back all.
    fn is_held_as_a_whole(&self, id: LaneId) -> bool {
        let Some(Waiting { rank, standing: Standing::Blocked(blocks), .. }) = self.lanes.get(&id) else {
            return false;
        };
        let still = |kind, name: &str| self.in_use.reached(&self.controls, kind, name).is_some();
        blocks
            .iter()
            .any(|block| matches!(block, Block::Cap(kind, name) if rank.shares(*kind) && still(*kind, name)))
    }

    /// Nothing waits in it any more.
    fn drop_lane(&mut self, id: LaneId) {
        self.step_out(id, Standing::Paused);
        if let Some(lane) = self.lanes.remove(&id) {
            self.names.remove(&lane.text);
        }
    }

    /// The next job for a pool with so many slots. `has_room`: whether a host is free on which it did not fail. `taken`:
    /// whether it is on offer, or runs already.
    pub fn next(
        &mut self,
        pool: &Pool,
        slots: usize,
        has_room: impl Fn(&BTreeSet<String>) -> bool,
        taken: impl Fn(AttemptId) -> bool,
    ) -> Next {
        loop {
            let used = self.in_use.of_pool(pool);
            let is_emergency = self.has_emergency(pool);
            let Some(queue) = self.pools.get_mut(pool) else { return Next::Nothing };
            let Some(turn) = queue.turn(slots, used, is_emergency) else { return Next::Nothing };
            // An emergency is held back by nothing.
            let capped = !turn.is_emergency();
            if capped && self.in_use.full(&self.controls, pool).is_some() {
                return Next::Nothing;
            }
            let id = turn.lane;
            let Some(lane) = self.lanes.get_mut(&id) else {
                debug_assert!(false, "a lane in line is there");
                return Next::Nothing;
            };
            let mut blocks = BTreeSet::new();
            let mut whole = false;
            let place = lane.window.iter().position(|candidate| {
                let hindered = self.in_use.hinders(&self.controls, candidate).filter(|_| capped);
                let hindered = hindered.or_else(|| (!has_room(&candidate.failed_on)).then_some(Block::Host));
                let free = hindered.is_none();
                whole |= matches!(&hindered, Some(Block::Cap(kind, _)) if lane.rank.shares(*kind));
                blocks.extend(hindered);
                free || whole
            });
            if let Some(candidate) = place.filter(|_| !whole).and_then(|place| lane.window.remove(place)) {
                // It went to another lane since this one was read, and was offered there.
                if taken(candidate.next()) {
                    continue;
                }
                lane.offered += 1;
                let over = lane.window.is_empty() && lane.whole;
                queue.took(&turn);
                self.in_use.add(&Use::of_candidate(&candidate, pool.clone()));
                if over {
                    self.drop_lane(id);
                }
                return Next::Job(candidate);
            }
            if !whole && !lane.whole && lane.window.len() < WINDOW {
                return self.to_read(pool, id);
            }
            if blocks.is_empty() {
                self.drop_lane(id);
            } else {
                self.block(id, pool, blocks);
            }
        }
    }

    /// The lane whose turn it is and those that come soon, as far as nothing is known of them.
    fn to_read(&self, pool: &Pool, first: LaneId) -> Next {
        let soon = self.pools.get(pool).map(|queue| queue.soon(LANES_AT_ONCE)).unwrap_or_default();
        let unread = |id: &LaneId| self.lanes.get(id).filter(|lane| lane.window.is_empty() && !lane.whole);
        let mut asked: BTreeSet<LaneId> = soon.into_iter().filter(|id| unread(id).is_some()).collect();
        asked.insert(first);
        let lanes: Vec<&Waiting> = asked.iter().filter_map(|id| self.lanes.get(id)).collect();
        let each = (JOBS_AT_ONCE / lanes.len().max(1)).clamp(1, WINDOW);
        // What is on offer stands in front of those that are read from the first.
        let most = lanes.iter().filter(|lane| lane.after == 0).map(|lane| lane.offered).max().unwrap_or(0);
        Next::Read(lanes.iter().map(|lane| (lane.text.to_string(), lane.after)).collect(), each + most)
    }

    /// The job table answered [`Next::Read`]. `taken`: jobs that are on offer, or run already.
    pub fn read(
        &mut self,
        lanes: &[(String, i64)],
        limit: usize,
        mut found: BTreeMap<String, Vec<Candidate>>,
        taken: impl Fn(AttemptId) -> bool,
    ) {
        for (name, after) in lanes {
            let Some(id) = self.names.get(name.as_str()).copied() else { continue };
            // Woken meanwhile, it is read once more.
            let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.after == *after) else { continue };
            let found = found.remove(name).unwrap_or_default();
            lane.whole = found.len() < limit;
            lane.after = found.last().map_or(*after, |last| last.id);
            lane.window.extend(found.into_iter().filter(|c| !taken(c.next())));
            if lane.window.is_empty() && lane.whole {
                self.drop_lane(id);
            }
        }
    }

    /// A job that was offered is not any more: it was granted (`gone`), or is to be offered again.
    pub fn withdrawn(&mut self, used: &Use, gone: bool) {
        if let Some(lane) = self.names.get(&*used.lane).and_then(|id| self.lanes.get_mut(id)) {
            lane.offered = lane.offered.saturating_sub(1);
        }
        if !gone {
            self.freed(used);
            self.wake(&used.lane);
        }
    }

    /// It runs, granted by an earlier leader.
    pub fn inherited(&mut self, used: &Use) {
        self.in_use.add(used);
    }

    /// It neither runs nor is on offer any more. What waited for this takes its turns again.
    pub fn freed(&mut self, used: &Use) {
        for block in self.in_use.remove(used) {
            self.unblock(&block);
        }
        self.unblock(&Block::Host);
    }

    fn unblock(&mut self, block: &Block) {
        for id in self.blocked.remove(block).unwrap_or_default() {
            let waits = self.lanes.get(&id).is_some_and(|lane| match &lane.standing {
                Standing::InLine => true,
                Standing::Blocked(blocks) => blocks.contains(block),
                Standing::Paused => false,
            });
            if waits {
                self.line_up(id);
            }
        }
    }

    /// All lanes in which jobs wait, whenever they are due.
    pub fn surveyed(&mut self, lanes: &[String]) {
        self.emergencies.clear();
        for lane in lanes {
            self.note_emergency(lane);
        }
    }

    /// A job waits again in this lane, if only for later.
    pub fn note_emergency(&mut self, lane: &str) {
        let Some(lane) = lane.parse::<Lane>().ok().filter(|lane| lane.level >= EMERGENCY) else { return };
        let pools = self.route(&lane);
        self.emergencies.extend(pools.iter().cloned());
    }

    /// True where an emergency waits or runs in a pool: nothing else starts there.
    pub fn has_emergency(&self, pool: &Pool) -> bool {
        self.in_use.of_pool(pool).emergencies > 0
            || self.emergencies.contains(pool)
            || self.pools.get(pool).is_some_and(PoolQueue::has_emergency)
    }

    /// True where less use of one pool may let a job go on in another.
    pub fn is_limited(&self) -> bool {
        !self.controls.caps.is_empty()
    }

    /// Hosts may have become free, or sound.
    pub fn hosts_changed(&mut self) {
        self.unblock(&Block::Host);
    }

    /// What operators hold back has changed.
    pub fn set_controls(&mut self, controls: Controls) {
        if self.controls == controls {
            return;
        }
        self.controls = controls;
        self.blocked.clear();
        let lanes: Vec<(LaneId, Arc<str>)> =
            self.lanes.iter().map(|(id, lane)| (*id, lane.text.clone())).collect();
        for (id, text) in lanes {
            let paused = text.parse().is_ok_and(|lane: Lane| self.controls.pause_of(&lane).is_some());
            if paused {
                self.step_out(id, Standing::Paused);
            } else {
                self.line_up(id);
            }
        }
    }

    /// What later decisions depend on, but for whose turn it is and what holds a lane back.
    #[cfg(test)]
    pub(super) fn essence(&self) -> Vec<Essence> {
        let lanes = self.lanes.values().map(|lane| Essence {
            window: lane.window.iter().map(Candidate::next).collect(),
            after: lane.after,
            whole: lane.whole,
            offered: lane.offered,
            in_line: lane.standing == Standing::InLine,
        });
        lanes.collect()
    }

    /// How many lanes have something, or may have.
    #[cfg(test)]
    fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

#[cfg(test)]
mod tests;
