//! A worker: what it holds, what it asks, and what it makes of answers (`proofhouse-worker`: `leader`, `attempt`).

use std::collections::{BTreeMap, BTreeSet};

use proofhouse_core::{
    outcome::{ExitCode, Fault},
    protocol::{Ask, AttemptId, Ended},
};

use super::{
    message::{Message, Question, Reply},
    table::{Run, Table},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For an offer of this epoch.
    Asking(i64),
    /// The runner runs, or has ended: until the ask about that is heard nobody can tell.
    Ended,
    /// Log and artifacts are uploaded under this id.
    Uploaded(Run),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Worker {
    /// How often it was started anew.
    pub(super) life: u8,
    /// The greatest that was heard of.
    pub(super) epoch: i64,
    pub(super) attempts: BTreeMap<AttemptId, Phase>,
    /// What was granted, and is over.
    pub(super) over: BTreeSet<AttemptId>,
}

/// What comes of an answer.
pub(super) enum Heard {
    /// The runner starts.
    Start(AttemptId),
    /// It was granted when nobody waited for it any more: it is given back.
    Unwanted(AttemptId),
}

impl Worker {
    /// False for a leader that was deposed.
    pub(super) fn admit(&mut self, epoch: i64) -> bool {
        self.epoch = self.epoch.max(epoch);
        epoch == self.epoch
    }

    /// Attempts under a lease.
    pub(super) fn held(&self) -> impl Iterator<Item = AttemptId> {
        self.attempts.iter().filter(|(_, phase)| !matches!(phase, Phase::Asking(_))).map(|(id, _)| *id)
    }

    /// True where a grant of this was heard.
    pub(super) fn was_granted(&self, id: AttemptId) -> bool {
        self.over.contains(&id) || self.held().any(|held| held == id)
    }

    pub(super) fn renewed(&mut self, epoch: i64, given_up: &[AttemptId]) {
        if self.admit(epoch) {
            for id in given_up {
                self.end(*id);
            }
        }
    }

    fn end(&mut self, id: AttemptId) {
        let phase = self.attempts.remove(&id);
        if phase.is_some_and(|phase| !matches!(phase, Phase::Asking(_))) {
            self.over.insert(id);
        }
    }

    /// What it asks of an attempt.
    pub(super) fn question(&self, id: AttemptId) -> Option<Question> {
        Some(match *self.attempts.get(&id)? {
            Phase::Asking(epoch) => Question::Grant(id, epoch),
            Phase::Ended => Question::Ended(id),
            Phase::Uploaded(run) => Question::Complete(id, run),
        })
    }

    /// Takes an offer or hears an answer.
    pub(super) fn hear(&mut self, message: &Message) -> Option<Heard> {
        let reply = match message {
            Message::Offer(id, epoch) => {
                if self.admit(*epoch) && !self.attempts.contains_key(id) && !self.over.contains(id) {
                    self.attempts.insert(*id, Phase::Asking(*epoch));
                }
                return None;
            }
            Message::Ask(..) => return None,
            Message::Answer(_, epoch, reply) => self.admit(*epoch).then_some(reply)?,
        };
        let id = reply.id();
        match (self.attempts.get(&id), reply) {
            (Some(Phase::Asking(_)), Reply::Granted(_)) => {
                self.attempts.insert(id, Phase::Ended);
                return Some(Heard::Start(id));
            }
            (None, Reply::Granted(_)) if !self.over.contains(&id) => return Some(Heard::Unwanted(id)),
            (Some(Phase::Asking(_)), Reply::Refused(_))
            | (Some(Phase::Uploaded(_)), Reply::Recorded(_))
            | (Some(_), Reply::GivenUp(_)) => self.end(id),
            (Some(Phase::Ended), Reply::Publish(_, run)) => {
                self.attempts.insert(id, Phase::Uploaded(*run));
            }
            _ => {}
        }
        None
    }
}

impl Question {
    pub(super) fn ask(self, table: &Table) -> Ask {
        match self {
            Self::Grant(id, epoch) => Ask::Grant { id, epoch },
            Self::Ended(id) => Ask::Ended(Ended {
                id,
                exit_code: ExitCode(0),
                version: Some("green 2".to_owned()),
                duration_seconds: 1,
                fault: None,
                detail: String::new(),
                rule: None,
            }),
            Self::Complete(id, run) => {
                Ask::Complete { id, run_id: table.run_id(run), result_tar: String::new() }
            }
            // A fault that tells nothing of its host: the health of hosts is not part of the model.
            Self::GiveUp(id) => Ask::GiveUp { id, fault: Fault::Store, detail: String::new() },
        }
    }
}
