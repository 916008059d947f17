//! Where faults are not counted, two kinds of steps are none of their own.
//!
//! One state can do all that another can, and more, where its job table and its leader are the same, and more is under way,
//! a worker holds more, or listens to more leaders: for what was sent need not be heard, a worker may be slow, a lease may end
//! although its holder lives, and workers have any number of slots here. So
//!
//! - a step to a state that can do all that could be done before is taken at once: what is asked and answered without a
//!   commit, a job that is offered, an offer that is asked for (nobody ceases to wait for a grant), a grant or a publication
//!   that is heard from the leader whom the worker listens to, a worker that is told what is over in the table anyway, workers
//!   that announce themselves to a new leader;
//! - a step to a state that can do less is never taken: to hear of a new leader and nothing else, to cease to wait, to drop what
//!   is held or to give it back (its lease may end at any time instead), a dispatcher that dies (it may as well freeze for ever,
//!   and its leadership end).
//!
//! That deposed leaders say no more takes nothing away either: what they would commit is refused, and of what they answer
//! the leader says the same, or it makes a worker drop what it holds. Nor do new lives that announce themselves at once: before
//! they have, they get nothing, and the former life may as well have died no earlier.

use proofhouse_core::protocol::{Answer, AttemptId, WorkerId};

use super::{
    Action, Cut, Event, Leading, Left, NOW, PROCESSES, Who, World,
    message::{Message, Question, Reply},
    steps::Step,
    worker::Phase,
};

impl World {
    /// Takes the steps that are to be taken at once, and forgets what cannot have an effect any more.
    pub(super) fn settle(&mut self) {
        if self.is_counted() {
            return self.prune();
        }
        for d in 0..PROCESSES {
            let leading = self.dispatchers[d].as_ref().filter(|leading| self.is_in_charge(leading));
            if leading.is_some_and(|leading| self.is_due(leading)) {
                self.tick(d);
            }
        }
        loop {
            let before = (self.way.clone(), self.workers.clone());
            self.ask_for_offers();
            self.answer_at_once();
            self.hear_at_once();
            self.prune();
            if before == (self.way.clone(), self.workers.clone()) {
                return;
            }
        }
    }

    fn ask_for_offers(&mut self) {
        let mut asks = Vec::new();
        for message in &self.way {
            let Message::Offer(id, epoch) = *message else { continue };
            let asking = (0..PROCESSES).filter(|w| !self.workers[*w].was_granted(id));
            asks.extend(asking.map(|w| Message::Ask(self.who(w), Question::Grant(id, epoch))));
        }
        self.way.extend(asks);
    }

    fn answer_at_once(&mut self) {
        let mut said = Vec::new();
        for (d, leading) in self.dispatchers.iter().enumerate() {
            let Some(leading) = leading else { continue };
            for (from, question) in self.asks().filter(|(from, question)| self.waits(*from, *question)) {
                let answers = self.silent(d, from, question).unwrap_or_default();
                said.extend(answers.into_iter().map(|(to, answer)| (to, leading.epoch, answer)));
            }
            // A renewal.
            for w in 0..PROCESSES {
                let lost = self.workers[w].held().filter(|id| self.is_lost(w, *id, leading));
                said.extend(lost.map(|id| (self.who(w).id(), leading.epoch, Answer::GivenUp { id })));
            }
        }
        for (to, epoch, answer) in said {
            self.send(&to, epoch, answer);
        }
    }

    fn asks(&self) -> impl Iterator<Item = (Who, Question)> {
        self.way.iter().filter_map(|message| match *message {
            Message::Ask(from, question) => Some((from, question)),
            Message::Offer(..) | Message::Answer(..) => None,
        })
    }

    /// Whoever asked would heed an answer.
    fn waits(&self, from: Who, question: Question) -> bool {
        let Some(worker) = self.living(from) else { return false };
        match (question, worker.attempts.get(&question.id())) {
            (Question::Grant(id, _), None) => !worker.was_granted(id),
            (Question::Ended(_), Some(Phase::Ended)) | (Question::Complete(..), Some(Phase::Uploaded(_))) => {
                true
            }
            _ => false,
        }
    }

