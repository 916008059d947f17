//! What is said to the leading dispatcher, and who its answers are for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proofhouse_core::{
    bus::{Bus, Message, Target},
    protocol::{ASKS, Answer, Answered, Ask, Asked, AttemptId, RENEWALS, Wanted, WorkerId},
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

/// An ask is worth nothing when it has lain for so long: it was repeated since.
const ASK_TTL: Duration = Duration::from_secs(120);
/// The same of a renewal, which the next one makes good for.
const RENEWAL_TTL: Duration = Duration::from_secs(30);
/// The first pause before an ask is repeated, and the longest. Whatever is known to lose asks or answers has them repeated at once;
/// a leader that has thousands to answer must not get all of them many times over.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// So many attempts that are over are remembered, so that a doubled answer is not taken for a new grant.
const REMEMBERED: usize = 1000;

/// The way to the leading dispatcher and back.
pub(crate) struct Leader {
    bus: Arc<dyn Bus>,
    me: WorkerId,
    desk: Mutex<Desk>,
    /// How many leaders, or new links of theirs, were heard of.
    hails: watch::Sender<u64>,
}

/// Who waits for answers, and what was seen.
#[derive(Default)]
struct Desk {
    epoch: i64,
    inboxes: HashMap<AttemptId, mpsc::UnboundedSender<Answer>>,
    over: VecDeque<AttemptId>,
}

/// What an answer that came asks of the worker as a whole.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// A new leader: announce.
    Leader,
    /// The announcement was heard.
    Welcome,
    /// The state of the leases.
    Renewed { given_up: Vec<AttemptId>, lease_seconds: u64 },
    /// What an operator wants of this worker.
    Wanted(Wanted),
    /// A grant that nobody waits for any more: it must be given back.
    Unwanted(AttemptId),
    /// It went to its attempt, or it is of no use.
    Nothing,
}

impl Desk {
    /// False for a leader that was deposed.
    fn admit(&mut self, epoch: i64) -> bool {
        self.epoch = self.epoch.max(epoch);
        epoch == self.epoch
    }

    fn sort(&mut self, Answered { epoch, answer }: Answered) -> Heard {
        if !self.admit(epoch) {
            debug!(epoch, "an answer of a leader that was deposed is dropped");
            return Heard::Nothing;
        }
        let id = match &answer {
            Answer::Leader => return Heard::Leader,
            Answer::Welcome => return Heard::Welcome,
            Answer::Wanted { state } => return Heard::Wanted(*state),
            Answer::Renewed { given_up, lease_seconds, .. } => {
                return Heard::Renewed { given_up: given_up.clone(), lease_seconds: *lease_seconds };
            }
            Answer::Granted(grant) => grant.id,
            Answer::Refused { id, .. }
            | Answer::Publish { id, .. }
            | Answer::Wait { id }
            | Answer::NoResult { id, .. }
            | Answer::Recorded { id }
            | Answer::GivenUp { id } => *id,
        };
        match self.inboxes.get(&id) {
            Some(inbox) => {
                // Its attempt may end at this moment.
                let _ = inbox.send(answer);
                Heard::Nothing
            }
            None if matches!(answer, Answer::Granted(_)) && !self.over.contains(&id) => Heard::Unwanted(id),
            None => Heard::Nothing,
        }
    }
}

impl Leader {
    pub(crate) fn new(bus: Arc<dyn Bus>, me: WorkerId) -> Arc<Self> {
        Arc::new(Self { bus, me, desk: Mutex::default(), hails: watch::Sender::default() })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends once; waits for the link.
    pub(crate) async fn send(&self, ask: Ask) {
        let (queue, ttl) = match &ask {
            Ask::Renew { .. } => (RENEWALS, RENEWAL_TTL),
            _ => (ASKS, ASK_TTL),
        };
        let asked = Asked { from: Some(self.me.clone()), ask };
        let body = match serde_json::to_vec(&asked) {
            Ok(body) => body,
            Err(error) => return warn!(%error, "an ask cannot be written"),
        };
        let target = Target::Queue(queue.to_owned());
        if let Err(error) = self.bus.publish(&target, Message::passing(body, ttl)).await {
            warn!(%error, queue, "an ask was not sent; it is repeated");
        }
    }

    /// Takes a message of the mailbox.
    pub(crate) fn hear(&self, body: &[u8]) -> Heard {
        let Ok(answered) = serde_json::from_slice(body) else {
            warn!(bytes = body.len(), "an answer of an unknown kind is dropped");
            return Heard::Nothing;
        };
        let heard = self.desk().sort(answered);
        if heard == Heard::Leader {
            self.hails.send_modify(|hails| *hails += 1);
        }
        heard
    }

    /// Opens an inbox for an attempt that is offered under `epoch`. None where the offer is of a leader that was deposed,
    /// or the attempt is here already.
    pub(crate) fn open(self: &Arc<Self>, id: AttemptId, epoch: i64) -> Option<Inbox> {
        let mut desk = self.desk();
        if !desk.admit(epoch) || desk.inboxes.contains_key(&id) || desk.over.contains(&id) {
            return None;
        }
        let (send, answers) = mpsc::unbounded_channel();
        desk.inboxes.insert(id, send);
        Some(Inbox { leader: self.clone(), id, answers, was_granted: false })
    }
}

/// Asks and answers of one attempt.
pub(crate) struct Inbox {
    leader: Arc<Leader>,
    id: AttemptId,
    answers: mpsc::UnboundedReceiver<Answer>,
    was_granted: bool,
}

impl Inbox {
    /// Asks until there is an answer that `accept` takes. Others, late answers to earlier asks, are dropped.
    ///
    /// A new leader is asked at once: its predecessor may have died or hung with the last ask in its hands. And a new link is asked
    /// by at once: the answer may have come to a mailbox that was gone.
    pub(crate) async fn ask<T>(&mut self, ask: Ask, accept: impl Fn(Answer) -> Option<T>) -> T {
        let (mut pause, longest) = PAUSES;
        let mut hails = self.leader.hails.subscribe();
        let mut link = self.leader.bus.link();
        loop {
            let once = async {
                self.leader.send(ask.clone()).await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                answer = next(&mut self.answers, &accept) => return answer,
                () = once => pause = (pause * 2).min(longest),
                Ok(()) = hails.changed() => pause = PAUSES.0,
                Ok(()) = link.changed() => pause = PAUSES.0,
            }
        }
    }

