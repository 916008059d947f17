//! Decisions, without anything around them; and random histories that must keep the promises.

use proofhouse_core::{
    outcome::{RuleHit, RuleVerdict},
    protocol::{Announce, Ended},
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

mod operated;

const LEASE: Duration = Duration::from_secs(60);

pub(super) fn rules() -> Rules {
    Rules { lease: LEASE, offer: Duration::from_secs(60), attempts: 3, pause: Duration::from_secs(300) }
}

pub(super) fn pool() -> Pool {
    "amd64".parse().unwrap()
}

pub(super) fn worker(n: u128) -> WorkerId {
    WorkerId { name: format!("w{n}").parse().unwrap(), incarnation: Uuid::from_u128(n) }
}

fn series(package: &str) -> Series {
    Series {
        container: "autopkgtest-noble".parse().unwrap(),
        pair: "noble/amd64".parse().unwrap(),
        package: package.parse().unwrap(),
    }
}

fn subject(package: &str) -> Subject {
    Subject { series: series(package), tried_before: 0, baseline: false }
}

pub(super) fn id(job: i64, attempt: i32) -> AttemptId {
    AttemptId { job, attempt }
}

fn announce(slots: u32) -> Ask {
    announce_on("h", slots)
}

fn announce_on(host: &str, slots: u32) -> Ask {
    Ask::Announce(Announce { host: host.to_owned(), ..announcement(slots) })
}

pub(super) fn announcement(slots: u32) -> Announce {
    Announce {
        host: "h".to_owned(),
        pools: vec![pool()],
        slots,
        holds: vec![],
        draining: false,
        unable: None,
        version: String::new(),
        wanted: Wanted::Work,
        leaving: false,
    }
}

pub(super) const LANE: &str = "0 gates ubuntu noble/amd64 - green/2";

pub(super) fn candidate(id: i64, attempts: i64) -> Candidate {
    Candidate {
        id,
        attempts,
        tried_before: 0,
        lane: LANE.to_owned(),
        package: "green".to_owned(),
        trigger: "green/2".to_owned(),
        requesters: String::new(),
        failed_on: BTreeSet::new(),
    }
}

/// These wait in the table, and the state hears of them.
pub(super) fn work(state: &mut State, waiting: &[Candidate], now: Instant) -> Vec<Action> {
    let actions = state.decide(Event::Waiting(vec![LANE.to_owned()]), now);
    reads(state, actions, waiting, now)
}

/// Answers what is asked of the table.
pub(super) fn reads(
    state: &mut State,
    mut actions: Vec<Action>,
    waiting: &[Candidate],
    now: Instant,
) -> Vec<Action> {
    while let Some(place) = actions.iter().position(|action| matches!(action, Action::Read(..))) {
        let Action::Read(pool, lanes, limit) = actions.remove(place) else { unreachable!() };
        let after = lanes[0].1;
        let behind = waiting.iter().filter(|candidate| candidate.id > after).cloned().collect();
        let found = BTreeMap::from([(LANE.to_owned(), behind)]);
        actions.extend(state.decide(Event::Read(pool, lanes, limit, found), now));
    }
    actions
}

fn ticked(state: &mut State, waiting: &[Candidate], now: Instant) -> Vec<Action> {
    let actions = state.decide(Event::Tick, now);
    reads(state, actions, waiting, now)
}

fn used() -> Use {
    Use::of_candidate(&candidate(1, 0), pool())
}

fn ended(id: AttemptId, code: i32) -> Ended {
    let version = Some("green 2".to_owned());
    Ended {
        id,
        exit_code: ExitCode(code),
        version,
        duration_seconds: 1,
        fault: None,
        detail: String::new(),
        rule: None,
    }
}

/// A code 16 that a rule lays at the package's door.
fn with_rule(ended: Ended) -> Ended {
    let rule = RuleHit { name: "kernel-panic".to_owned(), verdict: RuleVerdict::Package };
    Ended { rule: (ended.exit_code == ExitCode::TESTBED).then_some(rule), ..ended }
}

fn new(now: Instant) -> State {
    State::inherit(1, rules(), Arc::default(), vec![], vec![], vec![], now)
}

fn grant(state: &mut State, n: u128, id: AttemptId, package: &str, now: Instant) {
    work(state, &[candidate(id.job, i64::from(id.attempt) - 1)], now);
    let holder = WorkerRef { id: worker(n), host: "h".to_owned() };
    let asked = state.decide(Event::Asked(worker(n), Ask::Grant { id, epoch: 1 }), now);
    assert!(asked.contains(&Action::Grant(id, holder.clone(), pool())), "{asked:?}");
    let answer = Answer::Refused { id, pause_seconds: 0 };
    let granted = Granted {
        id,
        worker: holder,
        used: used(),
        subject: subject(package),
        end: Duration::from_secs(100_000),
        answer,
    };
    state.decide(Event::Granted(Box::new(granted)), now);
}

fn publication(package: &str) -> Publication {
    Publication {
        series: series(package),
        run_id: "20261121_053634_abcde@".parse().unwrap(),
        exit_code: ExitCode(0),
        rule: None,
    }
}

#[test]
fn as_many_offers_as_free_slots() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(2)), now);
    let waiting: Vec<Candidate> = (1..=5).map(|id| candidate(id, 0)).collect();
    let offers = work(&mut state, &waiting, now);
    assert_eq!(offers, [Action::Offer(pool(), id(1, 1)), Action::Offer(pool(), id(2, 1))]);
    assert_eq!(work(&mut state, &waiting, now), []);
    // Nobody took them: after a minute they are offered again.
    let later = now + Duration::from_secs(61);
    state.decide(Event::Asked(worker(1), announce(2)), later);
    assert_eq!(ticked(&mut state, &waiting, later), offers);
}

