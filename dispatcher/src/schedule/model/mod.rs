//! The life of jobs, explored exhaustively: two dispatchers whose decisions are those of [`State::decide`], two workers, two
//! jobs of one series, and between them a network that forgets nothing: whatever was sent can be heard at any time after, once,
//! several times, in any order, or never. So any number of losses, doublings, delays and repeated asks is part of every
//! exploration. So are freezes: a process that does nothing for a while goes on with what it knew. Crashes, and leases and
//! leaderships that end while their holders live, are counted; or they are not, and steps that leave no choice are no steps of
//! their own: see [`at_once`].
//!
//! As messages are never forgotten, a state in which more is under way can do all that one with less can. That is why a
//! leader that dies between a commit and its answer is no step of its own: it dies after the answer, which is never heard.

mod at_once;
mod canon;
mod explored;
mod fair;
mod message;
mod steps;
mod table;
mod worker;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, LazyLock},
    time::Duration,
};

use proofhouse_core::{
    db::WorkerRef,
    layout::Series,
    names::Context,
    protocol::{Announce, Answer, Ask, AttemptId, Grant, Listed, WorkerId},
};
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    message::{Message, Question, Reply},
    table::{Attempt, AttemptState, Lost, Opened, Run, Table},
    worker::{Heard, Worker},
};
use super::{
    Action, Event, Granted, Queue, Rules, State, Subject, Use,
    publishers::Publishers,
    tests::{LANE, announcement, candidate, pool},
};

const PROCESSES: usize = 2;
/// No attempt comes to its absolute end.
const NEVER: Duration = Duration::from_secs(1_000_000);
const LEASE: Duration = Duration::from_secs(60);
const RULES: Rules =
    Rules { lease: LEASE, offer: Duration::from_secs(30), attempts: i32::MAX, pause: Duration::ZERO };
/// Time stands still: what ends by time ends as a step of its own.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

static SERIES: LazyLock<Series> = LazyLock::new(|| Series {
    container: "autopkgtest-noble".parse().unwrap(),
    pair: "noble/amd64".parse().unwrap(),
    package: "green".parse().unwrap(),
});
static SUBJECT: LazyLock<Subject> =
    LazyLock::new(|| Subject { series: SERIES.clone(), tried_before: 0, baseline: false });
static USED: LazyLock<Use> = LazyLock::new(|| Use::of_candidate(&candidate(1, 0), pool()));

/// An error that is planted, so that the model is shown to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// Scheduling transactions are not refused once another dispatcher leads.
    NoFencing,
    /// The leader may die between its answer to an ask for a grant and the commit.
    AnswerFirst,
    /// A job is offered anew while a lease on it lasts.
    NoLease,
}

/// Faults of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Faults {
    /// Also answers of the job table to a commit that are lost.
    crashes: u8,
    /// Leases, leaderships and waits for a grant that end although who holds them is alive.
    expiries: u8,
}

/// One life of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    worker: u8,
    life: u8,
}

impl Who {
    fn of(id: &WorkerId) -> Self {
        let worker = id.name.as_str().as_bytes()[1] - b'0';
        Self { worker, life: id.incarnation.as_bytes()[15] }
    }

    fn id(self) -> WorkerId {
        let name = ["w0", "w1"][usize::from(self.worker)].parse().unwrap();
        WorkerId { name, incarnation: Uuid::from_u128(self.life.into()) }
    }

    fn host(self) -> String {
        format!("h{}", self.worker)
    }

    fn reference(self) -> WorkerRef {
        WorkerRef { id: self.id(), host: self.host() }
    }
}

/// A dispatcher that believes that it leads.
#[derive(Debug, Clone)]
struct Leading {
    epoch: i64,
    state: State,
}

/// What can fail still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// So much; each step is taken alone.
    Counted(Faults),
    /// Any number of processes and expiries, see [`at_once`]. No answer of the job table is lost.
    Any,
    /// Those too. To keep it small, deposed leaders say no more, and new lives of workers announce themselves at once.
    AnyUnsure,
}

#[derive(Debug, Clone)]
struct World {
    plant: Plant,
    table: Table,
    /// Jobs and run ids whose `result.tar` is in the store, in the order in which they came there.
    shown: Vec<(i64, Run)>,
    dispatchers: [Option<Arc<Leading>>; PROCESSES],
    workers: [Worker; PROCESSES],
    way: BTreeSet<Message>,
    left: Left,
    /// A promise that the last step broke.
    broken: Option<&'static str>,
}

/// How a process fares with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    /// The answer to its first commit is lost.
    Unsure,
    /// [`Plant::AnswerFirst`].
    Answered,
}

