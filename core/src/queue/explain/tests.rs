use super::*;
use crate::queue::{Cap, Controls, Pause};

const NOW: i64 = 1_795_239_694_000_000;

fn lane(text: &str) -> Lane {
    text.parse().unwrap()
}

fn pool(name: &str) -> Pool {
    name.parse().unwrap()
}

fn serving(host: &str, slots: usize, held: usize) -> Serving {
    Serving { pools: [pool("amd64")].into(), host: host.to_owned(), slots, held, able: true, aside: false }
}

/// Ten slots on two hosts, all in use; attempts take 100 seconds.
fn situation(lanes: &[(&str, i64)]) -> Situation {
    let mut situation = Situation {
        now_us: NOW,
        leader: true,
        serving: vec![serving("a", 5, 5), serving("b", 5, 5)],
        durations: [(pool("amd64"), Durations { mean: 100.0, deviation: 50.0 })].into(),
        ..Situation::default()
    };
    situation.set_lanes(lanes.iter().map(|(text, n)| (lane(text), *n)));
    situation
}

fn running<'a>(package: &'a str, trigger: &'a str) -> Running<'a> {
    Running { package, trigger, requester: "", private: false }
}

const GREEN: &str = "0 gates ubuntu noble/amd64 - green/2";

fn job(text: &str, before: i64) -> Subject {
    Subject {
        lane: Some(text.to_owned()),
        before,
        package: "hello".to_owned(),
        trigger: "green/2".to_owned(),
        ..Subject::default()
    }
}

fn place(situation: &Situation, text: &str, before: i64) -> u64 {
    situation.explain(&job(text, before)).place.unwrap()
}

#[test]
fn one_lane_is_a_line() {
    let situation = situation(&[(GREEN, 100)]);
    for before in [0, 1, 7, 99] {
        let waits = situation.explain(&job(GREEN, before));
        assert_eq!(waits.place, Some(before.unsigned_abs()));
        let expected = (f64::from(u32::try_from(before).unwrap()) + 1.0) * 10.0;
        assert!((waits.estimate.unwrap().likely_seconds - expected).abs() < 0.1, "{waits:?}");
    }
}

#[test]
fn turns_shares_people_and_levels() {
    let perl = "0 gates ubuntu noble/amd64 - perl/5";
    let others = [(GREEN, 2), (perl, 500)];
    assert_eq!(place(&situation(&others), perl, 100), 102, "green's two, and 100 of its own");
    assert_eq!(place(&situation(&others), GREEN, 1), 3, "a turn and a half of perl's");
    let huge = "0 bulk huge noble/amd64 - perl/5";
    let all = situation(&[(GREEN, 1000), (huge, 1000)]);
    assert_eq!(place(&all, huge, 50), 251, "four of ubuntu for each of huge");
    let joe = "0 people ubuntu noble/amd64 - joe";
    let all = situation(&[(perl, 500), (joe, 30)]);
    assert_eq!(place(&all, joe, 3), 3, "half of the slots are people's, and none of these is in use");
    assert_eq!(place(&all, joe, 9), 13, "then every second one");
    assert_eq!(place(&all, perl, 10), 25);
    let high = "5 gates ubuntu noble/amd64 - high/1";
    let all = situation(&[(GREEN, 9), (high, 40), ("-5 gates ubuntu noble/amd64 - low/1", 9)]);
    assert_eq!((place(&all, GREEN, 3), place(&all, high, 3)), (43, 3));
    assert_eq!(place(&situation(&[(GREEN, 9), ("0 gates ubuntu noble/arm64 - a/1", 50)]), GREEN, 3), 3);
}

