//! What the leader decides, without a clock, a broker or a database: (state, event, time) → (state, actions).

mod decide;
mod hosts;
mod leases;
#[cfg(test)]
mod model;
mod offers;
mod publishers;
mod queue;
#[cfg(test)]
mod tests;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proofhouse_core::{
    db::{Candidate, Publication, WorkerRef},
    host_health::Health,
    layout::Series,
    names::{Pool, WorkerName},
    outcome::{ExitCode, Fault},
    protocol::{Announce, Answer, Ask, AttemptId, Ended, Wanted, WorkerId},
    queue::{Controls, PoolRules},
    run_id::RunId,
};
use tokio::time::Instant;
use uuid::Uuid;

use self::publishers::{Publisher, Publishers};
pub use self::queue::{Next, Queue, Use};

/// The rules of the life of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// How long an offer lives.
    pub offer: Duration,
    /// How many attempts a job has.
    pub attempts: i32,
    /// The pause before the second attempt; each further one is twice as long.
    pub pause: Duration,
}

impl Rules {
    /// The pause before the next attempt; none after the last. `attempt` counts from the operator's last retry.
    ///
    /// After a lost lease it is offered again at once, for nothing says that the next worker will fail too.
    pub fn pause_after(&self, attempt: i32, fault: Fault) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if fault == Fault::LeaseLost {
            return Some(Duration::ZERO);
        }
        let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(16);
        Some(self.pause.saturating_mul(1 << doublings))
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker asks.
    Asked(WorkerId, Ask),
    /// Time passed.
    Tick,
    /// The last [`Action::Echo`] came back.
    Echoed,
    /// Something may have come by another way than the queues.
    Nudge,
    /// Jobs came to the end of these lanes.
    Arrived(Vec<String>),
    /// Jobs wait in these lanes, wherever.
    Waiting(Vec<String>),
    /// All lanes in which jobs wait, whenever they are due.
    Surveyed(Vec<String>),
    /// What operators hold back.
    Controls(Controls),
    /// Operators want these running jobs to end, with the reason.
    Cancel(Vec<(i64, String)>),
    /// The link to the broker broke: nobody can renew.
    LinkDown,
    /// The link is new: everything is offered anew, and all leases count from now.
    LinkUp,
    /// The job table answered [`Action::Read`]: what was asked, and the next of each lane that has any.
    Read(Pool, Vec<(String, i64)>, usize, BTreeMap<String, Vec<Candidate>>),
    /// The job table committed [`Action::Grant`].
    Granted(Box<Granted>),
    /// It did not: the job does not wait for this attempt.
    NotGranted(AttemptId, WorkerId),
    /// The job table committed [`Action::OpenPublication`]; none where the attempt was over.
    Opened(AttemptId, Option<Publication>),
    /// The job table committed [`Action::End`]; the job waits again after this pause, if any.
    Ended(AttemptId, Fault, Option<Duration>),
    /// The job table committed [`Action::Cancel`].
    Cancelled(AttemptId),
    /// The job table answered [`Action::Weigh`]: what is published after all, if anything.
    Weighed(WorkerId, Ended, Fault, Option<ExitCode>),
    /// The job table committed [`Action::Complete`]; false where it refused.
    Completed(AttemptId, bool),
    /// `result.tar` of a recorded result is in the store: its series is open to others.
    Stored(i64),
    /// A result without a run was recorded in this series.
    Answered(i64, Series),
    /// Attempts that the job table holds open, and jobs whose `result.tar` is on its way, for comparison.
    Open(Vec<Inherited>, Vec<(i64, Series)>),
    /// What operators want of workers: of those that are not named, work. The life is the one that was heard last.
    Wanted(BTreeMap<WorkerName, (Option<Uuid>, Wanted)>),
    /// An action failed for want of the database: whoever asked will ask again.
    Failed(AttemptId),
}

/// What of a job decides on the end of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it publishes to.
    pub series: Series,
    /// Attempts that do not count any more: they were made before an operator had it retried.
    pub tried_before: i32,
    /// A baseline publishes only what a test said.
    pub baseline: bool,
}