impl World {
    fn new(plant: Plant, jobs: i64, left: Left) -> Self {
        Self {
            plant,
            table: Table::new(plant, jobs),
            shown: Vec::new(),
            dispatchers: [None, None],
            workers: [Worker::default(), Worker::default()],
            way: BTreeSet::new(),
            left,
            broken: None,
        }
    }

    const fn is_counted(&self) -> bool {
        matches!(self.left, Left::Counted(_))
    }

    const fn may_crash(&self) -> bool {
        !matches!(self.left, Left::Counted(Faults { crashes: 0, .. }))
    }

    const fn may_expire(&self) -> bool {
        !matches!(self.left, Left::Counted(Faults { expiries: 0, .. }))
    }

    fn count_crash(&mut self) {
        if let Left::Counted(left) = &mut self.left {
            left.crashes -= 1;
        }
    }

    fn count_expiry(&mut self) {
        if let Left::Counted(left) = &mut self.left {
            left.expiries -= 1;
        }
    }

    fn who(&self, worker: usize) -> Who {
        Who { worker: u8::try_from(worker).unwrap_or_default(), life: self.workers[worker].life }
    }

    /// None for a life that is over.
    fn living(&self, who: Who) -> Option<&Worker> {
        self.workers.get(usize::from(who.worker)).filter(|worker| worker.life == who.life)
    }

    /// The dispatcher that leads.
    fn leader(&self) -> Option<usize> {
        let leads =
            |one: &Option<Arc<Leading>>| one.as_ref().is_some_and(|one| one.epoch == self.table.epoch);
        self.dispatchers.iter().position(leads)
    }

    /// True where some dispatcher heard this life announce itself.
    fn is_known(&self, who: Who) -> bool {
        let id = who.id();
        self.dispatchers.iter().flatten().any(|leading| leading.state.workers.contains_key(&id))
    }

    /// True where the leader holds a lease for an attempt.
    fn is_leased(&self, id: AttemptId) -> bool {
        let leader = self.leader().and_then(|d| self.dispatchers[d].as_ref());
        leader.is_some_and(|leading| leading.state.leases.contains_key(&id))
    }

    /// True where somebody holds the attempt that a lease is about.
    fn is_held(&self, id: AttemptId, holder: &WorkerId) -> bool {
        self.living(Who::of(holder)).is_some_and(|worker| worker.attempts.contains_key(&id))
    }

    /// A dispatcher hears of events, and does what comes of them, as its leader's loop does.
    fn decide(&mut self, d: usize, events: Vec<Event>, mut cut: Cut) {
        let Some(mut leading) = self.dispatchers[d].take() else { return };
        let leader = Arc::make_mut(&mut leading);
        let mut events = VecDeque::from(events);
        while let Some(event) = events.pop_front() {
            for action in leader.state.decide(event, *NOW) {
                let id = match &action {
                    Action::OpenPublication(ended, _) => Some(ended.id),
                    _ => None,
                };
                if let (Cut::Answered, Action::Grant(id, worker, _)) = (cut, &action) {
                    return self.send(&worker.id, leader.epoch, Answer::Granted(Box::new(grant(*id))));
                }
                let before = (cut == Cut::Unsure).then(|| self.table.clone());
                let Ok(follow) = self.act(leader.epoch, action) else { return };
                if before.is_none_or(|before| before == self.table) {
                    events.extend(follow);
                } else {
                    cut = Cut::Whole;
                    events.extend(id.map(Event::Failed));
                }
            }
        }
        self.dispatchers[d] = Some(leading);
    }