#[test]
fn what_comes_meanwhile_goes_first_where_it_is_more_urgent() {
    let mut all = situation(&[(GREEN, 100)]);
    let alone = all.explain(&job(GREEN, 99)).estimate.unwrap().likely_seconds;
    // A person's job every 20 seconds, of ten a hundred seconds that end.
    let people = ["joe", "ann"].map(|name| lane(&format!("0 people ubuntu noble/amd64 - {name}")));
    all.set_arrivals(people.map(|lane| (lane, 90)), 3600.0);
    let later = all.explain(&job(GREEN, 99)).estimate.unwrap();
    assert!((later.likely_seconds / alone - 2.0).abs() < 0.1, "{alone} {later:?}");
    assert!(later.early_seconds < later.likely_seconds && later.likely_seconds < later.late_seconds);
}

#[test]
fn a_burst_of_requests_is_not_counted_twice() {
    // Three slots, tests of a minute, and a person's list of hundreds: of the same person, and beside another's.
    let joe = "0 people ubuntu noble/amd64 - joe";
    let mut all = situation(&[(joe, 300)]);
    all.serving = vec![serving("a", 3, 3)];
    all.durations = [(pool("amd64"), Durations { mean: 60.0, deviation: 30.0 })].into();
    let alone = all.explain(&job(joe, 74)).estimate.unwrap();
    assert!((alone.likely_seconds - 1500.0).abs() < 1.0, "{alone:?}");
    // However much comes: the rest of its lane stands behind it, and with another person's it takes turns.
    let others = ["bob", "kim"].map(|name| (lane(&joe.replace("joe", name)), 100_000));
    all.set_arrivals([(lane(joe), 300)], 3600.0);
    assert_eq!(all.explain(&job(joe, 74)).estimate.unwrap(), alone);
    all.set_arrivals(others.clone(), 3600.0);
    let turns = all.explain(&job(joe, 74)).estimate.unwrap();
    assert!((turns.likely_seconds / alone.likely_seconds - 3.0).abs() < 0.1, "{turns:?}");
    // A gate has half of the slots, however much people ask for; and one list of theirs is no rate at all.
    let mut all = situation(&[(GREEN, 75)]);
    let alone = all.explain(&job(GREEN, 74)).estimate.unwrap();
    all.set_arrivals(others, 3600.0);
    let shared = all.explain(&job(GREEN, 74)).estimate.unwrap();
    assert!((shared.likely_seconds / alone.likely_seconds - 2.0).abs() < 0.1, "{alone:?} {shared:?}");
    all.set_arrivals([(lane(joe), 300), (lane(&joe.replace("noble", "jammy")), 200)], 3600.0);
    assert_eq!(all.explain(&job(GREEN, 74)).estimate.unwrap(), alone);
}

fn name(situation: &Situation, job: &Subject) -> &'static str {
    let waits = situation.explain(job);
    let json = serde_json::to_value(&waits).unwrap();
    assert_eq!(json["reason"], waits.reason.name());
    assert!(Reason::NAMES.contains(&waits.reason.name()) && !waits.sentence.is_empty(), "{waits:?}");
    waits.reason.name()
}

#[test]
fn every_reason() {
    let plain = situation(&[(GREEN, 5)]);
    let green = job(GREEN, 1);
    assert_eq!(name(&plain, &green), "slot");
    assert_eq!(name(&plain, &Subject { answered: true, ..green.clone() }), "answer");
    assert_eq!(name(&plain, &job("!", 0)), "answer");
    assert_eq!(name(&plain, &job("?", 0)), "unsorted");
    assert_eq!(name(&plain, &Subject { lane: None, ..green.clone() }), "unsorted");
    let later = Subject { not_before_us: NOW + 60_000_000, ..green.clone() };
    assert_eq!(name(&plain, &later), "next-attempt");
    assert!(plain.explain(&later).estimate.unwrap().likely_seconds >= 60.0);

    assert_eq!(name(&Situation { serving: vec![], ..plain.clone() }, &green), "no-worker");
    let unable: Vec<_> = plain.serving.iter().cloned().map(|w| Serving { able: false, ..w }).collect();
    assert_eq!(name(&Situation { serving: unable, ..plain.clone() }, &green), "workers-unable");

    let pause = Pause {
        id: 1,
        release: None,
        arch: Some("amd64".to_owned()),
        context: None,
        person: "ann".to_owned(),
        reason: "moving".to_owned(),
        since_us: NOW,
    };
    let controls = Controls { pauses: vec![pause], caps: vec![] };
    let paused = Situation { controls, ..plain.clone() };
    assert_eq!(name(&paused, &green), "paused");
    let waits = paused.explain(&green);
    assert_eq!((waits.place, waits.estimate), (None, None));
    assert_eq!(waits.sentence, "ann paused all of amd64 at 2026-11-21 05:41 UTC: moving.");

    let fire = situation(&[(GREEN, 5), ("1000 gates ubuntu noble/amd64 - fire/1", 1)]);
    assert_eq!(name(&fire, &green), "emergency");
}