/// A committed grant.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The attempt.
    pub id: AttemptId,
    /// Who holds it.
    pub worker: WorkerRef,
    /// What it uses up.
    pub used: Use,
    /// What of its job decides on its end.
    pub subject: Subject,
    /// Its absolute end, from now.
    pub end: Duration,
    /// The answer to send.
    pub answer: Answer,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer a worker.
    Answer(WorkerId, Answer),
    /// Tell all workers that there is a new leader, or a new link of its.
    Hail,
    /// Leases ran out: send a message to oneself, behind the renewals. A leader that is cut off hears neither, and ends none.
    Echo,
    /// Put an offer on a pool's queue.
    Offer(Pool, AttemptId),
    /// For this pool ask the job table for the jobs of these lanes behind these numbers, at most so many of each.
    Read(Pool, Vec<(String, i64)>, usize),
    /// Commit that an operator ended a running job, for this reason.
    Cancel(AttemptId, String),
    /// Write down what a worker said of itself.
    SaveWorker(WorkerId, Announce),
    /// Commit a lease.
    Grant(AttemptId, WorkerRef, Pool),
    /// Commit that the attempt is being published, and under which run id.
    OpenPublication(Ended, Series),
    /// It was the last attempt: look whether all of them together say something of the package after all.
    Weigh(WorkerId, Ended, Fault),
    /// Commit the end of an attempt without a result, then answer.
    End(EndAttempt),
    /// Commit a result, from a publication's completion.
    Complete(AttemptId, RunId, String),
    /// The attempt is not among the leases: look up what was decided of it, and answer the same.
    Recall(WorkerId, AttemptId, Ask),
}

/// An attempt that ends without a result.
#[derive(Debug, Clone, PartialEq)]
pub struct EndAttempt {
    /// Which.
    pub id: AttemptId,
    /// Why.
    pub fault: Fault,
    /// How the runner ended, where it is known.
    pub ended: Option<Ended>,
    /// More for operators.
    pub detail: String,
    /// Before the next attempt; none: parked.
    pub pause: Option<Duration>,
    /// Who is answered, and how.
    pub answer: (WorkerId, Answer),
}

#[derive(Debug, Clone)]
struct WorkerView {
    host: String,
    pools: Vec<Pool>,
    slots: usize,
    holds: BTreeSet<AttemptId>,
    seen: Instant,
    /// What it does.
    obeys: Wanted,
    /// What it was told since it announced itself.
    told: Option<Wanted>,
}

impl WorkerView {
    fn free(&self) -> usize {
        self.slots.saturating_sub(self.holds.len())
    }
}

#[derive(Debug, Clone)]
struct OfferView {
    used: Use,
    since: Instant,
    /// Hosts on which the job failed.
    failed_on: BTreeSet<String>,
}

/// How a host fares.
#[derive(Debug, Clone, Copy)]
struct HostView {
    health: Health,
    last_fault: Instant,
}

#[derive(Debug, Clone)]
struct Lease {
    worker: WorkerRef,
    used: Use,
    subject: Subject,
    ends: Instant,
    absolute_end: Instant,
    publication: Option<Publication>,
}

/// An attempt that an earlier leader granted.
#[derive(Debug, Clone)]
pub struct Inherited {
    /// Which.
    pub id: AttemptId,
    /// Who holds it.
    pub worker: WorkerRef,
    /// What it uses up.
    pub used: Use,
    /// What of its job decides on its end.
    pub subject: Subject,
    /// Its absolute end, from now.
    pub end: Duration,
    /// Where it is being published.
    pub publication: Option<Publication>,
}

/// Of [`Action::Echo`]: when it was sent.
#[derive(Debug, Clone, Copy)]
struct Echo {
    first: Instant,
    /// Once more, for it was not back.
    last: Instant,
}