    /// What a dispatcher says to an ask of which it commits nothing, and makes nothing but an answer.
    fn silent(&self, d: usize, from: Who, question: Question) -> Option<Vec<(WorkerId, Answer)>> {
        let leading = self.dispatchers[d].as_ref()?;
        let mut state = leading.state.clone();
        let mut answers = Vec::new();
        for action in state.decide(Event::Asked(from.id(), question.ask(&self.table)), *NOW) {
            match action {
                Action::Answer(worker, answer) => answers.push((worker, answer)),
                Action::Recall(worker, id, ask) => match self.recalled(&worker, id, &ask) {
                    Some(answer) => answers.push((worker, answer)),
                    None if leading.state.offers.contains_key(&id) => return None,
                    None => {}
                },
                _ => return None,
            }
        }
        Some(answers)
    }

    fn hear_at_once(&mut self) {
        while let Some(message) = self.way.iter().find(|message| self.leaves_no_choice(message)).copied() {
            self.way.remove(&message);
            if let Message::Answer(to, ..) = message {
                self.deliver(to.worker.into(), &message);
            }
        }
    }

    /// It comes from the leader whom the worker listens to, so that it closes its ears to no other by it.
    fn leaves_no_choice(&self, message: &Message) -> bool {
        let Message::Answer(to, epoch, reply) = *message else { return false };
        let Some(worker) = self.living(to).filter(|worker| worker.epoch == epoch) else { return false };
        let is_over =
            |id: AttemptId| self.table.attempts.get(&id).is_some_and(|row| !row.is_open() && !row.by_deposed);
        match (reply, worker.attempts.get(&reply.id())) {
            (Reply::Granted(id), None) => !worker.was_granted(id),
            (Reply::Publish(..), Some(Phase::Ended)) | (Reply::Recorded(_), Some(Phase::Uploaded(_))) => true,
            (Reply::GivenUp(id), Some(_)) => is_over(id),
            _ => false,
        }
    }

    /// A worker waits for every grant.
    pub(super) fn take_at_once(&mut self, w: usize, message: &Message) {
        if let Message::Answer(_, epoch, Reply::Granted(id)) = *message
            && self.workers[w].epoch <= epoch
            && !self.workers[w].was_granted(id)
        {
            self.workers[w].attempts.insert(id, Phase::Asking(epoch));
        }
    }

    pub(super) fn steps_with_choice(&self) -> Vec<Step> {
        let Some(d) = self.leader() else { return vec![Step::Lead(0)] };
        // Whoever found that he was deposed may lead again.
        let mut steps = vec![Step::Lead(PROCESSES - 1 - d)];
        for (d, leading) in self.dispatchers.iter().enumerate() {
            if let Some(leading) = leading.as_ref().filter(|leading| self.is_in_charge(leading)) {
                self.steps_of_one_in_charge(d, leading, &mut steps);
            }
        }
        self.steps_of_outbox(&mut steps);
        for w in 0..PROCESSES {
            let is_mine =
                |message: &&Message| matches!(message, Message::Answer(to, ..) if *to == self.who(w));
            steps.extend(self.way.iter().filter(is_mine).map(|message| Step::Deliver(w, *message)));
            steps.push(Step::WorkerDies(w));
        }
        steps
    }

    fn steps_of_one_in_charge(&self, d: usize, leading: &Leading, steps: &mut Vec<Step>) {
        let is_unsure = self.left == Left::AnyUnsure;
        for (from, question) in self.asks() {
            if self.silent(d, from, question).is_none() {
                steps.push(Step::Hear(d, from, question, Cut::Whole));
                steps.extend(is_unsure.then_some(Step::Hear(d, from, question, Cut::Unsure)));
            }
        }
        let is_known = |w: usize| leading.state.workers.contains_key(&self.who(w).id());
        steps.extend((0..PROCESSES).filter(|w| !is_known(*w)).map(|w| Step::Announce(w, d)));
        if self.is_unlike(leading) {
            steps.push(Step::Compare(d));
        }
        // What is withdrawn is offered again at once, unless it was granted after all.
        if leading.state.offers.keys().any(|id| self.table.attempts.contains_key(id)) {
            steps.push(Step::OffersEnd(d));
        }
        steps.extend(leading.state.leases.keys().map(|id| Step::LeaseEnds(d, *id)));
    }
}
