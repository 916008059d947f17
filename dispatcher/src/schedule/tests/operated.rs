//! What operators and faults do between the offer and the end of a job, and pools that share jobs and workers.

use proofhouse_core::{protocol::Announce, queue::Cap};

use super::*;

fn cap(kind: &str, name: &str, most: i64) -> Cap {
    Cap { kind: kind.to_owned(), name: name.to_owned(), most, person: String::new(), since_us: 0 }
}

fn offers(actions: &[Action]) -> Vec<(String, i64)> {
    actions
        .iter()
        .filter_map(|a| if let Action::Offer(p, i) = a { Some((p.to_string(), i.job)) } else { None })
        .collect()
}

/// A table by lanes.
fn answered(state: &mut State, mut actions: Vec<Action>, table: &[Candidate], now: Instant) -> Vec<Action> {
    while let Some(place) = actions.iter().position(|a| matches!(a, Action::Read(..))) {
        let Action::Read(pool, lanes, limit) = actions.remove(place) else { unreachable!() };
        let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for (lane, after) in &lanes {
            let some: Vec<_> =
                table.iter().filter(|c| c.lane == *lane && c.id > *after).take(limit).cloned().collect();
            if !some.is_empty() {
                found.insert(lane.clone(), some);
            }
        }
        actions.extend(state.decide(Event::Read(pool, lanes, limit, found), now));
    }
    actions
}

fn at(lane: &str, id: i64) -> Candidate {
    Candidate { lane: lane.to_owned(), ..candidate(id, 0) }
}

fn give(state: &mut State, n: u128, id: AttemptId, used: Use, now: Instant) -> Vec<Action> {
    let subject = Subject {
        series: Series {
            container: "autopkgtest-noble".parse().unwrap(),
            pair: "noble/amd64".parse().unwrap(),
            package: "green".parse().unwrap(),
        },
        tried_before: 0,
        baseline: false,
    };
    let g = Granted {
        id,
        worker: WorkerRef { id: worker(n), host: "h".to_owned() },
        used,
        subject,
        end: Duration::from_secs(3600),
        answer: Answer::Refused { id, pause_seconds: 0 },
    };
    state.decide(Event::Granted(Box::new(g)), now)
}

fn says(state: &mut State, slots: u32, now: Instant) -> Vec<Action> {
    state.decide(Event::Asked(worker(1), Ask::Announce(announcement(slots))), now)
}

fn fresh(now: Instant, rules_: PoolRules) -> State {
    State::inherit(1, rules(), Arc::new(rules_), vec![], vec![], vec![], now)
}

const RAISED: &str = "10 gates ubuntu noble/amd64 - green/2";
const EMERG: &str = "1000 gates ubuntu noble/amd64 - green/2";
const OTHER: &str = "0 gates ubuntu noble/amd64 - blue/2";

#[test]
fn stale_window_offers_twice_and_loses_slots() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 1, now);
    let mut table: Vec<Candidate> = (1..=4).map(|i| at(LANE, i)).collect();
    let a = state.decide(Event::Waiting(vec![LANE.to_owned()]), now);
    let a = answered(&mut state, a, &table, now);
    assert_eq!(offers(&a).len(), 1);
    give(&mut state, 1, id(1, 1), Use::of_candidate(&at(LANE, 1), pool()), now);
    table.remove(0);
    // An operator raises all that wait of the trigger; the survey finds one lane.
    for c in &mut table {
        c.lane = RAISED.to_owned();
    }
    let a = state.decide(Event::Waiting(vec![RAISED.to_owned()]), now);
    let a = answered(&mut state, a, &table, now);
    assert_eq!(offers(&a), []);
    // The worker has more slots now.
    let a = says(&mut state, 8, now);
    let a = answered(&mut state, a, &table, now);
    assert_eq!(offers(&a).len(), 3, "each once");
    // All are granted and end; then ten others come.
    for i in 2..=4 {
        give(&mut state, 1, id(i, 1), Use::of_candidate(&at(RAISED, i), pool()), now);
    }
    for i in 1..=4 {
        state.decide(Event::Cancelled(id(i, 1)), now);
    }
    let table: Vec<Candidate> = (11..=20).map(|i| at(OTHER, i)).collect();
    let a = state.decide(Event::Waiting(vec![OTHER.to_owned()]), now);
    answered(&mut state, a, &table, now);
    let later = now + Duration::from_secs(100);
    let t = state.decide(Event::Tick, later);
    answered(&mut state, t, &table, later);
    assert_eq!(state.outstanding[&pool()], 8);
    assert_eq!(state.offers.len(), 8, "eight slots are free, ten wait");
}

