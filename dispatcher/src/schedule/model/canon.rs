//! What tells states apart: all that later steps depend on, with names that depend on no history. So states are one where they
//! differ only in which worker is which, or which dispatcher, in how epochs, lives, attempts and run ids are numbered (their order
//! alone is looked at), or in what nobody can come back to.

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use proofhouse_core::protocol::AttemptId;

use super::super::{Lease, publishers::Publisher};
use super::{
    Leading, Left, NOW, PROCESSES, Plant, Reply, Who, World,
    message::{Message, Question},
    table::Run,
    worker::Phase,
};

/// Names without a history.
struct Names {
    /// The workers change places.
    swap: bool,
    epochs: BTreeSet<i64>,
    lives: BTreeSet<Who>,
    /// Attempts that somebody can come back to, and of each job the last one and the next.
    attempts: BTreeSet<AttemptId>,
    runs: BTreeSet<Run>,
}

fn rank<T: Ord>(set: &BTreeSet<T>, one: &T) -> u8 {
    u8::try_from(set.range(..one).count()).unwrap_or(u8::MAX)
}

fn small(n: impl TryInto<u8>) -> u8 {
    n.try_into().unwrap_or(u8::MAX)
}

impl Names {
    fn worker(&self, w: usize) -> usize {
        if self.swap { PROCESSES - 1 - w } else { w }
    }

    fn who(&self, who: Who) -> [u8; 2] {
        [
            small(self.worker(who.worker.into())),
            rank(&self.lives, &who) - rank(&self.lives, &Who { life: 0, ..who }),
        ]
    }

    fn epoch(&self, epoch: i64) -> u8 {
        rank(&self.epochs, &epoch)
    }

    fn run(&self, run: Run) -> u8 {
        rank(&self.runs, &run)
    }

    fn attempt(&self, id: AttemptId) -> [u8; 2] {
        let before = self.attempts.range(AttemptId { attempt: 0, ..id }..id);
        [small(id.job), small(before.count())]
    }
}

impl World {
    /// Forgets what cannot have an effect any more.
    pub(super) fn prune(&mut self) {
        let way = self.way.iter().filter(|message| self.matters(message)).copied().collect();
        self.way = way;
        if self.plant != Plant::NoFencing {
            self.prune_deposed();
        }
        // A worker that no older leader can speak to any more may as well have heard of the next one that can.
        for w in 0..PROCESSES {
            let me = self.who(w);
            let spoken = self.way.iter().filter_map(|message| match message {
                Message::Offer(_, epoch) => Some(*epoch),
                Message::Answer(to, epoch, _) => (*to == me).then_some(*epoch),
                Message::Ask(..) => None,
            });
            let leaders = self.dispatchers.iter().flatten().map(|leading| leading.epoch);
            let known = self.workers[w].epoch;
            let next = spoken.chain(leaders).filter(|epoch| *epoch >= known).min();
            self.workers[w].epoch = next.unwrap_or(self.table.epoch);
        }
        let ids = self.ids();
        for worker in &mut self.workers {
            worker.over.retain(|id| ids.contains(id));
        }
    }

