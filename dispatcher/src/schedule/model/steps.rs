//! What can happen next.

use std::sync::Arc;

use proofhouse_core::protocol::AttemptId;

use super::{
    Cut, Leading, Left, Plant, Who, World,
    message::{Message, Question},
    table::JobState,
    worker::{Phase, Worker},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A dispatcher takes the leadership.
    Lead(usize),
    /// It finds that another one leads.
    Deposed(usize),
    /// It hears an ask.
    Hear(usize, Who, Question, Cut),
    Tick(usize),
    /// It compares its leases with the table.
    Compare(usize),
    /// Its offers end, and are made anew.
    OffersEnd(usize),
    LeaseEnds(usize, AttemptId),
    DispatcherDies(usize),
    Write(i64),
    Stored(i64, bool),
    /// A worker hears that there is a new leader.
    Hail(usize, i64),
    Announce(usize, usize),
    Renew(usize, usize),
    /// It takes an offer, or hears an answer.
    Deliver(usize, Message),
    /// It waited too long for a grant.
    GrantLimit(usize, AttemptId),
    WorkerDies(usize),
}

impl World {
    /// Takes a step; false where it is none.
    pub(super) fn step(&mut self, step: &Step) -> bool {
        match *step {
            Step::Lead(d) => {
                if self.leader().is_some() {
                    self.count_expiry();
                }
                self.lead(d);
            }
            Step::Deposed(d) => self.dispatchers[d] = None,
            Step::Hear(d, from, question, cut) => {
                if cut != Cut::Whole {
                    self.count_crash();
                }
                let before = (cut == Cut::Unsure).then(|| self.table.clone());
                self.hear(d, from, question, cut);
                if before.is_some_and(|before| before == self.table) {
                    return false;
                }
            }
            Step::Tick(d) => self.tick(d),
            Step::Compare(d) => self.compare(d),
            Step::OffersEnd(d) => self.end_offers(d),
            Step::LeaseEnds(d, id) => {
                let lease = self.dispatchers[d].as_ref().and_then(|leading| leading.state.leases.get(&id));
                if lease.is_some_and(|lease| self.is_held(id, &lease.worker.id)) {
                    self.count_expiry();
                }
                self.end_lease(d, id);
            }
            Step::DispatcherDies(d) => {
                self.count_crash();
                self.dispatchers[d] = None;
            }
            Step::Write(job) => self.write(job),
            Step::Stored(job, heard) => self.stored(job, heard),
            Step::Hail(w, epoch) => {
                self.workers[w].admit(epoch);
            }
            Step::Announce(w, d) => self.announce(w, d),
            Step::Renew(w, d) => self.renew(w, d),
            Step::Deliver(w, ref message) => self.deliver(w, message),
            Step::GrantLimit(w, id) => {
                self.count_expiry();
                self.workers[w].attempts.remove(&id);
            }
            Step::WorkerDies(w) => {
                self.count_crash();
                let life = self.workers[w].life + 1;
                self.workers[w] = Worker { life, ..Worker::default() };
                if let Some(d) = self.leader().filter(|_| self.left == Left::AnyUnsure) {
                    self.announce(w, d);
                }
            }
        }
        self.settle();
        true
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        if !self.is_counted() {
            return self.steps_with_choice();
        }
        let mut steps = Vec::new();
        // Dispatchers that do not lead are alike.
        if let Some(d) = self.dispatchers.iter().position(Option::is_none)
            && (self.leader().is_none() || self.may_expire())
        {
            steps.push(Step::Lead(d));
        }
        for (d, leading) in self.dispatchers.iter().enumerate() {
            match leading {
                Some(leading) if self.is_in_charge(leading) => self.steps_of_leader(d, leading, &mut steps),
                Some(leading) => self.steps_of_deposed(d, leading, &mut steps),
                None => {}
            }
        }
        if self.dispatchers.iter().any(Option::is_some) {
            self.steps_of_outbox(&mut steps);
        }
        for (w, worker) in self.workers.iter().enumerate() {
            self.steps_of_worker(w, worker, &mut steps);
        }
        steps
    }

    /// What it commits counts.
    pub(super) fn is_in_charge(&self, leading: &Leading) -> bool {
        leading.epoch == self.table.epoch || self.plant == Plant::NoFencing
    }