#[test]
fn a_worker_that_drains_or_is_silent_gets_nothing() {
    let now = Instant::now();
    let Ask::Announce(said) = announce(2) else { unreachable!() };
    let draining = Announce { draining: true, ..said.clone() };
    let unable = Announce { unable: Some("disk".to_owned()), ..said.clone() };
    for (said, later) in [(draining, now), (unable, now), (said, now + Duration::from_secs(121))] {
        let mut state = new(now);
        state.decide(Event::Asked(worker(1), Ask::Announce(said)), now);
        state.decide(Event::Tick, later);
        assert_eq!(work(&mut state, &[candidate(1, 0)], later), []);
    }
}

#[test]
fn only_this_epochs_offers_are_granted() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(1)), now);
    work(&mut state, &[candidate(1, 0)], now);
    let outdated = state.decide(Event::Asked(worker(1), Ask::Grant { id: id(1, 1), epoch: 0 }), now);
    assert!(matches!(outdated[..], [Action::Recall(..)]), "{outdated:?}");
    let unknown = state.decide(Event::Asked(worker(1), Ask::Grant { id: id(9, 1), epoch: 1 }), now);
    assert!(matches!(unknown[..], [Action::Recall(..)]), "{unknown:?}");
    grant(&mut state, 1, id(1, 1), "green", now);
    let other = state.decide(Event::Asked(worker(2), Ask::Grant { id: id(1, 1), epoch: 1 }), now);
    assert_eq!(other, [Action::Answer(worker(2), Answer::Refused { id: id(1, 1), pause_seconds: 0 })]);
    let again = state.decide(Event::Asked(worker(1), Ask::Grant { id: id(1, 1), epoch: 1 }), now);
    assert!(matches!(again[..], [Action::Recall(..)]), "the same answer, from the table");
}

#[test]
fn leases_run_out_unless_renewed_and_never_while_the_link_is_down() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(1)), now);
    grant(&mut state, 1, id(1, 1), "green", now);
    let renewed =
        state.decide(Event::Asked(worker(1), Ask::Renew { ids: vec![id(1, 1), id(2, 1)] }), now + LEASE / 2);
    let answer = Answer::Renewed { held: vec![id(1, 1)], given_up: vec![id(2, 1)], lease_seconds: 60 };
    assert!(renewed.contains(&Action::Answer(worker(1), answer)));
    let lost = |actions: &[Action]| {
        actions.iter().any(|a| matches!(a, Action::End(e) if e.fault == Fault::LeaseLost))
    };
    assert!(!lost(&state.decide(Event::Tick, now + LEASE)));
    state.decide(Event::LinkDown, now + LEASE);
    assert!(!lost(&state.decide(Event::Tick, now + LEASE * 9)));
    let hailed = state.decide(Event::LinkUp, now + LEASE * 9);
    assert!(hailed.contains(&Action::Hail));
    assert!(!lost(&state.decide(Event::Tick, now + LEASE * 9)), "the count starts anew");
    assert_eq!(state.decide(Event::Echoed, now + LEASE * 9), [], "nobody waits for it");
    assert_eq!(state.decide(Event::Tick, now + LEASE * 10), [Action::Echo]);
    assert!(lost(&state.decide(Event::Echoed, now + LEASE * 10)));
}