    fn act(&mut self, epoch: i64, action: Action) -> Result<Vec<Event>, Lost> {
        Ok(match action {
            Action::Answer(worker, answer) => {
                self.send(&worker, epoch, answer);
                vec![]
            }
            // Workers announce themselves whenever they like in this model.
            Action::Hail => vec![],
            // What keeps the link from it is a dispatcher that hears nothing, for as long as that lasts.
            Action::Echo => vec![Event::Echoed],
            Action::Offer(_, id) => {
                self.way.insert(Message::Offer(id, epoch));
                vec![]
            }
            Action::SaveWorker(..) => self.table.leading(epoch).map(|()| vec![])?,
            Action::Read(pool, lanes, limit) => {
                let found =
                    lanes.iter().map(|(lane, after)| (lane.clone(), self.table.waiting(*after, limit)));
                let found = found.filter(|(_, jobs)| !jobs.is_empty()).collect();
                vec![Event::Read(pool, lanes, limit, found)]
            }
            Action::Grant(id, worker, pool) => {
                if !self.table.grant(epoch, id, Who::of(&worker.id))? {
                    return Ok(vec![Event::NotGranted(id, worker.id)]);
                }
                let answer = Answer::Granted(Box::new(grant(id)));
                let used = Use { pool, ..USED.clone() };
                let granted = Granted { id, worker, used, subject: SUBJECT.clone(), end: NEVER, answer };
                vec![Event::Granted(Box::new(granted))]
            }
            Action::OpenPublication(ended, _) => match self.table.open_publication(epoch, ended.id)? {
                Opened::Granted(publication) => vec![Event::Opened(ended.id, Some(publication))],
                Opened::Wait => vec![Event::Failed(ended.id)],
                Opened::Over => vec![Event::Opened(ended.id, None)],
            },
            Action::End(end) => {
                self.table.end_attempt(epoch, end.id)?;
                self.send(&end.answer.0, epoch, end.answer.1);
                vec![Event::Ended(end.id, end.fault, end.pause)]
            }
            Action::Complete(id, run_id, _) => {
                let run = self.table.run_of(&run_id);
                vec![Event::Completed(id, self.table.complete(epoch, id, run)?)]
            }
            Action::Recall(worker, id, ask) => self.recall(worker, epoch, id, &ask),
            Action::Weigh(..) | Action::Cancel(..) => {
                unreachable!("every test passes, and nobody calls it off")
            }
        })
    }

    /// As the leader recalls.
    fn recall(&mut self, worker: WorkerId, epoch: i64, id: AttemptId, ask: &Ask) -> Vec<Event> {
        match self.recalled(&worker, id, ask) {
            Some(answer) => {
                self.send(&worker, epoch, answer);
                vec![]
            }
            None => vec![Event::NotGranted(id, worker)],
        }
    }

    fn recalled(&self, worker: &WorkerId, id: AttemptId, ask: &Ask) -> Option<Answer> {
        let row = self.table.attempts.get(&id).filter(|row| row.worker == Who::of(worker));
        Some(match (ask, row.map(|row| row.state)) {
            (Ask::Grant { .. }, Some(AttemptState::Running)) => Answer::Granted(Box::new(grant(id))),
            (Ask::Grant { .. }, _) => return None,
            (_, Some(AttemptState::Recorded)) => Answer::Recorded { id },
            _ => Answer::GivenUp { id },
        })
    }

    fn send(&mut self, worker: &WorkerId, epoch: i64, answer: Answer) {
        let who = Who::of(worker);
        let reply = match answer {
            Answer::Granted(grant) => Reply::Granted(grant.id),
            Answer::Refused { id, .. } => Reply::Refused(id),
            Answer::Publish { id, run_id, .. } => Reply::Publish(id, self.table.run_of(&run_id)),
            Answer::Recorded { id } => Reply::Recorded(id),
            Answer::GivenUp { id } => Reply::GivenUp(id),
            Answer::NoResult { .. } => unreachable!("every test passes"),
            Answer::Renewed { given_up, .. } => {
                // It is heard at once, or not at all.
                if self.living(who).is_some() {
                    self.workers[usize::from(who.worker)].renewed(epoch, &given_up);
                }
                return;
            }
            // Who hears that he is to wait asks again, as he does anyway.
            Answer::Wait { .. } | Answer::Leader | Answer::Welcome | Answer::Wanted { .. } => return,
        };
        // The mailbox of a worker that is gone is gone too.
        if self.living(who).is_some() {
            self.way.insert(Message::Answer(who, epoch, reply));
        }
    }

    /// A dispatcher takes the leadership, and reads what it inherits.
    fn lead(&mut self, d: usize) {
        self.table.epoch += 1;
        let (open, storing) = self.table.open();
        let epoch = self.table.epoch;
        let state = State::inherit(epoch, RULES, Arc::default(), open, storing, vec![], *NOW);
        self.dispatchers[d] = Some(Arc::new(Leading { epoch, state }));
        self.decide(d, vec![Event::LinkUp, Event::Waiting(vec![LANE.to_owned()])], Cut::Whole);
        if !self.is_counted() {
            (0..PROCESSES).for_each(|w| self.announce(w, d));
        }
        if self.plant == Plant::NoFencing {
            return;
        }
        for leading in self.dispatchers.iter_mut().flatten().filter(|one| one.epoch < epoch) {
            Arc::make_mut(leading).state.retire();
        }
    }

    fn announce(&mut self, w: usize, d: usize) {
        let who = self.who(w);
        let said = Ask::Announce(Announce { host: who.host(), ..announcement(1) });
        self.decide(d, vec![Event::Asked(who.id(), said)], Cut::Whole);
        if let Some(leading) = self.dispatchers[d].as_ref().filter(|_| self.is_counted()) {
            self.workers[w].admit(leading.epoch);
        }
    }

