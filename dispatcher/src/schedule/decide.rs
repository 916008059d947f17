//! One event, one decision.

use proofhouse_core::{
    outcome::{ExitCode, Fault, judge},
    protocol::{Announce, Answer, Ask, AttemptId, Ended, Wanted, WorkerId},
};
use tokio::time::Instant;

use super::{Action, EndAttempt, Event, Publisher, State, WorkerView};

impl State {
    /// Decides. Actions are to be carried out in their order.
    pub fn decide(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = match event {
            Event::Asked(worker, ask) => self.asked(&worker, ask, now),
            Event::Tick => self.tick(now),
            Event::Echoed => self.echoed(now),
            Event::Nudge => vec![],
            Event::Arrived(lanes) => {
                for lane in lanes {
                    let pools = self.queue.arrived(&lane);
                    self.stirred.extend(pools.iter().flat_map(|pools| pools.iter().cloned()));
                }
                vec![]
            }
            Event::Waiting(lanes) => {
                for lane in lanes {
                    self.woken(&lane);
                }
                vec![]
            }
            Event::Surveyed(lanes) => {
                self.queue.surveyed(&lanes);
                for lane in &lanes {
                    self.woken(lane);
                }
                vec![]
            }
            Event::Controls(controls) => {
                self.queue.set_controls(controls);
                self.stir_all();
                vec![]
            }
            Event::Cancel(jobs) => self.cancel(&jobs),
            Event::LinkDown => self.link_down(),
            Event::LinkUp => self.link_new(now),
            Event::Read(pool, lanes, limit, found) => {
                self.read(pool, &lanes, limit, found);
                vec![]
            }
            Event::Granted(granted) => self.granted(*granted, now),
            Event::NotGranted(id, worker) => self.not_granted(id, &worker),
            Event::Opened(id, publication) => self.opened(id, publication, now),
            Event::Weighed(worker, ended, fault, code) => self.weighed(&worker, ended, fault, code),
            Event::Ended(id, fault, pause) => {
                self.host_failed(id, fault, now);
                self.waits_again(id, pause, now);
                self.forget(id, None)
            }
            Event::Cancelled(id) => self.forget(id, Some(Answer::GivenUp { id })),
            Event::Completed(id, recorded) => self.completed(id, recorded),
            Event::Stored(job) => self.stored(job),
            Event::Answered(job, series) => {
                self.publishers.close(series, Publisher::Job(job));
                vec![]
            }
            Event::Open(open, storing) => {
                self.adopt(open, storing, now);
                vec![]
            }
            Event::Wanted(wanted) => self.want(wanted),
            Event::Failed(id) => self.failed(id),
        };
        actions.extend(self.fill(now));
        actions
    }

    fn asked(&mut self, worker: &WorkerId, ask: Ask, now: Instant) -> Vec<Action> {
        if let Some(view) = self.workers.get_mut(worker) {
            view.seen = now;
        }
        let ends = now + self.rules.lease;
        match ask {
            Ask::Announce(said) => self.announced(worker, said, now),
            Ask::Grant { id, epoch } => self.asked_for_grant(worker, id, epoch, now),
            Ask::Renew { ids } => self.renewed(worker, ids, now),
            Ask::Ended(ended) => self.runner_ended(worker, ended, now),
            Ask::Complete { id, run_id, result_tar } => match self.held_by(id, worker) {
                Some(lease) if lease.publication.as_ref().is_some_and(|p| p.run_id == run_id) => {
                    lease.ends = ends;
                    vec![Action::Complete(id, run_id, result_tar)]
                }
                Some(_) => vec![Self::reply(worker, Answer::GivenUp { id })],
                None => vec![Action::Recall(
                    worker.clone(),
                    id,
                    Ask::Complete { id, run_id, result_tar: String::new() },
                )],
            },
            Ask::GiveUp { id, fault, detail } => {
                if self.held_by(id, worker).is_none() {
                    return vec![Self::reply(worker, Answer::GivenUp { id })];
                }
                let answer = (worker.clone(), Answer::GivenUp { id });
                let pause = self.pause_of(id, fault);
                vec![Action::End(EndAttempt { id, fault, ended: None, detail, pause, answer })]
            }
            Ask::Nudge | Ask::Echo { .. } => vec![],
        }
    }