/// What the leader knows.
#[derive(Debug, Clone)]
pub struct State {
    epoch: i64,
    rules: Rules,
    link_up: bool,
    /// The one that is not back.
    echo: Option<Echo>,
    workers: BTreeMap<WorkerId, WorkerView>,
    offers: BTreeMap<AttemptId, OfferView>,
    leases: BTreeMap<AttemptId, Lease>,
    publishers: Publishers,
    /// Hosts on which an attempt ended lately.
    hosts: BTreeMap<String, HostView>,
    /// What waits.
    queue: Queue,
    /// How many offers of each pool nobody has taken yet.
    outstanding: BTreeMap<Pool, usize>,
    /// Lanes with a job that waits for its next attempt, by when.
    pausing: BTreeSet<(Instant, String)>,
    /// Attempts that are offered again with the next tick, and where their jobs stand.
    resting: BTreeMap<AttemptId, String>,
    /// Pools in which something may have changed since they were last filled.
    stirred: BTreeSet<Pool>,
    /// Pools that wait for an answer to [`Action::Read`].
    reading: BTreeSet<Pool>,
    wanted: BTreeMap<WorkerName, (Option<Uuid>, Wanted)>,
}

impl State {
    /// A new leader's state: the leases and open publications that it inherits, each with a full lease from now, and
    /// each host's health with the time of its last fault.
    pub fn inherit(
        epoch: i64,
        rules: Rules,
        pools: Arc<PoolRules>,
        open: Vec<Inherited>,
        storing: Vec<(i64, Series)>,
        past: Vec<(String, Health, Instant)>,
        now: Instant,
    ) -> Self {
        let mut state = Self {
            epoch,
            rules,
            link_up: true,
            echo: None,
            workers: BTreeMap::new(),
            offers: BTreeMap::new(),
            leases: BTreeMap::new(),
            publishers: Publishers::default(),
            hosts: past
                .into_iter()
                .map(|(host, health, last_fault)| (host, HostView { health, last_fault }))
                .collect(),
            queue: Queue::new(pools, Controls::default()),
            outstanding: BTreeMap::new(),
            pausing: BTreeSet::new(),
            resting: BTreeMap::new(),
            stirred: BTreeSet::new(),
            reading: BTreeSet::new(),
            wanted: BTreeMap::new(),
        };
        state.adopt(open, storing, now);
        state
    }

    /// Attempts that are open in the table but not known here get a lease, so that they end in one way or another.
    /// Series are kept closed by the jobs of the table, and by no others.
    fn adopt(&mut self, open: Vec<Inherited>, storing: Vec<(i64, Series)>, now: Instant) {
        self.publishers.set_jobs(storing);
        for one in open {
            if let Some(lease) = self.leases.get_mut(&one.id) {
                // An operator may have moved it since.
                let used = std::mem::replace(&mut lease.used, one.used.clone());
                if used != one.used {
                    self.queue.inherited(&one.used);
                    self.free_up(&used);
                }
                continue;
            }
            if one.publication.is_some() {
                self.publishers.close(one.subject.series.clone(), Publisher::Attempt(one.id));
            }
            if let Some(view) = self.workers.get_mut(&one.worker.id) {
                view.holds.insert(one.id);
            }
            self.queue.inherited(&one.used);
            let lease = Lease {
                worker: one.worker,
                used: one.used,
                subject: one.subject,
                ends: now + self.rules.lease,
                absolute_end: now + one.end,
                publication: one.publication,
            };
            self.leases.insert(one.id, lease);
        }
    }

    /// True while a publication of this series is open.
    pub fn is_publishing(&self, series: &Series) -> bool {
        self.publishers.of(series).is_some()
    }

    /// How many leases are held.
    pub fn leased(&self) -> usize {
        self.leases.len()
    }

    /// Leases by pool, for autoscalers.
    pub fn leased_by_pool(&self) -> BTreeMap<Pool, usize> {
        self.leases.values().fold(BTreeMap::new(), |mut count, lease| {
            *count.entry(lease.used.pool.clone()).or_default() += 1;
            count
        })
    }

    fn reply(worker: &WorkerId, answer: Answer) -> Action {
        Action::Answer(worker.clone(), answer)
    }
}
