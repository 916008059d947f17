//! What becomes of a batch: which requests join a job, and which become new ones. Decided in memory, one after the other, so
//! that each sees what those before it became; written by [`super::rows`].

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;
use uuid::Uuid;

use super::NewJob;
use crate::{
    db::{DbError, JobState},
    names::Context,
    queue::{ASKED, Class, Lane},
};

/// A job of the table that a request may become: it waits, or it runs, and it is not answered without a run.
#[derive(Debug, FromRow)]
pub(super) struct Same {
    pub(super) id: i64,
    pub(super) uuid: String,
    pub(super) identity: String,
    pub(super) context: String,
    pub(super) requesters: String,
    pub(super) state: String,
    pub(super) lane: Option<String>,
}

/// A job: one of the table, or one that is to be inserted.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    /// Its number, once it has one.
    pub(super) id: Option<i64>,
    pub(super) uuid: Uuid,
    pub(super) context: String,
    pub(super) requesters: String,
    pub(super) lane: Option<String>,
    /// What it came from, where it is new.
    pub(super) new: Option<&'a NewJob>,
    waits: bool,
    /// A request joined it.
    joined: bool,
}

impl Spot<'_> {
    /// Where it waits; none where it runs.
    pub(super) fn waits_in(&self) -> Option<&str> {
        self.lane.as_deref().filter(|_| self.waits)
    }
}

/// Which job a request became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    New(usize),
    Merged(usize),
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// The jobs of the table first, then the new ones, each in the order of their numbers.
    pub(super) spots: Vec<Spot<'a>>,
    /// Names by which jobs are known too.
    pub(super) aliases: Vec<(Uuid, usize)>,
    by_identity: HashMap<String, Vec<usize>>,
    used: HashSet<Uuid>,
}

impl<'a> Plan<'a> {
    /// `same`: by number; `used`: those of the senders' uuids that are taken.
    pub(super) fn new(same: Vec<Same>, used: HashSet<Uuid>) -> Result<Self, DbError> {
        let mut plan = Self { used, ..Self::default() };
        for job in same {
            let uuid = job.uuid.parse().map_err(|_| DbError::Value(format!("uuid of job {}", job.id)))?;
            plan.by_identity.entry(job.identity).or_default().push(plan.spots.len());
            plan.spots.push(Spot {
                id: Some(job.id),
                uuid,
                context: job.context,
                requesters: job.requesters,
                waits: job.state == JobState::Waiting.as_str(),
                lane: job.lane,
                new: None,
                joined: false,
            });
        }
        Ok(plan)
    }

    /// The job that a request becomes: one that waits, or one that runs and would see the same inputs, or a new one.
    pub(super) fn take(&mut self, new: &'a NewJob) -> Became {
        match self.same_as(new).filter(|_| !new.force) {
            Some(at) => {
                self.join(at, new);
                Became::Merged(at)
            }
            None => Became::New(self.add(new)),
        }
    }

    /// Jobs of the table that requests joined.
    pub(super) fn joined(&self) -> impl Iterator<Item = &Spot<'a>> {
        self.spots.iter().filter(|spot| spot.joined && spot.new.is_none())
    }

    /// New jobs with what they came from.
    pub(super) fn fresh(&self) -> impl Iterator<Item = (&Spot<'a>, &'a NewJob)> {
        self.spots.iter().filter_map(|spot| Some((spot, spot.new?)))
    }

    fn same_as(&self, new: &NewJob) -> Option<usize> {
        let same = self.by_identity.get(&new.identity)?;
        let waits = same.iter().find(|at| self.spots[**at].waits);
        waits.or_else(|| same.first().filter(|_| !new.volatile)).copied()
    }

    fn join(&mut self, at: usize, new: &NewJob) {
        let spot = &mut self.spots[at];
        spot.joined = true;
        // Plain is more urgent than huge; ppa and upstream are never the same job as these.
        if spot.context == Context::Huge.as_str() {
            spot.context = new.context.to_string();
        }
        if let Some(name) = &new.requester
            && !spot.requesters.lines().any(|line| line == name)
        {
            format!("{}\n{name}", spot.requesters).trim().clone_into(&mut spot.requesters);
        }
        if spot.waits {
            spot.lane = more_urgent(spot.lane.take(), new);
        }
        if let Some(alias) = new.uuid
            && self.used.insert(alias)
        {
            self.aliases.push((alias, at));
        }
    }

    fn add(&mut self, new: &'a NewJob) -> usize {
        // The sender's uuid, or a new one where it gave none or one that is taken.
        let uuid = new.uuid.filter(|uuid| !self.used.contains(uuid)).unwrap_or_else(Uuid::new_v4);
        self.used.insert(uuid);
        let at = self.spots.len();
        if new.answer.is_none() {
            self.by_identity.entry(new.identity.clone()).or_default().push(at);
        }
        self.spots.push(Spot {
            id: None,
            uuid,
            context: new.context.as_str().to_owned(),
            requesters: new.requester.clone().unwrap_or_default(),
            lane: new.lane.clone(),
            new: Some(new),
            waits: true,
            joined: false,
        });
        at
    }
}

/// Where a job stands that waits in `old` once `new` has joined it. What nobody has sorted yet stays so.
fn more_urgent(old: Option<String>, new: &NewJob) -> Option<String> {
    let asked = new.lane.as_deref() == Some(ASKED);
    let Some(lane) = old.as_ref().and_then(|old| old.parse::<Lane>().ok()) else {
        return if asked { old.or_else(|| new.lane.clone()) } else { old };
    };
    let other = if asked && new.context != Context::Huge {
        let key = new.requester.as_deref().map_or_else(|| lane.key.clone(), Lane::key_of);
        let context = if lane.context == Context::Huge { new.context } else { lane.context };
        Some(Lane { class: Class::People, key, context, ..lane.clone() })
    } else {
        new.lane.as_deref().and_then(|text| text.parse().ok())
    };
    Some(other.map_or(lane.clone(), |other| lane.more_urgent(other)).to_string())
}