#[test]
fn no_lease_ends_before_the_link_was_seen_to_live() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(2)), now);
    grant(&mut state, 1, id(1, 1), "green", now);
    grant(&mut state, 1, id(2, 1), "green", now + second);
    assert_eq!(state.decide(Event::Tick, now + LEASE), [Action::Echo]);
    assert_eq!(state.decide(Event::Tick, now + LEASE + second), [], "it is on its way");
    // It lives: what was renewed stands before the echo, and what ran out behind it needs another one.
    let soon = now + LEASE + second * 2;
    state.decide(Event::Asked(worker(1), Ask::Renew { ids: vec![id(1, 1)] }), soon);
    assert_eq!(state.decide(Event::Echoed, soon), []);
    assert_eq!(state.decide(Event::Tick, soon), [Action::Echo]);
    let ended = state.decide(Event::Echoed, soon + second);
    let [Action::End(end)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((end.id, end.fault), (id(2, 1), Fault::LeaseLost));
    state.decide(Event::Ended(end.id, end.fault, None), soon + second);
    // Silence for long: one that may be lost is sent again, and renewals may have been lost, too.
    let next = soon + LEASE;
    assert_eq!(state.decide(Event::Tick, next), [Action::Echo]);
    assert_eq!(state.decide(Event::Tick, next + LEASE), [Action::Echo]);
    assert_eq!(state.decide(Event::Echoed, next + LEASE), []);
    assert_eq!(state.decide(Event::Tick, next + LEASE * 2 - second), []);
    assert_eq!(state.decide(Event::Tick, next + LEASE * 2), [Action::Echo]);
    state.decide(Event::LinkUp, next + LEASE * 2);
    let next = next + LEASE * 2;
    assert_eq!(state.decide(Event::Echoed, next), [], "the link is new");
}

#[test]
fn verdicts() {
    let cases = [
        (0, Some("green 2"), None, None),
        (8, None, None, None),
        (4, Some("green 2"), None, None),
        (4, None, None, Some(Fault::NoVersion)),
        (12, Some(" "), None, Some(Fault::NoVersion)),
        (16, Some("green 2"), None, Some(Fault::Testbed)),
        (20, None, None, Some(Fault::Unexpected)),
        (-9, Some("green 2"), None, Some(Fault::Killed)),
        (0, Some("green 2"), Some(Fault::DiskFull), Some(Fault::DiskFull)),
        (-15, None, Some(Fault::TimedOut), Some(Fault::TimedOut)),
    ];
    for (code, version, seen, fault) in cases {
        let now = Instant::now();
        let mut state = new(now);
        state.decide(Event::Asked(worker(1), announce(1)), now);
        grant(&mut state, 1, id(1, 1), "green", now);
        let said = Ended { version: version.map(str::to_owned), fault: seen, ..ended(id(1, 1), code) };
        let actions = state.decide(Event::Asked(worker(1), Ask::Ended(said)), now);
        match (&actions[..], fault) {
            ([Action::OpenPublication(..)], None) => {}
            ([Action::End(end)], Some(fault)) => assert_eq!(end.fault, fault),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[test]
fn pauses_grow_and_the_last_attempt_parks() {
    let rules = rules();
    let pause = |attempt, fault| rules.pause_after(attempt, fault).map(|p| p.as_secs());
    assert_eq!(pause(1, Fault::Testbed), Some(300));
    assert_eq!(pause(2, Fault::Testbed), Some(600));
    assert_eq!(pause(3, Fault::Testbed), None);
    assert_eq!(pause(1, Fault::LeaseLost), Some(0));
    assert_eq!(pause(3, Fault::LeaseLost), None, "a job that kills its workers ends up parked");
}

#[test]
fn one_publication_of_a_series_at_a_time() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(2)), now);
    grant(&mut state, 1, id(1, 1), "green", now);
    grant(&mut state, 1, id(2, 1), "green", now);
    let first = state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(1, 1), 0))), now);
    assert!(matches!(first[..], [Action::OpenPublication(..)]));
    state.decide(Event::Opened(id(1, 1), Some(publication("green"))), now);
    let wait = [Action::Answer(worker(1), Answer::Wait { id: id(2, 1) })];
    assert_eq!(state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(2, 1), 0))), now), wait);
    let complete =
        Ask::Complete { id: id(1, 1), run_id: publication("green").run_id, result_tar: "dGFy".to_owned() };
    let completing = state.decide(Event::Asked(worker(1), complete), now);
    assert!(matches!(completing[..], [Action::Complete(..)]), "{completing:?}");
    state.decide(Event::Completed(id(1, 1), true), now);
    // Recorded, but result.tar is not stored yet.
    assert_eq!(state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(2, 1), 0))), now), wait);
    state.decide(Event::Stored(1), now);
    let second = state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(2, 1), 0))), now);
    assert!(matches!(second[..], [Action::OpenPublication(..)]));
}

