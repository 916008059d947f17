use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proofhouse_core::{
    db::Candidate,
    names::Pool,
    queue::{Cap, Controls, Pause, PoolRules, Serving, Situation, Subject},
};
use proptest::prelude::*;

use super::{Next, Queue, Use};

/// A job table, and a pool's slots.
#[derive(Default)]
struct Place {
    queue: Queue,
    table: BTreeMap<String, Vec<Candidate>>,
    running: Vec<Use>,
    slots: usize,
    jobs: i64,
}

fn pool() -> Pool {
    "amd64".parse().unwrap()
}

fn gate(trigger: &str) -> String {
    format!("0 gates ubuntu noble/amd64 - {trigger}")
}

fn person(name: &str) -> String {
    format!("0 people ubuntu noble/amd64 - {name}")
}

impl Place {
    fn with_slots(slots: usize) -> Self {
        Self { slots, ..Self::default() }
    }

    fn add(&mut self, lane: &str, package: &str) {
        self.jobs += 1;
        let key = lane.rsplit(' ').next().unwrap().to_owned();
        let person = lane.contains(" people ");
        let candidate = Candidate {
            id: self.jobs,
            attempts: 0,
            tried_before: 0,
            lane: lane.to_owned(),
            package: package.to_owned(),
            trigger: if person { String::new() } else { key.clone() },
            requesters: if person { key } else { String::new() },
            failed_on: BTreeSet::new(),
        };
        self.table.entry(lane.to_owned()).or_default().push(candidate);
        self.queue.arrived(lane);
    }

    /// Starts the next one, if any may.
    fn start(&mut self) -> Option<Candidate> {
        if self.running.len() >= self.slots {
            return None;
        }
        loop {
            match self.queue.next(&pool(), self.slots, |_| true, |_| false) {
                Next::Job(candidate) => {
                    let used = Use::of_candidate(&candidate, pool());
                    self.queue.withdrawn(&used, true);
                    self.table.get_mut(&candidate.lane).unwrap().retain(|c| c.id != candidate.id);
                    self.running.push(used);
                    return Some(candidate);
                }
                Next::Read(lanes, limit) => {
                    let some = |(lane, after): &(String, i64)| {
                        let behind = self.table.get(lane)?.iter().filter(|candidate| candidate.id > *after);
                        Some((lane.clone(), behind.take(limit).cloned().collect()))
                    };
                    let found = lanes.iter().filter_map(some).collect();
                    self.queue.read(&lanes, limit, found, |_| false);
                }
                Next::Nothing => return None,
            }
        }
    }

    /// Ends the one that has run longest.
    fn end(&mut self) {
        if !self.running.is_empty() {
            let used = self.running.remove(0);
            self.queue.freed(&used);
        }
    }

    /// So many turns of one slot after the other, as the keys of lanes.
    fn turns(&mut self, n: usize) -> Vec<String> {
        let mut keys = Vec::new();
        for _ in 0..n {
            while self.running.len() >= self.slots {
                self.end();
            }
            keys.extend(self.start().map(|c| c.lane.rsplit(' ').next().unwrap().to_owned()));
        }
        keys
    }

    fn control(&mut self, pauses: Vec<Pause>, caps: Vec<Cap>) {
        self.queue.set_controls(Controls { pauses, caps });
    }
}

fn cap(kind: &str, name: &str, most: i64) -> Cap {
    Cap { kind: kind.to_owned(), name: name.to_owned(), most, person: String::new(), since_us: 0 }
}

#[test]
fn triggers_take_turns_however_much_one_of_them_has() {
    let mut place = Place::with_slots(1);
    for _ in 0..200 {
        place.add(&gate("perl/5"), "p");
    }
    assert_eq!(place.turns(2), ["perl/5", "perl/5"]);
    place.add(&gate("green/2"), "g");
    place.add(&gate("green/2"), "g");
    place.add(&gate("blue/2"), "b");
    assert_eq!(place.turns(6), ["perl/5", "green/2", "blue/2", "perl/5", "green/2", "perl/5"]);
    assert_eq!(place.turns(500).len(), 195, "the rest, and nothing twice");
}