    /// From now on a doubled grant is no new one.
    pub(crate) const fn granted(&mut self) {
        self.was_granted = true;
    }
}

async fn next<T>(answers: &mut mpsc::UnboundedReceiver<Answer>, accept: &impl Fn(Answer) -> Option<T>) -> T {
    loop {
        match answers.recv().await.map(accept) {
            Some(Some(answer)) => return answer,
            Some(None) => {}
            // The desk holds the other end for as long as the inbox lives.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut desk = self.leader.desk();
        desk.inboxes.remove(&self.id);
        if self.was_granted {
            desk.over.push_back(self.id);
            if desk.over.len() > REMEMBERED {
                desk.over.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: AttemptId = AttemptId { job: 1, attempt: 1 };

    fn grant(epoch: i64) -> Answered {
        let grant = proofhouse_core::protocol::Grant {
            id: ID,
            uuid: uuid::Uuid::nil(),
            pair: "noble/amd64".parse().unwrap(),
            context: proofhouse_core::names::Context::Ubuntu,
            body: "green".to_owned(),
            lists: proofhouse_core::protocol::Listed::default(),
            lease_seconds: 60,
            end_seconds: 100,
        };
        Answered { epoch, answer: Answer::Granted(Box::new(grant)) }
    }

    #[test]
    fn smaller_epochs_are_refused() {
        let mut desk = Desk::default();
        assert_eq!(desk.sort(Answered { epoch: 3, answer: Answer::Leader }), Heard::Leader);
        assert_eq!(desk.sort(Answered { epoch: 2, answer: Answer::Leader }), Heard::Nothing);
        assert_eq!(desk.sort(grant(2)), Heard::Nothing);
        assert_eq!(desk.sort(Answered { epoch: 3, answer: Answer::Welcome }), Heard::Welcome);
    }

    #[tokio::test]
    async fn what_only_a_later_release_says_is_dropped() {
        let me = WorkerId { name: "w".parse().unwrap(), incarnation: uuid::Uuid::nil() };
        let leader = Leader::new(Arc::new(proofhouse_core::bus::local::Local::new()), me);
        for body in [r#"{"epoch": 9, "answer": "from-the-future", "id": 1}"#, "", "[]", r#"{"epoch": 9}"#] {
            assert_eq!(leader.hear(body.as_bytes()), Heard::Nothing);
        }
        let known = r#"{"epoch": 1, "answer": "wanted", "state": "drain", "later": {}}"#;
        assert_eq!(leader.hear(known.as_bytes()), Heard::Wanted(Wanted::Drain));
    }

    #[tokio::test]
    async fn a_new_leader_is_asked_at_once() {
        use proofhouse_core::bus::{Declaration, Source, local::Local};
        let bus = Arc::new(Local::new());
        bus.declare(&[Declaration::Queue(ASKS.to_owned())]).await.unwrap();
        let mut asks = bus.consume(Source::Queues(vec![ASKS.to_owned()]), 1000).await.unwrap();
        let me = WorkerId { name: "w".parse().unwrap(), incarnation: uuid::Uuid::nil() };
        let leader = Leader::new(bus, me);
        let mut inbox = leader.open(ID, 1).unwrap();
        let asking = inbox.ask(Ask::Grant { id: ID, epoch: 1 }, |_| None::<()>);
        let hear = async {
            asks.next().await.unwrap();
            // So many repetitions by themselves would take many minutes.
            for _ in 0..50 {
                leader.hear(br#"{"epoch": 2, "answer": "leader"}"#);
                asks.next().await.unwrap();
            }
        };
        tokio::select! {
            () = asking => panic!("nobody answered"),
            () = hear => {}
        }
    }

    #[test]
    fn a_grant_is_wanted_once() {
        let mut desk = Desk::default();
        assert_eq!(desk.sort(grant(1)), Heard::Unwanted(ID));
        let (send, mut answers) = mpsc::unbounded_channel();
        desk.inboxes.insert(ID, send);
        assert_eq!(desk.sort(grant(1)), Heard::Nothing);
        assert!(matches!(answers.try_recv(), Ok(Answer::Granted(_))));
        desk.inboxes.clear();
        desk.over.push_back(ID);
        assert_eq!(desk.sort(grant(1)), Heard::Nothing);
        assert_eq!(
            desk.sort(Answered { epoch: 1, answer: Answer::Refused { id: ID, pause_seconds: 0 } }),
            Heard::Nothing
        );
    }
}
