//! The dispatcher's own queue before simulated slots.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    sync::Arc,
};

use proofhouse_core::{
    db::Candidate,
    names::Pool,
    queue::{Class, Controls, Durations, InUse, Lane, Running, Serving, Situation, Subject},
};
use proofhouse_dispatcher::schedule::{Next, Queue, Use};

use crate::arrivals::{Arch, Arrival, HOUR, Mode, Who};

/// Every so manieth job is asked when it will start.
const ASKED: usize = 25;
/// So many of the attempts that ended last tell how long one takes.
const REMEMBERED: usize = 500;
/// How often the queue's length is written down.
const MEASURED: f64 = 600.0;

/// What became of a scenario.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Of each job: who waited, for what, when it came, how long it waited.
    pub(crate) waits: Vec<(Who, String, f64, f64)>,
    /// At a time, how many waited, by who.
    pub(crate) lengths: Vec<(f64, [usize; 3])>,
    /// What was said and what came, in seconds.
    pub(crate) estimates: Vec<(f64, f64)>,
}

struct World<'a> {
    arch: &'a Arch,
    arrivals: &'a [Arrival],
    pool: Pool,
    queue: Queue,
    table: BTreeMap<String, (Lane, VecDeque<Candidate>)>,
    /// Microseconds, job, what it uses.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    running: BTreeMap<usize, Use>,
    lately: VecDeque<f64>,
    people: VecDeque<(f64, Lane)>,
    waiting: [usize; 3],
    said: BTreeMap<usize, f64>,
    outcome: Outcome,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of a few days")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a time of a few days")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A job's number in a job table: from 1.
fn number(job: usize) -> i64 {
    i64::try_from(job + 1).expect("few")
}

/// Runs a scenario until nothing waits.
pub(crate) fn run(arch: &Arch, arrivals: &[Arrival], mode: Mode) -> Outcome {
    let mut world = World {
        arch,
        arrivals,
        pool: arch.name.parse().expect("a name"),
        queue: Queue::new(Arc::default(), Controls::default()),
        table: BTreeMap::new(),
        ends: BinaryHeap::new(),
        running: BTreeMap::new(),
        lately: VecDeque::new(),
        people: VecDeque::new(),
        waiting: [0; 3],
        said: BTreeMap::new(),
        outcome: Outcome::default(),
    };
    let (mut next, mut measured) = (0, 0.0);
    loop {
        let comes = arrivals.get(next).map(|arrival| arrival.at);
        let ends = world.ends.peek().map(|Reverse((at, _))| seconds(*at));
        let now = match (comes, ends) {
            (Some(comes), Some(ends)) => comes.min(ends),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return world.outcome,
        };
        while measured <= now {
            world.outcome.lengths.push((measured, world.waiting));
            measured += MEASURED;
        }
        if comes == Some(now) {
            // What came together is there together.
            let first = next;
            while arrivals.get(next).is_some_and(|arrival| arrival.at <= now) {
                world.comes(next, mode);
                next += 1;
            }
            for job in first..next {
                world.ask(job, mode, now);
            }
        } else {
            world.ends_one();
        }
        world.fill(now);
    }
}

