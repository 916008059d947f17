//! Every job ends once faults end.

use proofhouse_core::protocol::AttemptId;

use super::{NOW, World, message::Message, worker::Worker};

/// So many rounds end everything.
pub(super) const ROUNDS: usize = 20;

impl World {
    /// How many rounds without a fault it takes until every job is done and nobody holds anything; none where that is too many,
    /// or a promise is broken. With `lost`, nothing of what is under way is ever heard.
    pub(super) fn rounds_to_end(&self, lost: bool) -> Option<usize> {
        let mut world = self.clone();
        if lost {
            world.way.clear();
        }
        for round in 0..=ROUNDS {
            if world.broken.is_some() {
                return None;
            }
            if world.is_over() {
                return Some(round);
            }
            world.round();
        }
        None
    }

    fn is_over(&self) -> bool {
        self.table.all_done()
            && self.workers.iter().all(|worker| worker.attempts.is_empty())
            && self.dispatchers.iter().flatten().all(|leading| leading.state.leases.is_empty())
    }

    /// A minute in which every process does what it does again and again, and all that was sent is heard once.
    fn round(&mut self) {
        for dispatcher in &mut self.dispatchers {
            if dispatcher.as_ref().is_some_and(|leading| leading.epoch < self.table.epoch) {
                *dispatcher = None;
            }
        }
        if self.leader().is_none() {
            self.lead(0);
        }
        let Some(d) = self.leader() else { return };
        for w in 0..self.workers.len() {
            self.announce(w, d);
            self.renew(w, d);
        }
        for id in self.leases_of_nobody(d) {
            self.end_lease(d, id);
        }
        self.end_offers(d);
        self.tick(d);
        self.compare(d);
        let sent = std::mem::take(&mut self.way);
        for message in sent {
            match message {
                Message::Ask(from, question) => self.hear(d, from, question, super::Cut::Whole),
                Message::Answer(to, ..) if self.living(to).is_some() => {
                    self.deliver(to.worker.into(), &message);
                }
                Message::Answer(..) => {}
                Message::Offer(..) => {
                    let is_free = |worker: &Worker| worker.attempts.is_empty();
                    if let Some(w) = self.workers.iter().position(is_free) {
                        self.deliver(w, &message);
                    }
                }
            }
        }
        for w in 0..self.workers.len() {
            let (me, worker) = (self.who(w), &self.workers[w]);
            let questions = worker.attempts.keys().filter_map(|id| worker.question(*id));
            self.way.extend(questions.map(|question| Message::Ask(me, question)));
        }
        for job in self.table.outbox.keys().copied().collect::<Vec<_>>() {
            if self.shown.iter().all(|(shown, _)| *shown != job) {
                self.write(job);
            }
            self.stored(job, true);
        }
    }

    fn leases_of_nobody(&self, d: usize) -> Vec<AttemptId> {
        let Some(leading) = &self.dispatchers[d] else { return vec![] };
        let leases = leading.state.leases.iter();
        let over = leases.filter(|(id, lease)| lease.ends <= *NOW || !self.is_held(**id, &lease.worker.id));
        over.map(|(id, _)| *id).collect()
    }
}
