//! The job table as its transactions leave it: each of these stands for one of `core::db`, with the same conditions.

use std::collections::{BTreeMap, BTreeSet};

use proofhouse_core::{
    db::{Candidate, Publication},
    layout::Series,
    outcome::ExitCode,
    protocol::AttemptId,
    run_id::{RunHash, RunId},
};

use super::{super::Inherited, NEVER, Plant, SERIES, SUBJECT, USED, Who, candidate};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobState {
    Waiting,
    Running,
    Publishing,
    Storing,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptState {
    Running,
    Publishing,
    Recorded,
    Ended,
}

/// A run id, by the order in which the table gave them out.
pub(super) type Run = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) worker: Who,
    pub(super) state: AttemptState,
    pub(super) run: Option<Run>,
    /// A dispatcher that did not lead any more ended it: with fencing, none does.
    pub(super) by_deposed: bool,
}

impl Attempt {
    pub(super) const fn is_open(self) -> bool {
        matches!(self.state, AttemptState::Running | AttemptState::Publishing)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Of the leadership.
    pub(super) epoch: i64,
    /// Each with the attempts that it had.
    pub(super) jobs: BTreeMap<i64, (JobState, i32)>,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    /// Those that were given out, in this order.
    runs: Vec<RunId>,
    /// By job, and whether it is stored.
    pub(super) results: BTreeMap<i64, (Run, bool)>,
    /// Jobs whose result is to be published still.
    pub(super) outbox: BTreeMap<i64, Run>,
    /// Folders that are to be swept.
    pub(super) sweeps: BTreeSet<Run>,
    plant: Plant,
}

/// Another dispatcher leads.
pub(super) struct Lost;

pub(super) enum Opened {
    Granted(Publication),
    Wait,
    Over,
}

impl Table {
    pub(super) fn new(plant: Plant, jobs: i64) -> Self {
        Self {
            epoch: 0,
            jobs: (1..=jobs).map(|job| (job, (JobState::Waiting, 0))).collect(),
            attempts: BTreeMap::new(),
            runs: Vec::new(),
            results: BTreeMap::new(),
            outbox: BTreeMap::new(),
            sweeps: BTreeSet::new(),
            plant,
        }
    }

    pub(super) fn all_done(&self) -> bool {
        self.jobs.values().all(|(state, _)| *state == JobState::Done)
    }

    /// Each job waits, or is with the one attempt that is open, or has the one result that is on its way or stored.
    pub(super) fn keeps_jobs(&self) -> bool {
        self.jobs.iter().all(|(job, (state, attempts))| {
            let rows = self
                .attempts
                .range(AttemptId { job: *job, attempt: 0 }..)
                .take_while(|(id, _)| id.job == *job);
            let open: Vec<_> =
                rows.filter(|(_, row)| row.is_open()).map(|(id, row)| (id.attempt, row.state)).collect();
            let result = self.results.get(job).map(|(_, stored)| *stored);
            let is_sent = self.outbox.contains_key(job);
            match state {
                JobState::Waiting => open.is_empty() && result.is_none(),
                JobState::Running => open == [(*attempts, AttemptState::Running)] && result.is_none(),
                JobState::Publishing => open == [(*attempts, AttemptState::Publishing)] && result.is_none(),
                JobState::Storing => open.is_empty() && result == Some(false) && is_sent,
                JobState::Done => open.is_empty() && result == Some(true) && !is_sent,
            }
        })
    }

    /// The number of a run id.
    pub(super) fn run_of(&self, id: &RunId) -> Run {
        let place = self.runs.iter().position(|one| one == id);
        place.and_then(|place| u8::try_from(place).ok()).expect("the table gave it out")
    }

    pub(super) fn run_id(&self, run: Run) -> RunId {
        self.runs[usize::from(run)].clone()
    }

    /// `begin_leading`.
    pub(super) fn leading(&self, epoch: i64) -> Result<(), Lost> {
        if epoch == self.epoch || self.plant == Plant::NoFencing { Ok(()) } else { Err(Lost) }
    }

    fn may_start(&self, state: JobState) -> bool {
        state == JobState::Waiting || (self.plant == Plant::NoLease && state == JobState::Running)
    }

    /// `windows`: those behind a number.
    pub(super) fn waiting(&self, after: i64, limit: usize) -> Vec<Candidate> {
        let waiting = self.jobs.range(after + 1..).filter(|(_, (state, _))| self.may_start(*state));
        waiting.take(limit).map(|(job, (_, attempts))| candidate(*job, i64::from(*attempts))).collect()
    }