impl World<'_> {
    fn comes(&mut self, job: usize, mode: Mode) {
        let arrival = &self.arrivals[job];
        let text = arrival.lane(mode, self.arch.name);
        let lane: Lane = text.parse().expect("a lane");
        let person = lane.class == Class::People;
        if person {
            self.people.push_back((arrival.at, lane.clone()));
        }
        let candidate = Candidate {
            id: number(job),
            attempts: 0,
            tried_before: 0,
            lane: text.clone(),
            package: String::new(),
            trigger: if person { String::new() } else { arrival.key.clone() },
            requesters: if person { arrival.key.clone() } else { String::new() },
            failed_on: BTreeSet::new(),
        };
        self.queue.wake(&text);
        self.table.entry(text).or_insert_with(|| (lane, VecDeque::new())).1.push_back(candidate);
        self.waiting[arrival.who as usize] += 1;
    }

    /// Says when a job will start.
    fn ask(&mut self, job: usize, mode: Mode, now: f64) {
        if !job.is_multiple_of(ASKED) || self.lately.len() < REMEMBERED {
            return;
        }
        let text = self.arrivals[job].lane(mode, self.arch.name);
        let Some((_, line)) = self.table.get(&text) else { return };
        let id = number(job);
        let before = line.partition_point(|candidate| candidate.id < id);
        let subject =
            Subject { lane: Some(text), before: i64::try_from(before).expect("few"), ..Subject::default() };
        if let Some(estimate) = self.situation(now).explain(&subject).estimate {
            self.said.insert(job, estimate.likely_seconds);
        }
    }

    fn situation(&mut self, now: f64) -> Situation {
        let mut situation = Situation::new(0, Arc::default(), Controls::default());
        situation.leader = true;
        let (slots, held) = (self.arch.slots, self.running.len());
        let pools = [self.pool.clone()].into();
        situation.serving =
            vec![Serving { pools, host: String::new(), slots, held, able: true, aside: false }];
        let mut in_use = InUse::default();
        for used in self.running.values() {
            let lane = used.lane.parse().ok();
            let running = Running {
                package: &used.package,
                trigger: &used.trigger,
                requester: &used.requester,
                private: false,
            };
            in_use.add(&used.pool, lane.as_ref(), &running);
        }
        situation.in_use = in_use;
        let n = f64::from(u32::try_from(self.lately.len()).expect("few"));
        let mean = self.lately.iter().sum::<f64>() / n;
        let squares = self.lately.iter().map(|took| (took - mean).powi(2)).sum::<f64>() / n;
        situation.durations.insert(self.pool.clone(), Durations { mean, deviation: squares.sqrt() });
        let lanes =
            self.table.values().map(|(lane, line)| (lane.clone(), i64::try_from(line.len()).expect("few")));
        situation.set_lanes(lanes);
        while self.people.front().is_some_and(|(at, _)| *at < now - HOUR) {
            self.people.pop_front();
        }
        situation.set_arrivals(self.people.iter().map(|(_, lane)| (lane.clone(), 1)), HOUR);
        situation
    }

    fn ends_one(&mut self) {
        let Some(Reverse((_, job))) = self.ends.pop() else { return };
        if let Some(used) = self.running.remove(&job) {
            self.queue.freed(&used);
        }
        self.lately.push_back(self.arrivals[job].takes);
        if self.lately.len() > REMEMBERED {
            self.lately.pop_front();
        }
    }

    fn fill(&mut self, now: f64) {
        while self.running.len() < self.arch.slots {
            match self.queue.next(&self.pool, self.arch.slots, |_| true, |_| false) {
                Next::Job(candidate) => self.start(&candidate, now),
                Next::Read(lanes, limit) => {
                    let first = |(lane, after): &(String, i64)| {
                        let (_, line) = self.table.get(lane)?;
                        let from = line.partition_point(|candidate| candidate.id <= *after);
                        Some((lane.clone(), line.iter().skip(from).take(limit).cloned().collect()))
                    };
                    let found = lanes.iter().filter_map(first).collect();
                    self.queue.read(&lanes, limit, found, |_| false);
                }
                Next::Nothing => return,
            }
        }
    }

    fn start(&mut self, candidate: &Candidate, now: f64) {
        let job = usize::try_from(candidate.id - 1).expect("from one");
        let used = Use::of_candidate(candidate, self.pool.clone());
        self.queue.withdrawn(&used, true);
        if let Some((_, line)) = self.table.get_mut(&candidate.lane) {
            // It stands at the front, but for what was chosen before it.
            if let Some(place) = line.iter().position(|waiting| waiting.id == candidate.id) {
                line.remove(place);
            }
            if line.is_empty() {
                self.table.remove(&candidate.lane);
            }
        }
        let arrival = &self.arrivals[job];
        self.ends.push(Reverse((micros(now + arrival.takes), job)));
        self.running.insert(job, used);
        self.waiting[arrival.who as usize] -= 1;
        let waited = now - arrival.at;
        self.outcome.waits.push((arrival.who, arrival.key.clone(), arrival.at, waited));
        if let Some(said) = self.said.remove(&job) {
            self.outcome.estimates.push((said, waited));
        }
    }
}
