//! The life of attempts: a worker with the in-process bus, a folder as store, a script as autopkgtest, and a dispatcher that
//! says what the test wants.

mod lab;

use std::{collections::BTreeMap, io::Read, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use lab::{Lab, Rule};
use proofhouse_core::{
    outcome::{ExitCode, Fault, RuleHit, RuleVerdict},
    protocol::{Ask, AttemptId, Wanted},
    seal::SealKeys,
    store::{Access, Store},
};

fn members(tar_base64: &str) -> BTreeMap<String, String> {
    let bytes = BASE64_STANDARD.decode(tar_base64).unwrap();
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        members.insert(name, text);
    }
    members
}

#[tokio::test]
async fn a_passing_test_is_published() {
    let lab = Lab::start(Rule::Publish).await;
    let id = lab.offer("green {\"triggers\": [\"green/2\"]}").await;
    let ended = lab.ended(id).await;
    assert_eq!(
        (ended.exit_code, ended.version.as_deref(), ended.fault),
        (ExitCode(0), Some("green 2"), None)
    );
    let tar = members(&lab.completed(id).await);
    assert_eq!((tar["exitcode"].as_str(), tar["testpkg-version"].as_str()), ("0\n", "green 2\n"));
    assert!(tar["testinfo.json"].contains("ADT_TEST_TRIGGERS=green/2"));
    let folder = format!("noble/amd64/g/green/{}", lab::RUN_ID);
    assert!(lab.log("autopkgtest-noble", &format!("{folder}/log.gz")).contains("testing green"));
    assert!(lab.stored("autopkgtest-noble", &format!("{folder}/artifacts.tar.gz")).is_some());
    assert!(lab.stored("autopkgtest-noble", &format!("{folder}/result.tar")).is_none());
    let last = lab.last_status().await;
    assert_eq!((last.package.as_str(), last.uuid), ("green", Some(lab::UUID)));
    assert!(last.logtail.contains("testing green"));
    lab.finish().await;
}

#[tokio::test]
async fn a_failing_test_is_a_result_too() {
    let lab = Lab::start(Rule::Publish).await;
    let id = lab.offer("red").await;
    assert_eq!(lab.ended(id).await.exit_code, ExitCode(4));
    assert_eq!(members(&lab.completed(id).await)["exitcode"], "4\n");
    lab.finish().await;
}

#[tokio::test]
async fn a_rule_of_the_log_goes_with_the_end_that_it_is_about() {
    let lab = Lab::start(Rule::NoResult).await;
    let rule = lab.ended(lab.offer("away").await).await.rule;
    let expected = RuleHit { name: "archive-fetch".to_owned(), verdict: RuleVerdict::Infrastructure };
    assert_eq!(rule, Some(expected));
    assert_eq!(lab.ended(lab.offer("red").await).await.rule, None);
    lab.finish().await;
}

#[tokio::test]
async fn a_version_older_than_its_trigger_is_a_fault() {
    let lab = Lab::start(Rule::NoResult).await;
    for (body, fault, detail) in [
        ("green {\"triggers\": [\"green/3\"]}", Some(Fault::OldVersion), "green 2 was tested, not green/3"),
        ("green {\"triggers\": [\"green/3\"], \"swiftuser\": \"joe\"}", Some(Fault::OldVersion), ""),
        ("green {\"triggers\": [\"green/3\"], \"test-git\": \"https://a.example/green\"}", None, ""),
        ("green {\"triggers\": [\"migration-reference/0\"]}", None, ""),
    ] {
        let ended = lab.ended(lab.offer(body).await).await;
        assert_eq!((ended.fault, ended.detail.as_str()), (fault, detail), "{body}");
    }
    lab.finish().await;
}

#[tokio::test]
async fn without_an_output_folder_the_runners_last_words_are_the_log() {
    let lab = Lab::start(Rule::NoResult).await;
    let id = lab.offer("bad").await;
    let ended = lab.ended(id).await;
    assert_eq!((ended.exit_code, ended.version), (ExitCode::UNEXPECTED, None));
    let object = format!("{}/1/log.gz", lab::UUID);
    lab.until(|| lab.stored("proofhouse-attempts", &object).is_some()).await;
    assert_eq!(lab.log("proofhouse-attempts", &object), "unknown option\n");
    lab.finish().await;
}