    /// `open_attempts` and `storing`, as a leader reads them.
    pub(super) fn open(&self) -> (Vec<Inherited>, Vec<(i64, Series)>) {
        let open = self.attempts.iter().filter(|(_, one)| one.is_open()).map(|(id, one)| Inherited {
            id: *id,
            worker: one.worker.reference(),
            used: USED.clone(),
            subject: SUBJECT.clone(),
            end: NEVER,
            publication: one.run.map(|run| self.publication(run)),
        });
        (open.collect(), self.storing().map(|job| (job, SERIES.clone())).collect())
    }

    pub(super) fn storing(&self) -> impl Iterator<Item = i64> {
        self.jobs.iter().filter(|(_, (state, _))| *state == JobState::Storing).map(|(job, _)| *job)
    }

    pub(super) fn grant(&mut self, epoch: i64, id: AttemptId, worker: Who) -> Result<bool, Lost> {
        self.leading(epoch)?;
        let Some((state, attempts)) = self.jobs.get(&id.job).copied() else { return Ok(false) };
        if self.may_start(state) && attempts == id.attempt - 1 {
            self.jobs.insert(id.job, (JobState::Running, id.attempt));
            let attempt = Attempt { worker, state: AttemptState::Running, run: None, by_deposed: false };
            self.attempts.insert(id, attempt);
            return Ok(true);
        }
        // A commit whose answer was lost.
        let before = self.attempts.get(&id).filter(|one| one.state == AttemptState::Running);
        Ok(before.is_some_and(|one| one.worker == worker))
    }

    pub(super) fn open_publication(&mut self, epoch: i64, id: AttemptId) -> Result<Opened, Lost> {
        self.leading(epoch)?;
        let Some(attempt) = self.attempts.get(&id) else { return Ok(Opened::Over) };
        match (attempt.state, attempt.run) {
            (AttemptState::Running, _) => {}
            (AttemptState::Publishing, Some(run)) => return Ok(Opened::Granted(self.publication(run))),
            _ => return Ok(Opened::Over),
        }
        if self.open_run().is_some() {
            return Ok(Opened::Wait);
        }
        let hash = RunHash::from_stored("00000");
        let run_id = RunId::next(jiff::Timestamp::UNIX_EPOCH, &hash, self.runs.last());
        assert!(self.runs.last().is_none_or(|last| *last < run_id), "run ids grow");
        self.runs.push(run_id);
        let run = u8::try_from(self.runs.len() - 1).expect("few runs");
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.state = AttemptState::Publishing;
            attempt.run = Some(run);
        }
        self.jobs.insert(id.job, (JobState::Publishing, id.attempt));
        Ok(Opened::Granted(self.publication(run)))
    }

    /// The last run id, while its publication is open.
    pub(super) fn open_run(&self) -> Option<Run> {
        let last = u8::try_from(self.runs.len()).ok()?.checked_sub(1)?;
        let uploading = |one: &Attempt| one.state == AttemptState::Publishing && one.run == Some(last);
        let storing = |(run, stored): &(Run, bool)| *run == last && !stored;
        (self.attempts.values().any(uploading) || self.results.values().any(storing)).then_some(last)
    }

    pub(super) fn complete(&mut self, epoch: i64, id: AttemptId, run: Run) -> Result<bool, Lost> {
        self.leading(epoch)?;
        let Some(attempt) = self.attempts.get_mut(&id).filter(|one| one.run == Some(run)) else {
            return Ok(false);
        };
        if attempt.state != AttemptState::Publishing {
            return Ok(attempt.state == AttemptState::Recorded);
        }
        attempt.state = AttemptState::Recorded;
        self.results.insert(id.job, (run, false));
        self.outbox.insert(id.job, run);
        self.jobs.insert(id.job, (JobState::Storing, id.attempt));
        Ok(true)
    }

    /// The job waits again at once.
    pub(super) fn end_attempt(&mut self, epoch: i64, id: AttemptId) -> Result<(), Lost> {
        self.leading(epoch)?;
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|one| one.is_open()) {
            attempt.state = AttemptState::Ended;
            attempt.by_deposed = epoch != self.epoch;
            self.sweeps.extend(attempt.run);
            self.jobs.insert(id.job, (JobState::Waiting, id.attempt));
        }
        Ok(())
    }

    /// Not conditioned on the leadership. False where the entry is over.
    pub(super) fn result_stored(&mut self, job: i64) -> bool {
        if self.outbox.remove(&job).is_none() {
            return false;
        }
        if let Some((_, stored)) = self.results.get_mut(&job) {
            *stored = true;
        }
        if let Some((state @ JobState::Storing, _)) = self.jobs.get_mut(&job) {
            *state = JobState::Done;
        }
        true
    }

    fn publication(&self, run: Run) -> Publication {
        Publication { series: SERIES.clone(), run_id: self.run_id(run), exit_code: ExitCode(0), rule: None }
    }
}