#[test]
fn a_new_leader_inherits_leases_and_open_publications() {
    let now = Instant::now();
    let holder = WorkerRef { id: worker(1), host: "h".to_owned() };
    let open = Inherited {
        id: id(1, 1),
        worker: holder,
        used: used(),
        subject: subject("green"),
        end: LEASE * 100,
        publication: Some(publication("green")),
    };
    let mut state =
        State::inherit(2, rules(), Arc::default(), vec![open], vec![(5, series("blue"))], vec![], now);
    assert!(state.is_publishing(&series("green")) && state.is_publishing(&series("blue")));
    let again = state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(1, 1), 0))), now);
    assert!(matches!(again[..], [Action::Answer(_, Answer::Publish { .. })]), "{again:?}");
    state.decide(Event::Asked(worker(1), announce(1)), now);
    assert_eq!(work(&mut state, &[candidate(2, 0)], now), [], "its only slot is taken");
}

#[test]
fn a_database_that_is_away_leaves_the_series_open_to_others() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(1)), now);
    grant(&mut state, 1, id(1, 1), "green", now);
    for _ in 0..2 {
        let ask = Event::Asked(worker(1), Ask::Ended(ended(id(1, 1), 0)));
        assert!(matches!(state.decide(ask, now)[..], [Action::OpenPublication(..)]));
        state.decide(Event::Failed(id(1, 1)), now);
        assert!(!state.is_publishing(&series("green")));
    }
}

#[test]
fn each_pool_reads_what_it_needs_and_no_more() {
    let now = Instant::now();
    let mut state = new(now);
    let pools: Vec<Pool> = ["amd64", "arm64", "armhf"].map(|name| name.parse().unwrap()).into();
    let said = Announce { pools: pools.clone(), ..announcement(2) };
    state.decide(Event::Asked(worker(1), Ask::Announce(said)), now);
    let lane = |pool: &Pool, n: i64| format!("0 gates ubuntu noble/{pool} - green/{n}");
    let lanes = pools.iter().flat_map(|pool| [1, 2, 3].map(|n| lane(pool, n))).collect();
    let mut actions = state.decide(Event::Waiting(lanes), now);
    let (mut reads, mut offers) = (0, 0);
    while let Some(action) = actions.pop() {
        match action {
            Action::Read(pool, lanes, limit) => {
                reads += 1;
                assert!(reads < 20, "it goes round in a circle");
                let one = |(n, (lane, _)): (usize, &(String, i64))| {
                    let id = reads * 100 + i64::try_from(n).unwrap();
                    (lane.clone(), vec![Candidate { lane: lane.clone(), ..candidate(id, 0) }])
                };
                let found = lanes.iter().enumerate().map(one).collect();
                actions.extend(state.decide(Event::Read(pool, lanes, limit, found), now));
            }
            Action::Offer(..) => offers += 1,
            _ => {}
        }
    }
    assert_eq!((reads, offers), (3, 6));
}

