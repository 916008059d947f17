//! Leases: granted, renewed, run out, ended.

use proofhouse_core::{
    db::{Publication, WorkerRef},
    outcome::{Fault, decided_by},
    protocol::{Answer, AttemptId, WorkerId},
};
use tokio::time::Instant;

use super::{Action, Echo, EndAttempt, Granted, Lease, Publisher, State, Use};

/// A run that went past its absolute end is ended by its worker; the leader does it when the worker has not for so long.
const GRACE: std::time::Duration = std::time::Duration::from_secs(120);

impl Lease {
    /// Which attempt it is since an operator last had the job retried, from 1.
    pub(super) const fn tries(&self, id: AttemptId) -> i32 {
        id.attempt - self.subject.tried_before
    }
}

impl State {
    /// The pause before the attempt after this one; none where it was the last.
    pub(super) fn pause_of(&self, id: AttemptId, fault: Fault) -> Option<std::time::Duration> {
        let tries = self.leases.get(&id).map_or(id.attempt, |lease| lease.tries(id));
        self.rules.pause_after(tries, fault)
    }

    pub(super) fn held_by(&mut self, id: AttemptId, worker: &WorkerId) -> Option<&mut Lease> {
        self.leases.get_mut(&id).filter(|lease| lease.worker.id == *worker)
    }

    pub(super) fn worker_ref(&self, worker: &WorkerId) -> Option<WorkerRef> {
        self.workers.get(worker).map(|view| WorkerRef { id: worker.clone(), host: view.host.clone() })
    }

    pub(super) fn granted(&mut self, granted: Granted, now: Instant) -> Vec<Action> {
        let Granted { id, worker, used, subject, end, answer } = granted;
        let used = if let Some(offer) = self.remove_offer(id) {
            self.queue.withdrawn(&offer.used, true);
            // What was counted with the offer is what is freed at its end, wherever the job stood when it was granted.
            offer.used
        } else {
            // The link was new meanwhile.
            self.queue.inherited(&used);
            used
        };
        if let Some(view) = self.workers.get_mut(&worker.id) {
            view.holds.insert(id);
        }
        let reply = Self::reply(&worker.id, answer);
        let lease = Lease {
            worker,
            used,
            subject,
            ends: now + self.rules.lease,
            absolute_end: now + end,
            publication: None,
        };
        self.leases.insert(id, lease);
        vec![reply]
    }

    pub(super) fn not_granted(&mut self, id: AttemptId, worker: &WorkerId) -> Vec<Action> {
        self.withdraw(id);
        vec![Self::reply(worker, Answer::Refused { id, pause_seconds: 0 })]
    }

    pub(super) fn renewed(&mut self, worker: &WorkerId, ids: Vec<AttemptId>, now: Instant) -> Vec<Action> {
        let ends = now + self.rules.lease;
        let (mut held, mut given_up) = (Vec::new(), Vec::new());
        for id in ids {
            match self.held_by(id, worker) {
                Some(lease) => {
                    lease.ends = ends;
                    held.push(id);
                }
                None => given_up.push(id),
            }
        }
        let lease_seconds = self.rules.lease.as_secs();
        vec![Self::reply(worker, Answer::Renewed { held, given_up, lease_seconds })]
    }

    pub(super) fn publish_answer(id: AttemptId, publication: Publication) -> Answer {
        Answer::Publish {
            id,
            run_id: publication.run_id,
            container: publication.series.container,
            exit_code: Some(publication.exit_code),
            rule: Some(publication.rule.unwrap_or_else(|| decided_by::EXIT_CODE.to_owned())),
        }
    }

    pub(super) fn opened(
        &mut self,
        id: AttemptId,
        publication: Option<Publication>,
        now: Instant,
    ) -> Vec<Action> {
        let Some(publication) = publication else {
            self.publishers.open(Publisher::Attempt(id));
            return self.forget(id, Some(Answer::GivenUp { id }));
        };
        let ends = now + self.rules.lease;
        let Some(lease) = self.leases.get_mut(&id) else { return vec![] };
        lease.ends = ends;
        lease.publication = Some(publication.clone());
        vec![Self::reply(&lease.worker.id, Self::publish_answer(id, publication))]
    }

    pub(super) fn completed(&mut self, id: AttemptId, recorded: bool) -> Vec<Action> {
        if !recorded {
            return self.forget(id, Some(Answer::GivenUp { id }));
        }
        self.host_did_well(id);
        self.publishers.pass_on(Publisher::Attempt(id), Publisher::Job(id.job));
        self.forget(id, Some(Answer::Recorded { id }))
    }

    pub(super) fn stored(&mut self, job: i64) -> Vec<Action> {
        self.publishers.open(Publisher::Job(job));
        vec![]
    }