#[tokio::test]
async fn a_refused_offer_is_dropped_and_the_next_one_taken() {
    let lab = Lab::start(Rule::Refuse).await;
    let refused = lab.offer("green").await;
    let asked = |ask: &Ask| matches!(ask, Ask::Grant { id, .. } if *id == refused);
    lab.until(|| lab.asks().iter().any(asked) && lab.state().busy == 0).await;
    lab.rule(Rule::Publish);
    let id = lab.offer("green").await;
    lab.completed(id).await;
    assert_eq!(lab.asks().iter().filter(|ask| asked(ask)).count(), 1);
    lab.finish().await;
}

#[tokio::test]
async fn evidence_that_may_not_be_stored_gives_the_attempt_back() {
    let lab = Lab::start(Rule::Publish).await;
    let container = "private-autopkgtest-noble".parse().unwrap();
    let other = Access::Reader("ann".parse().unwrap());
    lab.store().ensure_container(&container, &other).await.unwrap();
    let id = lab.offer("green {\"swiftuser\": \"joe\"}").await;
    let back = |ask: &Ask| matches!(ask, Ask::GiveUp { id: given, fault: Fault::Store, .. } if *given == id);
    lab.until(|| lab.asks().iter().any(back)).await;
    assert!(lab.stored(container.as_str(), "noble/amd64/g/green").is_none());
    lab.finish().await;
}

#[tokio::test]
async fn a_turn_to_publish_is_waited_for() {
    let lab = Lab::start(Rule::WaitOnce).await;
    let id = lab.offer("green").await;
    lab.completed(id).await;
    lab.finish().await;
}

#[tokio::test]
async fn what_was_given_up_is_killed_and_forgotten() {
    let lab = Lab::start(Rule::Publish).await;
    let id = lab.offer("endless").await;
    lab.until_running(id).await;
    lab.rule(Rule::GiveUpAll);
    lab.until(|| lab.runs() == 0).await;
    let asks = lab.asks();
    assert!(!asks.iter().any(|ask| matches!(ask, Ask::Ended(_) | Ask::GiveUp { .. } | Ask::Complete { .. })));
    assert_eq!(lab.objects(), 0);
    lab.finish().await;
}

#[tokio::test]
async fn a_test_past_its_end_is_killed() {
    let lab = Lab::start(Rule::NoResult).await;
    let id = lab.offer_with("endless", 1).await;
    assert_eq!(lab.ended(id).await.fault, Some(Fault::TimedOut));
    lab.finish().await;
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let lab = Lab::start(Rule::Publish).await;
    let id = lab.offer("gated").await;
    lab.until_running(id).await;
    lab.stop.drain.cancel();
    lab.until(|| lab.asks().iter().any(|a| matches!(a, Ask::Announce(a) if a.draining && a.slots > 0))).await;
    let second = lab.offer("green").await;
    lab.open_gate();
    lab.completed(id).await;
    lab.worker_ended().await;
    assert!(!lab.asks().iter().any(|ask| matches!(ask, Ask::Grant { id, .. } if *id == second)));
}

#[tokio::test]
async fn an_operator_drains_a_worker_has_it_work_again_and_retires_it() {
    let lab = Lab::start(Rule::Publish).await;
    let granted = |id| move |ask: &Ask| matches!(ask, Ask::Grant { id: asked, .. } if *asked == id);
    let first = lab.offer("gated").await;
    lab.until_running(first).await;
    lab.wants(Wanted::Drain).await;
    let drained = |ask: &Ask| matches!(ask, Ask::Announce(said) if said.draining && said.holds == [first]);
    assert!(lab.asks().iter().any(drained), "what runs goes on");
    let second = lab.offer("green").await;
    lab.open_gate();
    lab.completed(first).await;
    assert!(!lab.asks().iter().any(granted(second)), "nothing new is taken");
    lab.wants(Wanted::Work).await;
    lab.completed(second).await;
    lab.wants(Wanted::Retire).await;
    lab.worker_ended().await;
    let last = |ask: &Ask| matches!(ask, Ask::Announce(said) if said.leaving && said.slots == 0);
    lab.until(|| lab.asks().last().is_some_and(last)).await;
}