/// What a random history does next.
#[derive(Debug, Clone)]
enum Step {
    Announce(u128, u32),
    Arrive(Vec<i64>),
    Ask(u128, i64),
    Renew(u128),
    End(i64, i32),
    Complete(i64),
    GiveUp(i64),
    Wait(u64),
    Stored(i64),
    Link(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let job = 1i64..6;
    prop_oneof![
        (1u128..4, 0u32..3).prop_map(|(w, s)| Step::Announce(w, s)),
        proptest::collection::vec(1i64..6, 0..5).prop_map(Step::Arrive),
        (1u128..4, job.clone()).prop_map(|(w, j)| Step::Ask(w, j)),
        (1u128..4).prop_map(Step::Renew),
        (job.clone(), prop_oneof![Just(0), Just(4), Just(16), Just(20)]).prop_map(|(j, c)| Step::End(j, c)),
        job.clone().prop_map(Step::Complete),
        job.clone().prop_map(Step::GiveUp),
        (0u64..50).prop_map(Step::Wait),
        job.prop_map(Step::Stored),
        any::<bool>().prop_map(Step::Link),
    ]
}

/// A job table that behaves, to answer the actions with.
#[derive(Default)]
struct Table {
    waiting: BTreeMap<i64, i32>,
    held: BTreeMap<AttemptId, WorkerId>,
    publishing: BTreeMap<AttemptId, Publication>,
    storing: BTreeSet<i64>,
    results: Vec<i64>,
}

impl Table {
    fn answer(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Echo => Some(Event::Echoed),
            Action::Read(pool, lanes, limit) => {
                let found = self.waiting.iter().map(|(id, n)| candidate(*id, i64::from(*n))).collect();
                Some(Event::Read(pool, lanes, limit, BTreeMap::from([(LANE.to_owned(), found)])))
            }
            Action::Grant(id, worker, pool) => {
                if self.waiting.get(&id.job) != Some(&(id.attempt - 1)) {
                    return Some(Event::NotGranted(id, worker.id));
                }
                self.waiting.remove(&id.job);
                assert!(self.held.insert(id, worker.id.clone()).is_none(), "granted twice");
                let answer = Answer::Welcome;
                Some(Event::Granted(Box::new(Granted {
                    id,
                    worker,
                    used: Use { pool, ..used() },
                    subject: subject("green"),
                    end: LEASE * 50,
                    answer,
                })))
            }
            Action::OpenPublication(ended, series) => {
                assert!(
                    self.publishing.is_empty() && self.storing.is_empty(),
                    "two publications of one series"
                );
                let publication = Publication { series, ..publication("green") };
                self.publishing.insert(ended.id, publication.clone());
                Some(Event::Opened(ended.id, Some(publication)))
            }
            Action::End(end) => {
                self.publishing.remove(&end.id);
                if self.held.remove(&end.id).is_some() && end.pause.is_some() {
                    self.waiting.insert(end.id.job, end.id.attempt);
                }
                Some(Event::Ended(end.id, end.fault, end.pause))
            }
            Action::Weigh(worker, ended, fault) => {
                let code = (ended.id.job % 2 == 0).then_some(ExitCode(4));
                Some(Event::Weighed(worker, ended, fault, code))
            }
            Action::Complete(id, _, _) => {
                let recorded = self.publishing.remove(&id).is_some();
                if recorded {
                    self.held.remove(&id);
                    self.storing.insert(id.job);
                    self.results.push(id.job);
                }
                Some(Event::Completed(id, recorded))
            }
            _ => None,
        }
    }

    fn attempt_of(&self, job: i64) -> Option<(AttemptId, WorkerId)> {
        self.held.iter().find(|(id, _)| id.job == job).map(|(id, w)| (*id, w.clone()))
    }
}