    /// A deposed leader that nobody asks and listens to can do nothing but find that it is deposed.
    fn prune_deposed(&mut self) {
        let asks: BTreeSet<Who> = self
            .way
            .iter()
            .filter_map(|message| match message {
                Message::Ask(from, _) => Some(*from),
                _ => None,
            })
            .collect();
        let listens = |w: usize, epoch: i64| {
            let worker = &self.workers[w];
            let asks = self.is_counted() && asks.contains(&self.who(w));
            worker.epoch <= epoch && (!worker.attempts.is_empty() || asks)
        };
        let silent = self.left == Left::AnyUnsure;
        let gone: Vec<usize> = (0..PROCESSES)
            .filter(|d| {
                let deposed = self.dispatchers[*d].as_ref().filter(|one| one.epoch < self.table.epoch);
                deposed.is_some_and(|one| silent || !(0..PROCESSES).any(|w| listens(w, one.epoch)))
            })
            .collect();
        for d in gone {
            self.dispatchers[d] = None;
        }
        if self.is_counted() {
            return;
        }
        if self.is_counted() {
            return;
        }
        // Of its leases it speaks with those who hold them.
        for leading in self.dispatchers.iter_mut().flatten().filter(|one| one.epoch < self.table.epoch) {
            let (epoch, workers) = (leading.epoch, &self.workers);
            let speaks = |id: AttemptId, lease: &Lease| {
                let who = Who::of(&lease.worker.id);
                let worker = &workers[usize::from(who.worker)];
                worker.life == who.life && worker.epoch <= epoch && worker.attempts.contains_key(&id)
            };
            if !leading.state.leases.iter().all(|(id, lease)| speaks(*id, lease)) {
                Arc::make_mut(leading).state.leases.retain(|id, lease| speaks(*id, lease));
            }
        }
    }

    /// Attempts that somebody can come back to.
    fn ids(&self) -> BTreeSet<AttemptId> {
        let open = self.table.attempts.iter().filter(|(_, row)| row.is_open()).map(|(id, _)| *id);
        let mut ids: BTreeSet<AttemptId> = self.way.iter().map(Message::id).chain(open).collect();
        for worker in &self.workers {
            ids.extend(worker.attempts.keys());
        }
        for leading in self.dispatchers.iter().flatten() {
            let state = &leading.state;
            ids.extend(state.offers.keys());
            ids.extend(state.leases.keys());
            ids.extend(state.resting.keys());
            ids.extend(state.workers.values().flat_map(|view| &view.holds));
            ids.extend(state.queue.essence().into_iter().flat_map(|lane| lane.window));
        }
        ids
    }

    fn names(&self, ids: &BTreeSet<AttemptId>) -> Names {
        let mut names = Names {
            swap: false,
            epochs: [self.table.epoch].into(),
            lives: BTreeSet::new(),
            attempts: ids.clone(),
            runs: self.shown.iter().map(|(_, run)| *run).collect(),
        };
        for (job, (_, attempts)) in &self.table.jobs {
            names.attempts.extend([*attempts, attempts + 1].map(|attempt| AttemptId { job: *job, attempt }));
        }
        names.runs.extend(self.table.results.values().map(|(run, _)| *run));
        for (_, row) in self.table.attempts.iter().filter(|(id, _)| ids.contains(id)) {
            names.lives.insert(row.worker);
            names.runs.extend(row.run);
        }
        for (w, worker) in self.workers.iter().enumerate() {
            names.lives.insert(self.who(w));
            names.epochs.insert(worker.epoch);
            for phase in worker.attempts.values() {
                match *phase {
                    Phase::Asking(epoch) => _ = names.epochs.insert(epoch),
                    Phase::Uploaded(run) => _ = names.runs.insert(run),
                    Phase::Ended => {}
                }
            }
        }
        for leading in self.dispatchers.iter().flatten() {
            names.epochs.insert(leading.epoch);
            names.lives.extend(leading.state.workers.keys().map(Who::of));
            for lease in leading.state.leases.values() {
                names.lives.insert(Who::of(&lease.worker.id));
                names.runs.extend(lease.publication.as_ref().map(|one| self.table.run_of(&one.run_id)));
            }
        }
        for message in &self.way {
            match *message {
                Message::Offer(_, epoch) => _ = names.epochs.insert(epoch),
                Message::Ask(from, question) => {
                    names.lives.insert(from);
                    match question {
                        Question::Grant(_, epoch) => _ = names.epochs.insert(epoch),
                        Question::Complete(_, run) => _ = names.runs.insert(run),
                        Question::Ended(_) | Question::GiveUp(_) => {}
                    }
                }
                Message::Answer(to, epoch, reply) => {
                    names.lives.insert(to);
                    names.epochs.insert(epoch);
                    if let Reply::Publish(_, run) = reply {
                        names.runs.insert(run);
                    }
                }
            }
        }
        names
    }