#[test]
fn people_go_first_on_half_of_the_slots() {
    let mut place = Place::with_slots(4);
    for n in 0..6 {
        place.add(&gate("green/2"), &format!("g{n}"));
        place.add(&person("joe"), &format!("j{n}"));
    }
    let started: Vec<String> = (0..4).map(|_| place.start().unwrap().package).collect();
    assert_eq!(started, ["j0", "j1", "g0", "g1"]);
    // Where nobody else waits they take all.
    let mut place = Place::with_slots(4);
    for n in 0..6 {
        place.add(&person("joe"), &format!("j{n}"));
    }
    assert_eq!((0..5).filter_map(|_| place.start()).count(), 4);
}

#[test]
fn on_one_slot_people_and_others_take_turns() {
    let mut place = Place::with_slots(1);
    for _ in 0..3 {
        place.add(&gate("green/2"), "g");
        place.add(&person("joe"), "j");
    }
    assert_eq!(place.turns(4), ["joe", "green/2", "joe", "green/2"]);
}

#[test]
fn contexts_by_their_shares_and_nothing_is_left_idle() {
    let mut place = Place::with_slots(1);
    let lane = |context: &str| format!("0 gates {context} noble/amd64 - {context}");
    for _ in 0..200 {
        for context in ["ubuntu", "upstream", "ppa", "huge"] {
            place.add(&lane(context), "x");
        }
    }
    let turns = place.turns(180);
    let count = |context: &str| turns.iter().filter(|turn| *turn == context).count();
    assert_eq!(
        ["ubuntu", "upstream", "ppa", "huge"].map(count),
        [80, 40, 40, 20],
        "four, two, two and one of nine"
    );
    // The rest goes on when some have nothing more.
    assert_eq!(place.turns(1000).len(), 620);
}

#[test]
fn what_operators_raise_goes_first_and_what_they_lower_last() {
    let mut place = Place::with_slots(1);
    place.add("-5 gates ubuntu noble/amd64 - low", "l");
    place.add(&person("joe"), "j");
    place.add("9 gates ubuntu noble/amd64 - high", "h");
    assert_eq!(place.turns(9), ["high", "joe", "low"]);
}

#[test]
fn beside_an_emergency_nothing_else_starts() {
    let mut place = Place::with_slots(2);
    place.add(&person("joe"), "j");
    place.add("1000 gates ubuntu noble/amd64 - fire/1", "f");
    place.control(vec![], vec![cap("pool", "amd64", 0)]);
    assert_eq!(place.start().unwrap().package, "f", "no cap holds it back");
    place.control(vec![], vec![]);
    assert_eq!(place.start(), None, "a slot is free, but it runs still");
    place.end();
    assert_eq!(place.start().unwrap().package, "j");
}

#[test]
fn caps_hold_back_what_they_name_and_nothing_else() {
    for (kind, name) in [("trigger", "perl/5"), ("trigger", "*"), ("package", "p"), ("pool", "amd64")] {
        let mut place = Place::with_slots(9);
        place.control(vec![], vec![cap(kind, name, 2)]);
        for _ in 0..5 {
            place.add(&gate("perl/5"), "p");
        }
        place.add(&gate("green/2"), "g");
        let started: Vec<String> = std::iter::from_fn(|| place.start()).map(|c| c.package).collect();
        let expected: &[&str] = if kind == "pool" { &["p", "g"] } else { &["p", "g", "p"] };
        assert_eq!(started, expected, "{kind} {name}");
        place.end();
        assert_eq!(place.start().unwrap().package, "p", "{kind} {name}");
        assert_eq!(place.start(), None);
        place.control(vec![], vec![]);
        assert_eq!(std::iter::from_fn(|| place.start()).count(), 5 - expected.len());
    }
    let mut place = Place::with_slots(9);
    place.control(vec![], vec![cap("requester", "joe", 1)]);
    place.add(&person("joe"), "j");
    place.add(&person("joe"), "j");
    place.add(&person("ann"), "a");
    assert_eq!(std::iter::from_fn(|| place.start()).count(), 2);
}

#[test]
fn what_comes_behind_jobs_that_a_cap_holds_back_goes_on() {
    let mut place = Place::with_slots(9);
    place.control(vec![], vec![cap("package", "p", 1)]);
    for _ in 0..5 {
        place.add(&gate("perl/5"), "p");
    }
    assert_eq!(std::iter::from_fn(|| place.start()).count(), 1);
    place.add(&gate("perl/5"), "q");
    assert_eq!(place.start().unwrap().package, "q");
    place.end();
    assert_eq!(place.start().unwrap().package, "p");
}