fn event_of(step: &Step, table: &mut Table, now: &mut Instant) -> Option<Event> {
    let on_attempt = |table: &Table, job: i64, ask: fn(AttemptId, i32) -> Ask, n: i32| {
        table.attempt_of(job).map(|(id, worker)| Event::Asked(worker, ask(id, n)))
    };
    match step {
        Step::Announce(w, slots) => Some(Event::Asked(worker(*w), announce(*slots))),
        Step::Arrive(jobs) => {
            for job in jobs {
                let known = table.attempt_of(*job).is_some() || table.results.contains(job);
                if !known {
                    table.waiting.entry(*job).or_insert(0);
                }
            }
            Some(Event::Nudge)
        }
        Step::Ask(w, job) => {
            let attempt = table.waiting.get(job).map_or(1, |n| n + 1);
            Some(Event::Asked(worker(*w), Ask::Grant { id: id(*job, attempt), epoch: 1 }))
        }
        Step::Renew(w) => {
            let ids = table.held.iter().filter(|(_, h)| **h == worker(*w)).map(|(id, _)| *id).collect();
            Some(Event::Asked(worker(*w), Ask::Renew { ids }))
        }
        Step::End(job, code) => on_attempt(table, *job, |id, n| Ask::Ended(with_rule(ended(id, n))), *code),
        Step::Complete(job) => on_attempt(
            table,
            *job,
            |id, _| Ask::Complete { id, run_id: publication("green").run_id, result_tar: String::new() },
            0,
        ),
        Step::GiveUp(job) => on_attempt(
            table,
            *job,
            |id, _| Ask::GiveUp { id, fault: Fault::Worker, detail: String::new() },
            0,
        ),
        Step::Wait(seconds) => {
            *now += Duration::from_secs(*seconds);
            Some(Event::Tick)
        }
        Step::Stored(job) => table.storing.remove(job).then_some(Event::Stored(*job)),
        Step::Link(up) => Some(if *up { Event::LinkUp } else { Event::LinkDown }),
    }
}

proptest! {
    #[test]
    fn no_history_breaks_the_promises(steps in proptest::collection::vec(step(), 1..80)) {
        let mut now = Instant::now();
        let mut state = new(now);
        let mut table = Table::default();
        for step in steps {
            let Some(first) = event_of(&step, &mut table, &mut now) else { continue };
            let mut events = std::collections::VecDeque::from([first]);
            while let Some(event) = events.pop_front() {
                for action in state.decide(event, now) {
                    events.extend(table.answer(action));
                }
            }
            // What is held in the table is leased here and nothing else, so that each ends in one way or another.
            let leased: Vec<AttemptId> = state.leases.keys().copied().collect();
            let held: Vec<AttemptId> = table.held.keys().copied().collect();
            prop_assert_eq!(leased, held);
            for view in state.workers.values() {
                prop_assert!(view.holds.iter().all(|id| table.held.contains_key(id)));
            }
        }
        let mut results = table.results.clone();
        results.sort_unstable();
        results.dedup();
        prop_assert_eq!(results.len(), table.results.len(), "a job with two results");
    }
}

#[test]
fn a_series_opens_again_whatever_was_heard_first() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce(1)), now);
    grant(&mut state, 1, id(1, 1), "green", now);
    state.decide(Event::Asked(worker(1), Ask::Ended(ended(id(1, 1), 0))), now);
    state.decide(Event::Opened(id(1, 1), Some(publication("green"))), now);
    // The answer to the commit was lost, so that the outbox was faster than the worker's second completion.
    state.decide(Event::Stored(1), now);
    state.decide(Event::Completed(id(1, 1), true), now);
    state.decide(Event::Open(vec![], vec![]), now);
    assert!(!state.is_publishing(&series("green")));
    state.decide(Event::Open(vec![], vec![(2, series("green"))]), now);
    assert!(state.is_publishing(&series("green")), "the table knows of one");
    state.decide(Event::Stored(2), now);
    assert!(!state.is_publishing(&series("green")));
}

/// A worker's host fails at once, on one job after the other.
fn fail(state: &mut State, worker_id: u128, job: i64, now: Instant) {
    grant_on(state, worker_id, id(job, 1), now);
    state.decide(Event::Ended(id(job, 1), Fault::Testbed, None), now);
}

fn grant_on(state: &mut State, n: u128, id: AttemptId, now: Instant) {
    let worker = WorkerRef { id: worker(n), host: format!("h{n}") };
    let answer = Answer::Welcome;
    let granted = Granted { id, worker, used: used(), subject: subject("green"), end: LEASE * 50, answer };
    state.decide(Event::Granted(Box::new(granted)), now);
}