    /// The same for all states that can do the same.
    pub(super) fn essence(&self) -> Vec<u8> {
        let ids = self.ids();
        let mut names = self.names(&ids);
        let first = self.essence_as(&ids, &names);
        names.swap = true;
        first.min(self.essence_as(&ids, &names))
    }

    fn essence_as(&self, ids: &BTreeSet<AttemptId>, names: &Names) -> Vec<u8> {
        let table = &self.table;
        let mut all = Vec::with_capacity(300);
        if let Left::Counted(left) = self.left {
            all.extend([left.crashes, left.expiries]);
        }
        all.extend([u8::from(self.broken.is_some()), names.epoch(table.epoch)]);
        for (job, (state, attempts)) in &table.jobs {
            all.push(*state as u8);
            all.extend(names.attempt(AttemptId { job: *job, attempt: *attempts }));
        }
        all.extend(table.open_run().map(|run| names.run(run)));
        let shown = self.shown.iter().flat_map(|(job, run)| [small(*job), names.run(*run)]);
        list(&mut all, shown);
        let results = table.results.iter();
        list(
            &mut all,
            results.flat_map(|(job, (run, stored))| [small(*job), names.run(*run), u8::from(*stored)]),
        );
        list(&mut all, table.outbox.keys().map(|job| small(*job)));
        let mut rows = Vec::new();
        for (id, row) in table.attempts.iter().filter(|(id, _)| ids.contains(id)) {
            rows.extend(names.attempt(*id));
            rows.extend(names.who(row.worker));
            rows.extend([row.state as u8, row.run.map_or(u8::MAX, |run| names.run(run))]);
            rows.push(u8::from(row.run.is_some_and(|run| table.sweeps.contains(&run))));
            rows.push(u8::from(row.by_deposed));
        }
        list(&mut all, rows);
        let mut dispatchers: Vec<Vec<u8>> =
            self.dispatchers.iter().flatten().map(|leading| self.leading(leading, names)).collect();
        dispatchers.sort();
        for one in dispatchers {
            list(&mut all, one);
        }
        for place in 0..PROCESSES {
            let w = names.worker(place);
            list(&mut all, self.worker(w, names));
        }
        let mut way: Vec<[u8; 7]> = self.way.iter().map(|message| encoded(message, names)).collect();
        way.sort_unstable();
        all.extend(way.into_iter().flatten());
        all
    }

    /// What the job table and the store hold, without names: what two ways of exploring are compared by.
    pub(super) fn outline(&self) -> Vec<u8> {
        let table = &self.table;
        let open: Vec<_> = table.attempts.iter().filter(|(_, row)| row.is_open()).collect();
        let runs = open.iter().filter_map(|(_, row)| row.run);
        let runs: BTreeSet<Run> = runs.chain(table.results.values().map(|(run, _)| *run)).collect();
        let mut all: Vec<u8> = table.jobs.values().map(|(state, _)| *state as u8).collect();
        for (id, row) in &open {
            let run = row.run.map_or(u8::MAX, |run| rank(&runs, &run));
            all.extend([small(id.job), row.state as u8, u8::from(self.living(row.worker).is_some()), run]);
        }
        for (job, (run, stored)) in &table.results {
            let is_shown = self.shown.iter().any(|(shown, _)| shown == job);
            all.extend([small(*job), rank(&runs, run), u8::from(*stored), u8::from(is_shown)]);
        }
        if let [(_, one), (_, other)] = &open[..] {
            all.push(u8::from(one.worker == other.worker));
        }
        all
    }

    fn worker(&self, w: usize, names: &Names) -> Vec<u8> {
        let worker = &self.workers[w];
        let [_, life] = names.who(self.who(w));
        let mut all = vec![life, names.epoch(worker.epoch)];
        for (id, phase) in &worker.attempts {
            all.extend(names.attempt(*id));
            all.extend(match *phase {
                Phase::Asking(epoch) => [0, names.epoch(epoch)],
                Phase::Ended => [1, 0],
                Phase::Uploaded(run) => [2, names.run(run)],
            });
        }
        all.push(u8::MAX);
        all.extend(worker.over.iter().flat_map(|id| names.attempt(*id)));
        all
    }