#[test]
fn caps_are_said_with_their_numbers_and_name_nothing_private() {
    for (kind, shown) in [("trigger", "green/2"), ("package", "hello"), ("pool", "amd64")] {
        let cap =
            Cap { kind: kind.to_owned(), name: "*".to_owned(), most: 2, person: String::new(), since_us: 0 };
        let mut all = situation(&[]);
        all.controls.caps = vec![cap];
        let green = job(GREEN, 5);
        for n in 0..2 {
            assert_ne!(name(&all, &green), "cap", "{n} run");
            all.in_use.add(&pool("amd64"), Some(&lane(GREEN)), &running("hello", "green/2"));
        }
        let waits = all.explain(&green);
        assert!(waits.sentence.contains(shown) && waits.sentence.contains("than 2"), "{waits:?}");
        let private = serde_json::to_string(&all.explain(&Subject { private: true, ..green })).unwrap();
        assert!(!private.contains("green") && !private.contains("hello"), "{private}");
    }
}

#[test]
fn no_cap_tells_everybody_of_a_private_run() {
    let green = Subject { requester: "joe".to_owned(), ..job(GREEN, 5) };
    let hidden = Running { requester: "joe", private: true, ..running("hello", "green/2") };
    for (kind, name) in [("package", "hello"), ("trigger", "*"), ("requester", "joe")] {
        let mut all = situation(&[]);
        all.controls.caps = vec![capped(kind, name, 1)];
        all.in_use.add(&pool("amd64"), Some(&lane(GREEN)), &hidden);
        assert!(matches!(all.explain(&green).reason, Reason::Cap { running: 1, .. }), "operators are told");
        all.for_everybody = true;
        assert!(
            matches!(all.explain(&green).reason, Reason::Slot { .. }) && all.held_back().is_empty(),
            "{kind}"
        );
        all.in_use.add(&pool("amd64"), Some(&lane(GREEN)), &Running { private: false, ..hidden });
        assert!(
            matches!(all.explain(&green).reason, Reason::Cap { running: 1, .. }),
            "without the private one"
        );
        assert_eq!(all.held_back().len(), 1, "{kind}");
    }
}

fn capped(kind: &str, name: &str, most: i64) -> Cap {
    Cap { kind: kind.to_owned(), name: name.to_owned(), most, person: String::new(), since_us: 0 }
}

#[test]
fn a_cap_of_zero_has_neither_place_nor_estimate() {
    let green = Subject { requester: "joe".to_owned(), ..job(GREEN, 5) };
    let caps = [("trigger", "green/2"), ("pool", "amd64"), ("package", "hello"), ("requester", "joe")];
    for (kind, name) in caps {
        let mut all = situation(&[]);
        all.controls.caps = vec![capped(kind, name, 0)];
        all.set_lanes([(lane(GREEN), 10)]);
        let waits = all.explain(&green);
        assert!(matches!(waits.reason, Reason::Cap { .. }), "{waits:?}");
        assert_eq!((waits.place, waits.estimate), (None, None), "{kind}");
        assert!(waits.sentence.starts_with("A cap lets nothing"), "{waits:?}");
        // Nor where something else is said first.
        let later = Subject { not_before_us: NOW + 60_000_000, ..green.clone() };
        assert_eq!(all.explain(&later).estimate, None, "{kind}");
        // An emergency is bound by no cap.
        let urgent = Subject { lane: Some(GREEN.replacen('0', "1000", 1)), ..green.clone() };
        assert!(all.explain(&urgent).estimate.is_some(), "{kind}");
    }
}

