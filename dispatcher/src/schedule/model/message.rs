//! What is under way, and which of it can have no effect any more.

use proofhouse_core::protocol::AttemptId;

use super::{
    Plant, Who, World,
    table::{AttemptState, Run},
    worker::Phase,
};

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Message {
    Offer(AttemptId, i64),
    Ask(Who, Question),
    /// With the epoch of who gave it.
    Answer(Who, i64, Reply),
}

/// Of [`Ask`](proofhouse_core::protocol::Ask), what is about one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Grant(AttemptId, i64),
    Ended(AttemptId),
    Complete(AttemptId, Run),
    GiveUp(AttemptId),
}

/// Of [`Answer`](proofhouse_core::protocol::Answer), what is about one attempt and makes a worker do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    Granted(AttemptId),
    Refused(AttemptId),
    Publish(AttemptId, Run),
    Recorded(AttemptId),
    GivenUp(AttemptId),
}

impl Message {
    pub(super) const fn id(&self) -> AttemptId {
        match self {
            Self::Offer(id, _) => *id,
            Self::Ask(_, question) => question.id(),
            Self::Answer(_, _, reply) => reply.id(),
        }
    }
}

impl Question {
    pub(super) const fn id(self) -> AttemptId {
        match self {
            Self::Grant(id, _) | Self::Ended(id) | Self::Complete(id, _) | Self::GiveUp(id) => id,
        }
    }
}

impl Reply {
    pub(super) const fn id(self) -> AttemptId {
        match self {
            Self::Granted(id)
            | Self::Refused(id)
            | Self::Publish(id, _)
            | Self::Recorded(id)
            | Self::GivenUp(id) => id,
        }
    }
}

impl World {
    /// True where a message can do something, now or later. What cannot is forgotten: that joins states that differ only in
    /// what nobody would heed.
    pub(super) fn matters(&self, message: &Message) -> bool {
        match message {
            Message::Offer(id, epoch) => self.is_of_use(*id, *epoch),
            Message::Ask(from, question) => self.is_asked(*from, *question),
            Message::Answer(to, epoch, reply) => self.is_heeded(*to, *epoch, *reply),
        }
    }

    /// Whoever takes an offer of a leader that was deposed, or of an attempt that somebody else got, can only be refused: he
    /// may as well not take it yet. So what is left is an offer that can be granted, or was and the answer is missing.
    pub(super) fn is_of_use(&self, id: AttemptId, epoch: i64) -> bool {
        match self.table.attempts.get(&id) {
            None => epoch == self.table.epoch || self.plant == Plant::NoFencing,
            Some(row) => {
                let holder = self.living(row.worker);
                row.state == AttemptState::Running && holder.is_some_and(|worker| !worker.was_granted(id))
            }
        }
    }

    fn is_asked(&self, from: Who, question: Question) -> bool {
        let id = question.id();
        let row = self.table.attempts.get(&id);
        let worker = self.living(from);
        let phase = worker.and_then(|worker| worker.attempts.get(&id));
        let leases = || self.dispatchers.iter().flatten().filter_map(|leading| leading.state.leases.get(&id));
        let is_in = |state| row.is_some_and(|row| row.state == state && row.worker == from);
        match question {
            // One that is answered by a refusal matters to who waits for an answer.
            // In a new epoch it is offered anew.
            Question::Grant(_, epoch) if !self.is_counted() && row.is_none() => {
                let stands = epoch == self.table.epoch || self.plant == Plant::NoFencing;
                stands && (worker.is_some() || self.is_known(from))
            }
            Question::Grant(..) => match (row, worker) {
                (None, Some(_)) => true,
                (None, None) => self.is_known(from),
                (Some(_), Some(worker)) => {
                    matches!(phase, Some(Phase::Asking(_)))
                        || (is_in(AttemptState::Running) && !worker.was_granted(id))
                }
                (Some(_), None) => false,
            },
            Question::Ended(_) => {
                phase == Some(&Phase::Ended)
                    || is_in(AttemptState::Running)
                    || leases().any(|lease| lease.publication.is_none())
            }
            Question::Complete(..) => {
                matches!(phase, Some(Phase::Uploaded(_)))
                    || is_in(AttemptState::Publishing)
                    || leases().next().is_some()
            }
            Question::GiveUp(_) => is_in(AttemptState::Running) || is_in(AttemptState::Publishing),
        }
    }

    /// A worker goes through its phases in one direction, and does not look at what is about an earlier one.
    fn is_heeded(&self, to: Who, epoch: i64, reply: Reply) -> bool {
        let id = reply.id();
        let Some(worker) =
            self.living(to).filter(|worker| worker.epoch <= epoch && !worker.over.contains(&id))
        else {
            return false;
        };
        // It can only come to ask for it (again) where it can be granted.
        let row = self.table.attempts.get(&id);
        let may_ask = row.is_none_or(|row| row.worker == to && row.state == AttemptState::Running);
        let waits = self.is_counted() && may_ask;
        match (reply, worker.attempts.get(&id)) {
            (Reply::Granted(_) | Reply::Refused(_), Some(Phase::Asking(_)))
            | (Reply::Publish(..), Some(Phase::Ended))
            | (Reply::Recorded(_), Some(Phase::Ended | Phase::Uploaded(_))) => true,
            (Reply::GivenUp(_), Some(_)) => self.is_counted() || row.is_none_or(|row| !row.is_open()),
            (Reply::Granted(_), None) => may_ask,
            (Reply::Refused(_) | Reply::GivenUp(_), None) => waits,
            _ => false,
        }
    }
}