#[tokio::test]
async fn a_hard_stop_gives_back_what_runs() {
    let lab = Lab::start(Rule::Publish).await;
    let id = lab.offer("endless").await;
    lab.until_running(id).await;
    lab.stop.hard.cancel();
    lab.worker_ended().await;
    let given: Vec<(AttemptId, Fault)> = lab
        .asks()
        .into_iter()
        .filter_map(|ask| match ask {
            Ask::GiveUp { id, fault, .. } => Some((id, fault)),
            _ => None,
        })
        .collect();
    assert_eq!(given, [(id, Fault::Worker)]);
    assert_eq!(lab.runs(), 0);
}

#[tokio::test]
async fn only_as_many_run_as_there_are_slots_and_their_leases_are_renewed() {
    let lab = Lab::start(Rule::Publish).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(lab.offer("gated").await);
    }
    lab.until(|| lab.runs() == 2).await;
    let both = |ask: &Ask| matches!(ask, Ask::Renew { ids } if ids.len() == 2);
    lab.until(|| lab.asks().iter().any(both)).await;
    let granted = lab.asks().iter().filter(|ask| matches!(ask, Ask::Grant { .. })).count();
    assert_eq!(granted, 2);
    lab.open_gate();
    for id in ids {
        lab.completed(id).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn a_private_run_shows_nothing_and_leaks_no_token() {
    let keys = SealKeys::generate();
    let lab = Lab::start_with(Rule::Publish, |settings| {
        settings.seal_keys = Some(SealKeys::parse(&keys).unwrap());
    })
    .await;
    let body = "leaky {\"ppas\": [\"joe:s3cret@team/ppa\"], \"swiftuser\": \"joe\", \"readable-by\": [\"ann\", \"bob\"]}";
    let request = proofhouse_core::request::Request::parse(body.as_bytes()).unwrap();
    let sealed = request.sealed(Some(&SealKeys::parse(&keys).unwrap())).unwrap();
    let id = lab.offer(&sealed.to_body()).await;
    lab.completed(id).await;
    let container = "private-autopkgtest-noble-team-ppa";
    let folder = format!("noble/amd64/l/leaky/{}", lab::RUN_ID);
    let log = lab.log(container, &format!("{folder}/log.gz"));
    assert!(log.contains("PPA --add-apt-source=ppa:***@team/ppa") && !log.contains("s3cret"), "{log}");
    assert_eq!(lab.stored(container, &format!("{folder}/readable-by")).unwrap(), b"ann\nbob\n");
    let last = serde_json::to_string(&lab.last_status().await).unwrap();
    for word in ["leaky", "team", "joe", "lab-host", &lab::UUID.to_string()] {
        assert!(!last.contains(word), "{word} in {last}");
    }
    lab.finish().await;
}

#[tokio::test]
async fn without_room_on_the_disk_nothing_is_taken() {
    let lab = Lab::start_with(Rule::Publish, |settings| settings.min_free_mib = u64::MAX).await;
    let unable = |ask: &Ask| matches!(ask, Ask::Announce(a) if a.unable.is_some());
    lab.until(|| lab.asks().iter().any(unable)).await;
    lab.offer("green").await;
    assert!(lab.state().able.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!lab.asks().iter().any(|ask| matches!(ask, Ask::Grant { .. })));
    lab.stop.drain.cancel();
    lab.worker_ended().await;
}

#[tokio::test]
async fn a_runner_that_cannot_be_started_gives_the_attempt_back() {
    let lab =
        Lab::start_with(Rule::Publish, |settings| settings.autopkgtest = "/does/not/exist".into()).await;
    let id = lab.offer("green").await;
    let back = |ask: &Ask| matches!(ask, Ask::GiveUp { id: given, fault: Fault::Worker, .. } if *given == id);
    lab.until(|| lab.asks().iter().any(back)).await;
    lab.finish().await;
}