    fn announced(&mut self, worker: &WorkerId, said: Announce, now: Instant) -> Vec<Action> {
        // The same name in a new life: the old process is gone. Its leases run out by themselves.
        self.workers.retain(|id, _| id.name != worker.name || id == worker);
        let holds = self.leases.iter().filter(|(_, l)| l.worker.id == *worker).map(|(id, _)| *id).collect();
        self.stirred.extend(said.pools.iter().cloned());
        if said.leaving {
            self.workers.remove(worker);
            return vec![Action::SaveWorker(worker.clone(), said)];
        }
        let view = WorkerView {
            host: said.host.clone(),
            pools: said.pools.clone(),
            slots: if said.draining || said.unable.is_some() { 0 } else { said.slots as usize },
            holds,
            seen: now,
            obeys: said.wanted,
            told: None,
        };
        self.workers.insert(worker.clone(), view);
        let mut actions =
            vec![Self::reply(worker, Answer::Welcome), Action::SaveWorker(worker.clone(), said)];
        actions.extend(self.tell(worker));
        actions
    }

    fn asked_for_grant(&mut self, worker: &WorkerId, id: AttemptId, epoch: i64, now: Instant) -> Vec<Action> {
        if let Some(lease) = self.leases.get(&id) {
            return if lease.worker.id == *worker {
                vec![Action::Recall(worker.clone(), id, Ask::Grant { id, epoch })]
            } else {
                vec![Self::reply(worker, Answer::Refused { id, pause_seconds: 0 })]
            };
        }
        match (self.offers.get(&id), self.worker_ref(worker)) {
            (Some(_), Some(_)) if self.wanted_of(worker) != Wanted::Work => self.refuse_drained(worker, id),
            (Some(offer), Some(holder)) if epoch == self.epoch => {
                let pool = offer.used.pool.clone();
                match self.must_pause(offer, &holder.host, now) {
                    None => vec![Action::Grant(id, holder, pool)],
                    Some(pause_seconds) => {
                        // The next tick offers it again. At once it could come back to a worker that has not heard
                        // the answer yet, and drops what it is asking for already.
                        self.put_off(id);
                        vec![Self::reply(worker, Answer::Refused { id, pause_seconds })]
                    }
                }
            }
            // Not offered now, or by somebody who did not say who it is: what was decided earlier may still be asked for.
            _ => vec![Action::Recall(worker.clone(), id, Ask::Grant { id, epoch })],
        }
    }

    fn runner_ended(&mut self, worker: &WorkerId, ended: Ended, now: Instant) -> Vec<Action> {
        let (id, lasts) = (ended.id, self.rules.lease);
        let Some(lease) = self.held_by(id, worker) else {
            return vec![Action::Recall(worker.clone(), id, Ask::Ended(ended))];
        };
        lease.ends = now + lasts;
        if let Some(publication) = lease.publication.clone() {
            return vec![Self::reply(worker, Self::publish_answer(id, publication))];
        }
        let (tries, baseline) = (lease.tries(id), lease.subject.baseline);
        match judge(&ended.seen(baseline)) {
            Ok(_) => self.publish(worker, ended),
            Err(fault @ (Fault::LogRule | Fault::BrokeTestbed))
                if !baseline && self.rules.pause_after(tries, fault).is_none() =>
            {
                vec![Action::Weigh(worker.clone(), ended, fault)]
            }
            Err(fault) => vec![self.no_result(worker, ended, fault)],
        }
    }

    fn weighed(
        &mut self,
        worker: &WorkerId,
        ended: Ended,
        fault: Fault,
        code: Option<ExitCode>,
    ) -> Vec<Action> {
        if self.held_by(ended.id, worker).is_none() {
            return vec![Action::Recall(worker.clone(), ended.id, Ask::Ended(ended))];
        }
        match code {
            Some(exit_code) => self.publish(worker, Ended { exit_code, ..ended }),
            None => vec![self.no_result(worker, ended, fault)],
        }
    }

    /// Opens the publication, unless another one of the series is open.
    fn publish(&mut self, worker: &WorkerId, ended: Ended) -> Vec<Action> {
        let id = ended.id;
        let Some(lease) = self.leases.get(&id) else { return vec![] };
        let series = lease.subject.series.clone();
        if self.publishers.of(&series).is_some_and(|publisher| publisher != Publisher::Attempt(id)) {
            return vec![Self::reply(worker, Answer::Wait { id })];
        }
        self.publishers.close(series.clone(), Publisher::Attempt(id));
        vec![Action::OpenPublication(ended, series)]
    }

    fn no_result(&self, worker: &WorkerId, ended: Ended, fault: Fault) -> Action {
        let id = ended.id;
        let answer = (worker.clone(), Answer::NoResult { id, fault });
        let detail = ended.detail.clone();
        Action::End(EndAttempt {
            id,
            fault,
            pause: self.pause_of(id, fault),
            ended: Some(ended),
            detail,
            answer,
        })
    }
}