#[test]
fn what_is_held_back_names_nothing_that_may_be_private() {
    let mut all = situation(&[]);
    assert!(all.held_back().is_empty());
    let of = |kind, name, most| Cap { person: "ann".to_owned(), ..capped(kind, name, most) };
    all.controls.caps = vec![
        of("package", "hush", 0),
        of("package", "hello", 0),
        of("pool", "amd64", 1),
        of("pool", "big", 9),
        of("trigger", "*", 2),
        of("trigger", "green/2", 5),
    ];
    all.set_lanes([(lane("1000 gates ubuntu noble/amd64 - fire/1"), 1)]);
    for trigger in ["green/2", "green/2", "blue/1"] {
        all.in_use.add(&pool("amd64"), Some(&lane(GREEN)), &running("red", trigger));
    }
    assert_eq!(
        all.held_back(),
        [
            "An emergency goes first in pool amd64; nothing else starts there.",
            "ann lets nothing of one package run, since 1970-01-01 00:00 UTC.",
            "ann lets no more than 1 in pool amd64 run at once, since 1970-01-01 00:00 UTC.",
        ]
    );
    all.in_use.add(&pool("amd64"), Some(&lane(GREEN)), &running("red", "blue/1"));
    assert!(all.held_back()[3].contains("no more than 2 of each trigger"), "{:?}", all.held_back());
}

#[test]
fn many_are_explained_as_one_is() {
    let all = situation(&[(GREEN, 10), ("0 gates ubuntu noble/amd64 - blue/2", 10)]);
    let answered = Subject { answered: true, ..job(GREEN, 1) };
    let jobs = [job(GREEN, 1), job("0 gates ubuntu noble/amd64 - blue/2", 4), job("?", 0), answered];
    let each: Vec<Waits> = jobs.iter().map(|job| all.explain(job)).collect();
    assert_eq!(all.explain_all(&jobs), each);
}

#[test]
fn a_pools_cap_limits_its_slots() {
    let mut all = situation(&[(GREEN, 10)]);
    let free = all.explain(&job(GREEN, 9)).estimate.unwrap();
    all.controls.caps = vec![capped("pool", "amd64", 2)];
    let few = all.explain(&job(GREEN, 9)).estimate.unwrap();
    assert!((few.likely_seconds / free.likely_seconds - 5.0).abs() < 0.1, "{free:?} {few:?}");
}

#[test]
fn one_that_failed_on_the_free_host_waits_for_another() {
    let mut all = situation(&[(GREEN, 5)]);
    all.serving[0].held = 4;
    let failed = Subject { failed_on: ["a".to_owned()].into(), ..job(GREEN, 0) };
    assert_eq!(name(&all, &failed), "hosts-aside");
    assert_eq!(name(&all, &job(GREEN, 0)), "slot");
    let both = Subject { failed_on: ["a".to_owned(), "b".to_owned()].into(), ..job(GREEN, 0) };
    assert_eq!(name(&all, &both), "slot", "it failed on all: any may try");
    all.serving[0].aside = true;
    assert_eq!(name(&all, &job(GREEN, 0)), "hosts-aside");
}

#[test]
fn as_json() {
    let waits = situation(&[(GREEN, 10)]).explain(&job(GREEN, 3));
    insta::assert_snapshot!(serde_json::to_string_pretty(&waits).unwrap());
}