    /// The database was away: what was only reserved is free again.
    pub(super) fn failed(&mut self, id: AttemptId) -> Vec<Action> {
        if self.leases.get(&id).is_some_and(|l| l.publication.is_none()) {
            self.publishers.open(Publisher::Attempt(id));
        }
        vec![]
    }

    /// The attempt is over: its slot is free, and its series where nothing of it was recorded.
    pub(super) fn forget(&mut self, id: AttemptId, answer: Option<Answer>) -> Vec<Action> {
        self.publishers.open(Publisher::Attempt(id));
        let Some(lease) = self.leases.remove(&id) else { return vec![] };
        self.free_up(&lease.used);
        if let Some(view) = self.workers.get_mut(&lease.worker.id) {
            view.holds.remove(&id);
            self.stirred.extend(view.pools.iter().cloned());
        }
        answer.map(|answer| Self::reply(&lease.worker.id, answer)).into_iter().collect()
    }

    /// Less is in use: what waited for that, in whatever pool, may come next.
    pub(super) fn free_up(&mut self, used: &Use) {
        self.queue.freed(used);
        self.stirred.insert(used.pool.clone());
        if self.queue.is_limited() {
            self.stir_all();
        }
    }

    /// The offer is not there any more; its job is to be offered again.
    pub(super) fn withdraw(&mut self, id: AttemptId) {
        let Some(offer) = self.remove_offer(id) else { return };
        self.queue.withdrawn(&offer.used, false);
        self.stirred.insert(offer.used.pool.clone());
        self.woken(&offer.used.lane);
    }

    /// As [`State::withdraw`], but it is not offered again before the next tick.
    pub(super) fn put_off(&mut self, id: AttemptId) {
        if let Some(offer) = self.offers.get(&id) {
            self.resting.insert(id, offer.used.lane.clone());
            self.withdraw(id);
        }
    }

    /// The job waits again: now, or after a pause.
    pub(super) fn waits_again(&mut self, id: AttemptId, pause: Option<std::time::Duration>, now: Instant) {
        if let (Some(pause), Some(lease)) = (pause, self.leases.get(&id)) {
            self.queue.note_emergency(&lease.used.lane);
            self.pausing.insert((now + pause, lease.used.lane.clone()));
        }
    }

    /// Running jobs that an operator wants to end. What is being published already has its result.
    pub(super) fn cancel(&self, jobs: &[(i64, String)]) -> Vec<Action> {
        let held = |job: i64| self.leases.range(AttemptId { job, attempt: 0 }..).next();
        let running = jobs.iter().filter_map(|(job, reason)| {
            let (id, lease) = held(*job).filter(|(id, _)| id.job == *job)?;
            lease.publication.is_none().then(|| Action::Cancel(*id, reason.clone()))
        });
        running.collect()
    }

    /// Where leases ran out: looks whether the link lives. Nothing runs out while nobody can renew.
    pub(super) fn ask_for_echo(&mut self, now: Instant) -> Vec<Action> {
        let is_due = self.echo.is_none_or(|echo| echo.last + self.rules.lease <= now);
        if !self.link_up || !is_due || self.run_out(now).is_empty() {
            return vec![];
        }
        // One that is not back for as long as a lease may have been lost.
        let first = self.echo.map_or(now, |echo| echo.first);
        self.echo = Some(Echo { first, last: now });
        vec![Action::Echo]
    }

    /// Ends the leases that had run out when the echo was sent, and were not renewed before it came back. Where that took as
    /// long as it is between two renewals, those may have been lost on the same way: all leases count from now.
    pub(super) fn echoed(&mut self, now: Instant) -> Vec<Action> {
        let Some(Echo { first, .. }) = self.echo.take() else { return vec![] };
        if first + self.rules.lease / 3 <= now {
            self.renew_all(now);
        }
        self.run_out(first)
    }

    /// All leases count from now.
    pub(super) fn renew_all(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            lease.ends = now + self.rules.lease;
        }
    }

    fn run_out(&self, now: Instant) -> Vec<Action> {
        let over = |lease: &Lease| {
            if lease.ends <= now {
                Some((Fault::LeaseLost, "no renewal came until the lease ended"))
            } else if lease.absolute_end + GRACE <= now {
                Some((Fault::TimedOut, "the attempt went past its absolute end"))
            } else {
                None
            }
        };
        self.leases
            .iter()
            .filter_map(|(id, lease)| over(lease).map(|(fault, detail)| (*id, lease, fault, detail)))
            .map(|(id, lease, fault, detail)| {
                Action::End(EndAttempt {
                    id,
                    fault,
                    ended: None,
                    detail: detail.to_owned(),
                    pause: self.pause_of(id, fault),
                    answer: (lease.worker.id.clone(), Answer::GivenUp { id }),
                })
            })
            .collect()
    }
}