    /// Not among it: fairness between lanes, and the health of hosts, for there is one lane and no host fails.
    fn leading(&self, Leading { epoch, state }: &Leading, names: &Names) -> Vec<u8> {
        let mut all = vec![names.epoch(*epoch)];
        let mut workers: Vec<Vec<u8>> = state
            .workers
            .iter()
            .map(|(id, view)| {
                let holds = view.holds.iter().flat_map(|id| names.attempt(*id));
                names.who(Who::of(id)).into_iter().chain(holds).collect()
            })
            .collect();
        workers.sort();
        for one in workers {
            list(&mut all, one);
        }
        list(&mut all, state.offers.keys().flat_map(|id| names.attempt(*id)));
        for (id, lease) in &state.leases {
            all.extend(names.attempt(*id));
            all.extend(names.who(Who::of(&lease.worker.id)));
            let run = lease.publication.as_ref().map(|one| names.run(self.table.run_of(&one.run_id)));
            all.extend([run.unwrap_or(u8::MAX), u8::from(lease.ends <= *NOW)]);
        }
        all.push(u8::MAX);
        for publisher in state.publishers.all() {
            all.extend(match publisher {
                Publisher::Attempt(id) => names.attempt(id),
                Publisher::Job(job) => [small(job), u8::MAX],
            });
        }
        let flags = [!state.pausing.is_empty(), !state.stirred.is_empty(), !state.reading.is_empty()];
        list(&mut all, flags.map(u8::from));
        list(&mut all, state.resting.keys().flat_map(|id| names.attempt(*id)));
        for lane in state.queue.essence() {
            list(&mut all, lane.window.iter().flat_map(|id| names.attempt(*id)));
            all.extend([
                small(lane.after),
                u8::from(lane.whole),
                small(lane.offered),
                u8::from(lane.in_line),
            ]);
        }
        all
    }
}

/// A list and its length.
fn list(all: &mut Vec<u8>, items: impl IntoIterator<Item = u8>) {
    let place = all.len();
    all.push(0);
    all.extend(items);
    all[place] = small(all.len() - place - 1);
}

fn encoded(message: &Message, names: &Names) -> [u8; 7] {
    let ([job, attempt], [worker, life]) = match message {
        Message::Offer(id, _) => (names.attempt(*id), [0, 0]),
        Message::Ask(who, question) => (names.attempt(question.id()), names.who(*who)),
        Message::Answer(who, _, reply) => (names.attempt(reply.id()), names.who(*who)),
    };
    let [kind, more, epoch] = match *message {
        Message::Offer(_, epoch) => [0, 0, names.epoch(epoch)],
        Message::Ask(_, Question::Grant(_, epoch)) => [1, 0, names.epoch(epoch)],
        Message::Ask(_, Question::Ended(_)) => [2, 0, 0],
        Message::Ask(_, Question::Complete(_, run)) => [3, names.run(run), 0],
        Message::Ask(_, Question::GiveUp(_)) => [4, 0, 0],
        Message::Answer(_, epoch, Reply::Granted(_)) => [5, 0, names.epoch(epoch)],
        Message::Answer(_, epoch, Reply::Refused(_)) => [6, 0, names.epoch(epoch)],
        Message::Answer(_, epoch, Reply::Publish(_, run)) => [7, names.run(run), names.epoch(epoch)],
        Message::Answer(_, epoch, Reply::Recorded(_)) => [8, 0, names.epoch(epoch)],
        Message::Answer(_, epoch, Reply::GivenUp(_)) => [9, 0, names.epoch(epoch)],
    };
    [kind, job, attempt, worker, life, more, epoch]
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.essence().hash(hasher);
    }
}

/// As the checker tells states apart.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}