    fn renew(&mut self, w: usize, d: usize) {
        let ids = self.workers[w].held().collect();
        self.decide(d, vec![Event::Asked(self.who(w).id(), Ask::Renew { ids })], Cut::Whole);
    }

    fn tick(&mut self, d: usize) {
        self.decide(d, vec![Event::Tick, Event::Waiting(vec![LANE.to_owned()])], Cut::Whole);
    }

    fn compare(&mut self, d: usize) {
        let (open, storing) = self.table.open();
        self.decide(d, vec![Event::Open(open, storing)], Cut::Whole);
    }

    fn end_offers(&mut self, d: usize) {
        if let Some(leading) = &mut self.dispatchers[d] {
            for offer in Arc::make_mut(leading).state.offers.values_mut() {
                offer.since = *NOW - LEASE;
            }
        }
        self.decide(d, vec![Event::Tick], Cut::Whole);
    }

    fn end_lease(&mut self, d: usize, id: AttemptId) {
        if let Some(leading) = &mut self.dispatchers[d]
            && let Some(lease) = Arc::make_mut(leading).state.leases.get_mut(&id)
        {
            lease.ends = *NOW;
        }
        self.decide(d, vec![Event::Tick], Cut::Whole);
    }

    fn hear(&mut self, d: usize, from: Who, question: Question, cut: Cut) {
        let ask = question.ask(&self.table);
        self.decide(d, vec![Event::Asked(from.id(), ask)], cut);
    }

    /// A worker takes an offer or hears an answer, and asks on.
    fn deliver(&mut self, w: usize, message: &Message) {
        if !self.is_counted() {
            self.take_at_once(w, message);
        }
        match self.workers[w].hear(message) {
            Some(Heard::Start(id)) => self.started(id),
            Some(Heard::Unwanted(id)) => {
                self.way.insert(Message::Ask(self.who(w), Question::GiveUp(id)));
            }
            None => {}
        }
        if let Some(question) = self.workers[w].question(message.id()) {
            self.way.insert(Message::Ask(self.who(w), question));
        }
    }

    /// A runner starts: the attempts of its job before it have ended in the table.
    fn started(&mut self, id: AttemptId) {
        let earlier = || self.table.attempts.range(AttemptId { job: id.job, attempt: 0 }..id);
        let lasts = |id: AttemptId, row: &Attempt| {
            let runs = |worker: &Worker| worker.held().any(|held| held == id);
            row.by_deposed && self.is_leased(id) && self.living(row.worker).is_some_and(runs)
        };
        let is_open = earlier().any(|(_, row)| row.state != AttemptState::Ended);
        let is_beside = earlier().any(|(id, row)| lasts(*id, row));
        if is_open {
            self.broken = Some("a second attempt started before the first one's lease had ended");
        }
        if is_beside {
            self.broken = Some("a second attempt started beside the first, whose lease lasts");
        }
        if !self.table.attempts.contains_key(&id) {
            self.broken = Some("an attempt started that nobody granted");
        }
    }

    /// Who leads, or believes it, writes `result.tar`.
    fn write(&mut self, job: i64) {
        let Some(run) = self.table.outbox.get(&job).copied() else { return };
        if self.shown.iter().any(|(_, shown)| *shown >= run) {
            self.broken = Some("a run id became visible behind a greater one");
        }
        if self.shown.iter().any(|(shown, _)| *shown == job) {
            self.broken = Some("a job has two results");
        }
        self.shown.push((job, run));
    }

    /// The table hears that `result.tar` is stored; and the leader too, or not before it compares: another dispatcher may have
    /// written it.
    fn stored(&mut self, job: i64, heard: bool) {
        let open = self.table.result_stored(job);
        if let Some(d) = self.leader().filter(|_| heard && open) {
            self.decide(d, vec![Event::Stored(job)], Cut::Whole);
        }
    }
}

impl State {
    /// Keeps of a leader that was deposed what it can still do something with. Whatever it would commit is refused, and
    /// ends it, which it may at any time; what it offers nobody is granted. What it says it says by its leases.
    fn retire(&mut self) {
        self.workers.clear();
        self.offers.clear();
        self.publishers = Publishers::default();
        self.queue = Queue::default();
        self.outstanding.clear();
        self.pausing.clear();
        self.resting.clear();
        self.stirred.clear();
        self.reading.clear();
    }
}

fn grant(id: AttemptId) -> Grant {
    Grant {
        id,
        uuid: Uuid::nil(),
        pair: "noble/amd64".parse().unwrap(),
        context: Context::Ubuntu,
        body: String::new(),
        lists: Listed::default(),
        lease_seconds: LEASE.as_secs(),
        end_seconds: NEVER.as_secs(),
    }
}