    fn steps_of_leader(&self, d: usize, leading: &Leading, steps: &mut Vec<Step>) {
        let can_die = self.may_crash();
        for message in &self.way {
            let Message::Ask(from, question) = *message else { continue };
            steps.push(Step::Hear(d, from, question, Cut::Whole));
            if can_die {
                steps.push(Step::Hear(d, from, question, Cut::Unsure));
            }
            if can_die && self.plant == Plant::AnswerFirst {
                steps.push(Step::Hear(d, from, question, Cut::Answered));
            }
        }
        for (w, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.epoch <= leading.epoch)
        {
            if !leading.state.workers.contains_key(&self.who(w).id()) {
                steps.push(Step::Announce(w, d));
            }
            self.renewal(w, worker, d, leading, steps);
        }
        if self.is_due(leading) {
            steps.push(Step::Tick(d));
        }
        if self.is_unlike(leading) {
            steps.push(Step::Compare(d));
        }
        if !leading.state.offers.is_empty() {
            steps.push(Step::OffersEnd(d));
        }
        for (id, lease) in &leading.state.leases {
            if self.may_expire() || !self.is_held(*id, &lease.worker.id) {
                steps.push(Step::LeaseEnds(d, *id));
            }
        }
        if leading.epoch != self.table.epoch {
            steps.push(Step::Deposed(d));
        } else if can_die {
            steps.push(Step::DispatcherDies(d));
        }
    }

    /// There is something for a tick to do.
    pub(super) fn is_due(&self, leading: &Leading) -> bool {
        let state = &leading.state;
        let forgotten = |(job, (stands, attempts)): (&i64, &(JobState, i32))| {
            let next = AttemptId { job: *job, attempt: attempts + 1 };
            *stands == JobState::Waiting
                && !state.offers.contains_key(&next)
                && !state.leases.contains_key(&next)
        };
        !state.pausing.is_empty() || !state.resting.is_empty() || self.table.jobs.iter().any(forgotten)
    }

    /// The table knows of a lease that the leader does not know of, or its series is closed by others.
    pub(super) fn is_unlike(&self, leading: &Leading) -> bool {
        let open = self.table.attempts.iter().filter(|(_, one)| one.is_open());
        open.into_iter().any(|(id, _)| !leading.state.leases.contains_key(id))
            || !leading.state.publishers.jobs().eq(self.table.storing())
    }

    /// What can come of what a deposed leader says, to those that have not heard of a greater one.
    fn steps_of_deposed(&self, d: usize, leading: &Leading, steps: &mut Vec<Step>) {
        let heeds = |worker: &Worker| worker.epoch <= leading.epoch;
        for message in &self.way {
            let Message::Ask(from, question) = *message else { continue };
            if self.living(from).is_some_and(heeds) {
                steps.push(Step::Hear(d, from, question, Cut::Whole));
            }
        }
        for (w, worker) in self.workers.iter().enumerate().filter(|(_, worker)| heeds(worker)) {
            self.renewal(w, worker, d, leading, steps);
        }
        steps.push(Step::Deposed(d));
    }

    /// Of what a leader holds too a renewal changes nothing here.
    fn renewal(&self, w: usize, worker: &Worker, d: usize, leading: &Leading, steps: &mut Vec<Step>) {
        if worker.held().any(|id| self.is_lost(w, id, leading)) {
            steps.push(Step::Renew(w, d));
        }
    }

    /// True where a leader knows of no such lease.
    pub(super) fn is_lost(&self, w: usize, id: AttemptId, leading: &Leading) -> bool {
        let lease = leading.state.leases.get(&id);
        lease.is_none_or(|lease| Who::of(&lease.worker.id) != self.who(w))
    }

    /// Reading an entry of the outbox is no step of its own: what it says never changes, and is written once or again with
    /// the same effect.
    pub(super) fn steps_of_outbox(&self, steps: &mut Vec<Step>) {
        for (job, run) in &self.table.outbox {
            if self.shown.contains(&(*job, *run)) {
                steps.extend([Step::Stored(*job, true), Step::Stored(*job, false)]);
            } else {
                steps.push(Step::Write(*job));
            }
        }
    }

    fn steps_of_worker(&self, w: usize, worker: &Worker, steps: &mut Vec<Step>) {
        let me = self.who(w);
        for message in &self.way {
            let is_mine = match message {
                Message::Offer(id, _) => {
                    let row = self.table.attempts.get(id);
                    worker.attempts.is_empty() && row.is_none_or(|row| row.worker == me)
                }
                Message::Ask(..) => false,
                Message::Answer(to, ..) => *to == me,
            };
            if is_mine {
                steps.push(Step::Deliver(w, *message));
            }
        }
        let leaders = self.dispatchers.iter().flatten().map(|leading: &Arc<Leading>| leading.epoch);
        steps.extend(leaders.filter(|epoch| *epoch > worker.epoch).map(|epoch| Step::Hail(w, epoch)));
        for (id, phase) in &worker.attempts {
            if matches!(phase, Phase::Asking(_)) && self.may_expire() {
                steps.push(Step::GrantLimit(w, *id));
            }
        }
        if self.may_crash() {
            steps.push(Step::WorkerDies(w));
        }
    }
}