#[test]
fn an_emergency_that_is_ended_while_on_offer_never_ends() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 2, now);
    let table = vec![at(EMERG, 1)];
    let a = state.decide(Event::Waiting(vec![EMERG.to_owned()]), now);
    let a = answered(&mut state, a, &table, now);
    assert_eq!(offers(&a).len(), 1);
    // `queue emergency --end` moves it to LANE; then a worker takes the offer: the leader reads the job as it is now.
    give(&mut state, 1, id(1, 1), Use::of_candidate(&at(LANE, 1), pool()), now);
    state.decide(Event::Cancelled(id(1, 1)), now);
    let table = vec![at(OTHER, 5)];
    let mut all = Vec::new();
    for s in 0..200 {
        let later = now + Duration::from_secs(s);
        says(&mut state, 2, later);
        let a = state.decide(Event::Waiting(vec![OTHER.to_owned()]), later);
        all.extend(answered(&mut state, a, &table, later));
        let a = state.decide(Event::Tick, later);
        all.extend(answered(&mut state, a, &table, later));
    }
    assert!(!offers(&all).is_empty(), "nothing is offered any more");
}

#[test]
fn another_pool_takes_what_one_may_not() {
    let now = Instant::now();
    let rules_ = PoolRules::parse("[aaa]\narches = ['amd64']\n").unwrap();
    let mut state = fresh(now, rules_);
    let on = |n: u128, host: &str, pool: &str, slots: u32| {
        (
            worker(n),
            Announce { host: host.to_owned(), pools: vec![pool.parse().unwrap()], ..announcement(slots) },
        )
    };
    for (w, a) in [on(1, "bad", "aaa", 1), on(2, "full", "aaa", 1), on(3, "other", "amd64", 1)] {
        state.decide(Event::Asked(w, Ask::Announce(a)), now);
    }
    // The sound host of pool aaa is full.
    give(&mut state, 2, id(100, 1), Use::of_candidate(&at(OTHER, 100), "aaa".parse().unwrap()), now);
    let mut job = at(LANE, 1);
    job.attempts = 1;
    job.failed_on = ["bad".to_owned()].into();
    let table = vec![job];
    let mut all = Vec::new();
    for s in 0..100 {
        let later = now + Duration::from_secs(s);
        for (w, a) in [on(1, "bad", "aaa", 1), on(2, "full", "aaa", 1), on(3, "other", "amd64", 1)] {
            let a = state.decide(Event::Asked(w, Ask::Announce(a)), later);
            all.extend(answered(&mut state, a, &table, later));
        }
        state.decide(Event::Asked(worker(2), Ask::Renew { ids: vec![id(100, 1)] }), later);
        let a = state.decide(Event::Waiting(vec![LANE.to_owned()]), later);
        all.extend(answered(&mut state, a, &table, later));
        let a = state.decide(Event::Tick, later);
        all.extend(answered(&mut state, a, &table, later));
    }
    assert_eq!(
        offers(&all).first(),
        Some(&("amd64".to_owned(), 1)),
        "pool amd64 has a free slot on a host on which it did not fail"
    );
}

#[test]
fn nothing_else_beside_an_emergency_that_pauses() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 1, now);
    let table = vec![at(EMERG, 1), at(OTHER, 2)];
    let a = state.decide(Event::Waiting(vec![EMERG.to_owned(), OTHER.to_owned()]), now);
    let a = answered(&mut state, a, &table, now);
    assert_eq!(offers(&a), [("amd64".to_owned(), 1)]);
    give(&mut state, 1, id(1, 1), Use::of_candidate(&at(EMERG, 1), pool()), now);
    let a = state.decide(Event::Ended(id(1, 1), Fault::Testbed, Some(Duration::from_secs(300))), now);
    let a = answered(&mut state, a, &table[1..], now);
    assert_eq!(offers(&a), [], "the emergency is not done");
}

