//! What runs or is on offer, as far as it limits what may come next.

use std::collections::HashMap;

use proofhouse_core::{
    db::{Candidate, JobRow},
    names::{Context, Pool},
    queue::{CapKind, Class, Controls, EMERGENCY, Lane},
};

/// What a job uses up while it is on offer and while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The pool that it is offered in.
    pub pool: Pool,
    /// Where it stood.
    pub lane: String,
    /// The package.
    pub package: String,
    /// The first trigger.
    pub trigger: String,
    /// Who asked first.
    pub requester: String,
}

fn first_line(lines: &str) -> String {
    lines.lines().next().unwrap_or_default().to_owned()
}

impl Use {
    /// Of a job that is offered in a pool.
    pub fn of_candidate(candidate: &Candidate, pool: Pool) -> Self {
        Self {
            pool,
            lane: candidate.lane.clone(),
            package: candidate.package.clone(),
            trigger: candidate.trigger.clone(),
            requester: first_line(&candidate.requesters),
        }
    }

    /// Of a job that runs in a pool. One that no leader sorted stands where it would.
    pub fn of_job(job: &JobRow, pool: Pool) -> Self {
        let requester = first_line(&job.requesters);
        let class = match job.context.as_str() {
            huge if huge == Context::Huge.as_str() => Class::Bulk,
            _ if requester.is_empty() => Class::Gates,
            _ => Class::People,
        };
        let unsorted = || format!("0 {class} {} {}/{} - {}", job.context, job.release, job.arch, job.trigger);
        Self {
            pool,
            lane: job.lane.clone().filter(|lane| lane.parse::<Lane>().is_ok()).unwrap_or_else(unsorted),
            package: job.package.clone(),
            trigger: job.trigger.clone(),
            requester,
        }
    }

    fn blocks(&self) -> [Block; 4] {
        [
            Block::Cap(CapKind::Package, self.package.clone()),
            Block::Cap(CapKind::Trigger, self.trigger.clone()),
            Block::Cap(CapKind::Requester, self.requester.clone()),
            Block::Cap(CapKind::Pool, self.pool.to_string()),
        ]
    }
}

/// What holds a lane back until less of it runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Block {
    /// A cap is reached.
    Cap(CapKind, String),
    /// No host is free on which it did not fail.
    Host,
}

/// How much of a pool is in use, by what its next turn depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PoolUse {
    pub(super) people: usize,
    pub(super) emergencies: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct InUse {
    counts: HashMap<Block, usize>,
    pools: HashMap<Pool, PoolUse>,
}

impl InUse {
    pub(super) fn of_pool(&self, pool: &Pool) -> PoolUse {
        self.pools.get(pool).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, used: &Use) {
        for block in used.blocks() {
            *self.counts.entry(block).or_default() += 1;
        }
        self.change_pool(used, |n| *n += 1);
    }

    /// Returns what less of is in use now.
    pub(super) fn remove(&mut self, used: &Use) -> [Block; 4] {
        let blocks = used.blocks();
        for block in &blocks {
            if let Some(count) = self.counts.get_mut(block) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(block);
                }
            }
        }
        self.change_pool(used, |n| *n = n.saturating_sub(1));
        blocks
    }

    fn change_pool(&mut self, used: &Use, change: impl Fn(&mut usize)) {
        let Ok(lane) = used.lane.parse::<Lane>() else { return };
        let pool = self.pools.entry(used.pool.clone()).or_default();
        if lane.class == Class::People {
            change(&mut pool.people);
        }
        if lane.level >= EMERGENCY {
            change(&mut pool.emergencies);
        }
    }

    pub(super) fn reached(&self, controls: &Controls, kind: CapKind, name: &str) -> Option<Block> {
        let most = controls.most(kind, name)?;
        let block = Block::Cap(kind, name.to_owned());
        (self.counts.get(&block).copied().unwrap_or(0) >= most).then_some(block)
    }

    /// The cap that a pool has reached.
    pub(super) fn full(&self, controls: &Controls, pool: &Pool) -> Option<Block> {
        self.reached(controls, CapKind::Pool, pool.as_str())
    }

    /// The cap that a job would exceed.
    pub(super) fn hinders(&self, controls: &Controls, candidate: &Candidate) -> Option<Block> {
        if controls.caps.is_empty() {
            return None;
        }
        let requester = candidate.requesters.lines().next().unwrap_or_default();
        self.reached(controls, CapKind::Package, &candidate.package)
            .or_else(|| self.reached(controls, CapKind::Trigger, &candidate.trigger))
            .or_else(|| self.reached(controls, CapKind::Requester, requester))
    }
}