#[test]
fn a_host_that_only_fails_is_set_aside_and_probed() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce_on("h1", 2)), now);
    state.decide(Event::Asked(worker(2), announce_on("h2", 1)), now);
    for job in 1..=5 {
        assert!(state.hosts_aside().is_empty());
        fail(&mut state, 1, job, now);
    }
    assert_eq!(state.hosts_aside(), BTreeSet::from(["h1"]));
    assert_eq!(state.free(&pool(), now), 1, "only the sound host's slot");
    let waiting = [candidate(6, 0)];
    let offers = work(&mut state, &waiting, now);
    assert_eq!(offers, [Action::Offer(pool(), id(6, 1))]);
    // Its worker takes the offer off the queue all the same: it is refused, and the other gets it.
    let refused = state.decide(Event::Asked(worker(1), Ask::Grant { id: id(6, 1), epoch: 1 }), now);
    let pause = Answer::Refused { id: id(6, 1), pause_seconds: 10 };
    assert_eq!(reads(&mut state, refused, &waiting, now), [Action::Answer(worker(1), pause)]);
    assert_eq!(ticked(&mut state, &waiting, now), offers);
    let taken = state.decide(Event::Asked(worker(2), Ask::Grant { id: id(6, 1), epoch: 1 }), now);
    assert!(matches!(taken[..], [Action::Grant(..)]), "{taken:?}");
    // After a pause one job shows whether it has recovered; while it runs there is no other.
    let later = now + Duration::from_secs(61);
    state.decide(Event::Asked(worker(1), announce_on("h1", 2)), later);
    assert_eq!(state.free(&pool(), later), 2);
    grant_on(&mut state, 1, id(7, 1), later);
    assert_eq!(state.free(&pool(), later), 1);
    state.decide(Event::Completed(id(7, 1), true), later);
    assert!(state.hosts_aside().is_empty());
}

#[test]
fn a_pools_last_host_is_never_set_aside() {
    let now = Instant::now();
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce_on("h1", 1)), now);
    (1..=9).for_each(|job| fail(&mut state, 1, job, now));
    assert_eq!(state.free(&pool(), now), 1, "alone");
    assert!(state.hosts_aside().is_empty(), "alone");
    state.decide(Event::Asked(worker(2), announce_on("h2", 1)), now);
    (10..=15).for_each(|job| fail(&mut state, 2, job, now));
    assert_eq!(state.free(&pool(), now), 1, "the one that fared better stays");
}

#[test]
fn a_retried_job_goes_to_another_host_where_there_is_one() {
    let now = Instant::now();
    let mut state = new(now);
    let retried = Candidate { failed_on: BTreeSet::from(["h1".to_owned()]), ..candidate(1, 1) };
    state.decide(Event::Asked(worker(1), announce_on("h1", 1)), now);
    let alone = work(&mut state, std::slice::from_ref(&retried), now);
    assert_eq!(alone, [Action::Offer(pool(), id(1, 2))], "no other host");
    let mut state = new(now);
    state.decide(Event::Asked(worker(1), announce_on("h1", 1)), now);
    state.decide(Event::Asked(worker(2), announce_on("h2", 1)), now);
    grant_on(&mut state, 2, id(9, 1), now);
    assert_eq!(work(&mut state, std::slice::from_ref(&retried), now), [], "the other is busy");
    let offered = state.decide(Event::Completed(id(9, 1), true), now);
    assert!(offered.contains(&Action::Offer(pool(), id(1, 2))), "{offered:?}");
    let asked = |n| Event::Asked(worker(n), Ask::Grant { id: id(1, 2), epoch: 1 });
    let refused = state.decide(asked(1), now);
    let pause = Answer::Refused { id: id(1, 2), pause_seconds: 2 };
    assert_eq!(
        reads(&mut state, refused, std::slice::from_ref(&retried), now),
        [Action::Answer(worker(1), pause)]
    );
    ticked(&mut state, &[retried], now);
    assert!(matches!(state.decide(asked(2), now)[..], [Action::Grant(..)]));
}