#[test]
fn an_emergency_goes_before_what_its_workers_do_for_other_pools() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    let both = Announce { pools: vec![pool(), "arm64".parse().unwrap()], ..announcement(1) };
    state.decide(Event::Asked(worker(1), Ask::Announce(both)), now);
    let emergency = "1000 gates ubuntu noble/arm64 - green/2";
    let table = vec![at(OTHER, 1), at(emergency, 2)];
    let found = state.decide(Event::Surveyed(vec![emergency.to_owned(), OTHER.to_owned()]), now);
    assert_eq!(offers(&answered(&mut state, found, &table, now)), [("arm64".to_owned(), 2)]);
    let used = Use::of_candidate(&at(emergency, 2), "arm64".parse().unwrap());
    give(&mut state, 1, id(2, 1), used, now);
    // It failed, and is to be tried again: the slot is kept for it.
    let ended = state.decide(Event::Ended(id(2, 1), Fault::Testbed, Some(Duration::from_secs(300))), now);
    assert_eq!(offers(&answered(&mut state, ended, &table[..1], now)), []);
    // An operator ended it.
    let found = state.decide(Event::Surveyed(vec![OTHER.to_owned()]), now);
    assert_eq!(offers(&answered(&mut state, found, &table[..1], now)), [("amd64".to_owned(), 1)]);
}

#[test]
fn lanes_at_a_cap_of_their_own_are_not_read_again_and_again() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 1, now);
    state.decide(Event::Controls(Controls { pauses: vec![], caps: vec![cap("trigger", "*", 0)] }), now);
    let lanes: Vec<String> = (0..100).map(|n| format!("0 gates ubuntu noble/amd64 - t{n}/1")).collect();
    let reads = |state: &mut State| {
        let mut actions = state.decide(Event::Surveyed(lanes.clone()), now);
        let mut reads = 0;
        while let Some(Action::Read(pool, asked, limit)) = actions.pop() {
            reads += 1;
            let some = |(lane, after): &(String, i64)| {
                let trigger = lane.rsplit(' ').next().unwrap().to_owned();
                let one = |n: usize| Candidate {
                    trigger: trigger.clone(),
                    ..at(lane, after + 1 + i64::try_from(n).unwrap())
                };
                (lane.clone(), (0..limit).map(one).collect())
            };
            let found = asked.iter().map(some).collect();
            actions = state.decide(Event::Read(pool, asked, limit, found), now);
        }
        reads
    };
    assert!(reads(&mut state) <= 2, "some lanes at once");
    assert_eq!(reads(&mut state), 0);
}

#[test]
fn a_job_that_may_not_go_on_in_one_way_leaves_the_slot_to_one_that_may() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 3, now);
    let caps = vec![cap("package", "a", 1), cap("package", "b", 1)];
    state.decide(Event::Controls(Controls { pauses: vec![], caps }), now);
    let of = |id: i64, package: &str| Candidate { package: package.to_owned(), ..at(LANE, id) };
    let table = [of(1, "a"), of(2, "b"), of(3, "a"), of(4, "b")];
    let found = state.decide(Event::Surveyed(vec![LANE.to_owned()]), now);
    assert_eq!(offers(&answered(&mut state, found, &table, now)).len(), 2);
    for one in &table[..2] {
        give(&mut state, 1, id(one.id, 1), Use::of_candidate(one, pool()), now);
    }
    // That of the second to be looked at.
    let freed = state.decide(Event::Cancelled(id(2, 1)), now);
    assert_eq!(offers(&answered(&mut state, freed, &table[2..], now)), [("amd64".to_owned(), 4)]);
}

#[test]
fn an_emergency_that_is_ended_while_it_runs_holds_nothing_back_any_more() {
    let now = Instant::now();
    let mut state = fresh(now, PoolRules::default());
    says(&mut state, 2, now);
    let table = vec![at(EMERG, 1), at(OTHER, 2)];
    let found = state.decide(Event::Surveyed(vec![EMERG.to_owned(), OTHER.to_owned()]), now);
    assert_eq!(offers(&answered(&mut state, found, &table, now)), [("amd64".to_owned(), 1)]);
    give(&mut state, 1, id(1, 1), Use::of_candidate(&at(EMERG, 1), pool()), now);
    let found = state.decide(Event::Surveyed(vec![OTHER.to_owned()]), now);
    assert_eq!(offers(&answered(&mut state, found, &table[1..], now)), [], "it runs");
    let moved = Inherited {
        id: id(1, 1),
        worker: WorkerRef { id: worker(1), host: "h".to_owned() },
        used: Use::of_candidate(&at(LANE, 1), pool()),
        subject: state.leases[&id(1, 1)].subject.clone(),
        end: Duration::from_secs(3600),
        publication: None,
    };
    let compared = state.decide(Event::Open(vec![moved], vec![]), now);
    assert_eq!(offers(&answered(&mut state, compared, &table[1..], now)), [("amd64".to_owned(), 2)]);
    state.decide(Event::Cancelled(id(1, 1)), now);
    assert!(!state.queue.has_emergency(&pool()), "what was counted is counted off");
}