#[test]
fn pauses_hold_until_they_end() {
    let mut place = Place::with_slots(9);
    let pause = |release: Option<&str>, context: Option<&str>| Pause {
        id: 1,
        release: release.map(str::to_owned),
        arch: None,
        context: context.map(str::to_owned),
        person: String::new(),
        reason: String::new(),
        since_us: 0,
    };
    place.add(&gate("green/2"), "g");
    place.control(vec![pause(Some("noble"), None)], vec![]);
    place.add(&gate("blue/2"), "b");
    assert_eq!(place.start(), None);
    place.control(vec![pause(None, Some("ppa"))], vec![]);
    assert_eq!(std::iter::from_fn(|| place.start()).count(), 2);
}

#[test]
fn several_pools_share_a_lane_and_run_each_job_once() {
    let rules = PoolRules::parse("[fast]\narches = ['amd64']\n").unwrap();
    let mut place = Place { queue: Queue::new(rules.into(), Controls::default()), ..Place::with_slots(1) };
    for n in 0..3 {
        place.add(&gate("green/2"), &format!("g{n}"));
    }
    let fast: Pool = "fast".parse().unwrap();
    let Next::Read(lanes, limit) = place.queue.next(&fast, 1, |_| true, |_| false) else { panic!() };
    let found = BTreeMap::from([(gate("green/2"), place.table[&gate("green/2")].clone())]);
    place.queue.read(&lanes, limit, found, |_| false);
    let mut seen = BTreeSet::new();
    for pool in [&fast, &pool(), &fast] {
        let Next::Job(job) = place.queue.next(pool, 1, |_| true, |_| false) else { panic!() };
        assert!(seen.insert(job.id));
    }
    assert_eq!(place.queue.next(&fast, 1, |_| true, |_| false), Next::Nothing);
    assert_eq!(place.queue.lanes(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Add(usize, usize),
    Turn,
    End,
    Cap(usize),
}

fn lanes() -> Vec<String> {
    let mut lanes = vec![gate("a/1"), gate("b/1"), gate("c/1"), person("joe"), person("ann")];
    lanes.extend(["huge", "ppa"].map(|context| format!("0 bulk {context} noble/amd64 - {context}")));
    lanes
}

proptest! {
    /// Whatever comes: while slots fall free, a job that waits starts after a bounded number of others, though more of all
    /// others keep coming.
    #[test]
    fn no_job_starves(
        before in proptest::collection::vec((0usize..7, 0usize..30), 0..7),
        lane in 0usize..7,
        slots in 1usize..6,
    ) {
        let mut place = Place::with_slots(slots);
        let lanes = lanes();
        for (lane, n) in before {
            for _ in 0..n {
                place.add(&lanes[lane], "x");
            }
        }
        place.add(&lanes[lane], "mine");
        let mut ahead = place.table[&lanes[lane]].len();
        let mut turns = 0;
        loop {
            // The others never run out.
            for other in lanes.iter().filter(|other| **other != lanes[lane]) {
                place.add(other, "y");
            }
            while place.running.len() >= slots {
                place.end();
            }
            let started = place.start().expect("something waits and a slot is free");
            if started.package == "mine" {
                break;
            }
            if started.lane == lanes[lane] {
                ahead -= 1;
                turns = 0;
            }
            turns += 1;
            // The least share: every second turn goes to people, one of nine to huge.
            prop_assert!(turns <= 40, "{} waited for more than {turns} turns of others", lanes[lane]);
        }
        prop_assert_eq!(ahead, 1);
    }

    /// Whatever happens: nothing starts twice, nothing is forgotten, caps hold.
    #[test]
    fn each_starts_once(steps in proptest::collection::vec(prop_oneof![
        (0usize..7, 1usize..90).prop_map(|(lane, n)| Step::Add(lane, n)),
        Just(Step::Turn),
        Just(Step::Turn),
        Just(Step::End),
        (0usize..4).prop_map(Step::Cap),
    ], 1..60)) {
        let mut place = Place::with_slots(5);
        let lanes = lanes();
        let mut started = BTreeSet::new();
        let mut most = usize::MAX;
        for step in steps {
            match step {
                Step::Add(lane, n) => (0..n).for_each(|_| place.add(&lanes[lane], "x")),
                Step::Turn => {
                    if let Some(job) = place.start() {
                        prop_assert!(started.insert(job.id));
                        prop_assert!(place.running.len() <= most);
                    }
                }
                Step::End => place.end(),
                Step::Cap(n) => {
                    most = if n == 0 { usize::MAX } else { n };
                    let caps = if n == 0 { vec![] } else { vec![cap("package", "x", i64::try_from(n).unwrap())] };
                    place.control(vec![], caps);
                }
            }
        }
        place.control(vec![], vec![]);
        while !place.running.is_empty() || place.table.values().any(|jobs| !jobs.is_empty()) {
            place.end();
            while let Some(job) = place.start() {
                prop_assert!(started.insert(job.id));
            }
        }
        prop_assert_eq!(started.len(), usize::try_from(place.jobs).unwrap());
    }
}

/// What is said of a job's place, and how many started before it in truth.
fn said_and_seen(lanes: &[(String, usize)], chosen: usize, before: usize, slots: usize) -> (f64, f64) {
    let mut place = Place::with_slots(slots);
    let longest = lanes.iter().map(|(_, n)| *n).max().unwrap_or(0);
    for n in 0..longest {
        for (lane, _) in lanes.iter().filter(|(_, jobs)| n < *jobs) {
            place.add(lane, "x");
        }
    }
    let mut situation = Situation::new(0, Arc::default(), Controls::default());
    situation.serving = vec![Serving {
        pools: [pool()].into(),
        host: String::new(),
        slots,
        held: 0,
        able: true,
        aside: false,
    }];
    situation.set_lanes(
        lanes.iter().map(|(lane, n)| (lane.parse().unwrap(), i64::try_from(*n).unwrap())).collect::<Vec<_>>(),
    );
    let mine = place.table[&lanes[chosen].0][before].id;
    let subject = Subject {
        lane: Some(lanes[chosen].0.clone()),
        before: i64::try_from(before).unwrap(),
        ..Subject::default()
    };
    let said = situation.explain(&subject).place.unwrap();
    let mut seen = 0;
    loop {
        while place.running.len() >= slots {
            place.end();
        }
        match place.start() {
            Some(job) if job.id == mine => break,
            Some(_) => seen += 1,
            None => panic!("it waits and does not start"),
        }
    }
    (f64::from(u32::try_from(said).unwrap()), f64::from(seen))
}

#[test]
fn a_place_is_near_the_truth() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let mut random = StdRng::seed_from_u64(4);
    let mut errors = Vec::new();
    for _ in 0..300 {
        let size =
            |random: &mut StdRng| 1 + 10usize.pow(random.random_range(0..3)) * random.random_range(1..4);
        let mut lanes: Vec<(String, usize)> = Vec::new();
        for n in 0..random.random_range(1..9) {
            let context = ["ubuntu", "ubuntu", "ubuntu", "ppa", "huge"][random.random_range(0..5)];
            let level = if random.random_bool(0.1) { 3 } else { 0 };
            let lane = match random.random_range(0..4) {
                0 => person(&format!("p{n}")),
                _ => format!("{level} gates {context} noble/amd64 - t{n}/1"),
            };
            lanes.push((lane, size(&mut random)));
        }
        let chosen = random.random_range(0..lanes.len());
        let before = random.random_range(0..lanes[chosen].1);
        let (said, seen) = said_and_seen(&lanes, chosen, before, random.random_range(2..40));
        errors.push((said - seen).abs() / seen.max(10.0));
    }
    errors.sort_by(f64::total_cmp);
    let at = |part: usize| errors[errors.len() * part / 100];
    eprintln!("error of places: median {:.3}, p90 {:.3}, most {:.3}", at(50), at(90), at(99));
    assert!(at(50) < 0.05 && at(90) < 0.25, "median {}, p90 {}", at(50), at(90));
}

proptest! {
    #[test]
    fn a_place_in_one_lane_is_exact(n in 1usize..300, part in 0usize..100, slots in 1usize..9) {
        let (said, seen) = said_and_seen(&[(gate("green/2"), n)], 0, n * part / 100, slots);
        prop_assert!((said - seen).abs() < 0.5, "{said} {seen}");
    }
}