#[test]
fn two_hosts_that_take_what_is_for_the_other_one_ask_on() {
    let now = Instant::now();
    let mut state = new(now);
    for n in [1, 2] {
        state.decide(Event::Asked(worker(n), announce_on(&format!("h{n}"), 1)), now);
    }
    let failed_on = |job, host: &str| Candidate { failed_on: [host.to_owned()].into(), ..candidate(job, 1) };
    let waiting = [failed_on(1, "h1"), failed_on(2, "h2")];
    let refused = |n, job, pause_seconds| {
        [Action::Answer(worker(n), Answer::Refused { id: id(job, 2), pause_seconds })]
    };
    let ask = |state: &mut State, n, job, now| {
        let asked = Event::Asked(worker(n), Ask::Grant { id: id(job, 2), epoch: 1 });
        let actions = state.decide(asked, now);
        reads(state, actions, &waiting, now)
    };
    work(&mut state, &waiting, now);
    assert_eq!(ask(&mut state, 1, 1, now), refused(1, 1, 0));
    assert_eq!(ask(&mut state, 2, 2, now), refused(2, 2, 2), "nothing is for it");
    // The first comes to the one that is for it in the next round.
    ticked(&mut state, &waiting, now);
    assert!(matches!(ask(&mut state, 1, 2, now)[..], [Action::Grant(..)]));
    // Perhaps the broker lost it: then nobody asks without an end.
    let later = now + Duration::from_secs(6);
    assert_eq!(ask(&mut state, 1, 1, later), refused(1, 1, 2));
}

#[test]
fn the_last_attempt_is_weighed_with_those_before() {
    let now = Instant::now();
    let at = |attempt: i32, tried_before: i32, baseline: bool| {
        let mut state = new(now);
        state.decide(Event::Asked(worker(1), announce(1)), now);
        let worker = WorkerRef { id: worker(1), host: "h".to_owned() };
        let subject = Subject { tried_before, baseline, ..subject("green") };
        let (id, answer) = (id(1, attempt), Answer::Welcome);
        state.decide(
            Event::Granted(Box::new(Granted { id, worker, used: used(), subject, end: LEASE * 50, answer })),
            now,
        );
        let said = with_rule(ended(id, 16));
        let actions = state.decide(Event::Asked(super::tests::worker(1), Ask::Ended(said)), now);
        (state, actions)
    };
    let pause = |actions: &[Action]| match actions {
        [Action::End(end)] => Some((end.fault, end.pause)),
        _ => None,
    };
    let first = Some((Fault::BrokeTestbed, Some(Duration::from_secs(300))));
    assert_eq!(pause(&at(1, 0, false).1), first);
    assert_eq!(pause(&at(4, 3, false).1), first, "an operator had it retried");
    assert_eq!(pause(&at(3, 0, true).1), Some((Fault::BrokeTestbed, None)), "a baseline is parked");
    let (mut state, weighed) = at(3, 0, false);
    let [Action::Weigh(who, said, fault)] = &weighed[..] else { panic!("{weighed:?}") };
    let weigh = |code| Event::Weighed(who.clone(), said.clone(), *fault, code);
    assert_eq!(pause(&state.decide(weigh(None), now)), Some((Fault::BrokeTestbed, None)));
    let published = state.decide(weigh(Some(ExitCode(4))), now);
    let [Action::OpenPublication(said, _)] = &published[..] else { panic!("{published:?}") };
    assert_eq!(said.exit_code, ExitCode(4));
}

#[test]
fn an_attempt_that_is_renewed_for_ever_ends_all_the_same() {
    let start = Instant::now();
    let mut state = new(start);
    state.decide(Event::Asked(worker(1), announce(1)), start);
    grant(&mut state, 1, id(1, 1), "green", start);
    let tick = |state: &mut State, now: Instant| {
        state.decide(Event::Asked(worker(1), Ask::Renew { ids: vec![id(1, 1)] }), now);
        state.decide(Event::Tick, now);
        let ended = state.decide(Event::Echoed, now);
        ended.into_iter().find_map(|action| match action {
            Action::End(end) => Some((end.fault, end.answer)),
            _ => None,
        })
    };
    // Its worker ends it at its absolute end; the leader leaves it a moment to say so.
    let end = start + Duration::from_secs(100_000);
    assert_eq!(tick(&mut state, end), None);
    let late = tick(&mut state, end + Duration::from_secs(120));
    assert_eq!(late, Some((Fault::TimedOut, (worker(1), Answer::GivenUp { id: id(1, 1) }))));
}
