//! Every database must pass [`behaves`].

mod alerts;
mod bulk;
mod hosts;
mod open;
mod summaries;
mod uploads;

use std::time::Duration;

use super::{
    Candidate, Completed, Database, DbError, GrantOutcome, IntakeSession, JobState, LaneMove, NewJob,
    NewRejection, OutboxKind, Prepared, PublishOutcome, RecentFilter, SchemaState, SyntheticOutcome,
    SyntheticResult, Taken, WorkerRef, connection::args, leadership::LEADERSHIP_SECONDS, token_hash,
};
use crate::{
    index::{FoundRun, Said, StoredResult},
    layout::{Container, Series},
    names::{Context, Pool},
    outcome::{ExitCode, Fault, decided_by},
    protocol::{AttemptId, Ended, WorkerId},
    queue::{ANSWERS, Cap, CapKind, Pause, PoolRules},
    request::Request,
};

const LANE: &str = "0 gates ubuntu noble/amd64 - green/2";

fn job(package: &str, params: &str) -> NewJob {
    let pair = "noble/amd64".parse().unwrap();
    let body = format!("{package}\n{params}");
    let request = Request::parse(body.as_bytes()).unwrap();
    NewJob {
        identity: request.identity(Context::Ubuntu, &pair, None).unwrap(),
        uuid: request.uuid,
        context: Context::Ubuntu,
        lane: Some(LANE.to_owned()),
        trigger: request.triggers.first().map(ToString::to_string).unwrap_or_default(),
        pair,
        package: request.package.clone(),
        private: request.is_private(),
        volatile: request.is_volatile(),
        force: request.force,
        requester: request.requester.as_ref().map(ToString::to_string),
        run_hash: "abcde".to_owned(),
        body,
        answer: None,
    }
}

fn message(package: &str, params: &str, redelivered: bool) -> Prepared {
    Prepared {
        queue: "debci-noble-amd64".to_owned(),
        digest: Some(format!("{package}{params}")),
        redelivered,
        what: Ok(Box::new(job(package, params))),
    }
}

fn worker() -> WorkerRef {
    let id = WorkerId { name: "w".parse().unwrap(), incarnation: uuid::Uuid::nil() };
    WorkerRef { id, host: "h".to_owned() }
}

fn pool() -> Pool {
    "amd64".parse().unwrap()
}

async fn waiting(db: &Database, now_us: i64, limit: i64) -> Vec<Candidate> {
    db.windows(&[(LANE.to_owned(), 0)], now_us, limit).await.unwrap().remove(LANE).unwrap_or_default()
}

fn series(package: &str) -> Series {
    Series {
        container: "autopkgtest-noble".parse::<Container>().unwrap(),
        pair: "noble/amd64".parse().unwrap(),
        package: package.parse().unwrap(),
    }
}

fn ended(id: AttemptId, code: i32) -> Ended {
    Ended {
        id,
        exit_code: ExitCode(code),
        version: Some("green 2".to_owned()),
        duration_seconds: 5,
        fault: None,
        detail: String::new(),
        rule: None,
    }
}

async fn taken(db: &Database, session: IntakeSession, prepared: Prepared) -> Taken {
    db.take(Some(session), &[prepared]).await.unwrap().0.remove(0)
}

/// The whole life of jobs, on an empty database.
pub async fn behaves(db: &Database) {
    assert_eq!(db.schema().await.unwrap(), SchemaState::Empty);
    db.prepare().await.unwrap();
    db.prepare().await.unwrap();
    assert_eq!(db.schema().await.unwrap(), SchemaState::Version(db.needed_version()));
    let epoch = leadership(db).await;
    intake(db, epoch).await;
    life(db, epoch).await;
    editions(db, epoch).await;
    answers_without_a_run(db, epoch).await;
    tokens(db).await;
    index(db, epoch).await;
    bulk::behaves(db, epoch).await;
    summaries::summaries(db, epoch).await;
    operators(db, epoch).await;
    alerts::alerts(db).await;
    open::open(db, epoch).await;
    uploads::uploads(db, epoch).await;
    hosts::hosts(db, epoch).await;
}

async fn leadership(db: &Database) -> i64 {
    let first = db.take_leadership("a", false).await.unwrap().unwrap();
    assert_eq!(db.take_leadership("b", false).await.unwrap(), None);
    assert!(db.renew_leadership("a", first).await.unwrap());
    db.drop_leadership("a", first).await.unwrap();
    assert!(!db.renew_leadership("a", first).await.unwrap());
    let second = db.take_leadership("b", false).await.unwrap().unwrap();
    assert!(second > first);
    renewed_while_another_asks(db).await;
    let third = db.take_leadership("c", true).await.unwrap().unwrap();
    assert!(third > second && !db.renew_leadership("b", second).await.unwrap());
    let id = AttemptId { job: 1, attempt: 1 };
    assert!(matches!(db.grant(first, id, &worker(), &pool(), 60).await, Err(DbError::LeadershipLost(_))));
    third
}

/// Who asks for a leadership while it is renewed does not get it: its end only seems to lie too far ahead.
async fn renewed_while_another_asks(db: &Database) {
    db.execute("UPDATE leadership SET ends_us = 0", args![]).await.unwrap();
    let mut renewal = db.begin().await.unwrap();
    renewal.execute("UPDATE leadership SET holder = holder", args![]).await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let other = db.clone();
    let asks = tokio::spawn(async move { other.take_leadership("c", false).await });
    while !db.is_sqlite() && db.one::<(i64,)>(waits, args![]).await.unwrap().0 == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ends_us = renewal.now_us().await.unwrap() + LEADERSHIP_SECONDS * 1_000_000;
    renewal.execute("UPDATE leadership SET ends_us = $1", args![ends_us]).await.unwrap();
    renewal.commit().await.unwrap();
    assert_eq!(asks.await.unwrap().unwrap(), None);
}

async fn intake(db: &Database, epoch: i64) {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    let one = "{\"triggers\": [\"green/2\"], \"requester\": \"joe\"}";
    let Taken::New { job: first, .. } = taken(db, session, message("green", one, false)).await else {
        panic!("new")
    };
    // The acknowledgement was lost, and the second one too: no effect.
    assert_eq!(taken(db, session, message("green", one, true)).await, Taken::Again);
    let (again, unsettled) = db.take(Some(session), &[message("green", one, true)]).await.unwrap();
    assert_eq!(again, [Taken::Again]);
    db.settle(&unsettled).await.unwrap();
    // In doubt it is taken; it is the same request.
    assert!(
        matches!(taken(db, session, message("green", one, true)).await, Taken::Merged { job, .. } if job == first)
    );
    let alias = "{\"triggers\": [\"green/2\"], \"requester\": \"ann\", \"uuid\": \"6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11\"}";
    assert!(
        matches!(taken(db, session, message("green", alias, false)).await, Taken::Merged { job, .. } if job == first)
    );
    let row = db.job_by_uuid("6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c11".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((row.id, row.requesters.as_str()), (first, "joe\nann"));
    // One that led before takes nothing: what it holds was given out anew.
    let deposed = IntakeSession { epoch: epoch - 1 };
    let late = db.take(Some(deposed), &[message("green", one, false)]).await;
    assert!(matches!(late, Err(DbError::LeadershipLost(_))), "{late:?}");
    let forced = "{\"triggers\": [\"green/2\"], \"force\": \"1\"}";
    assert!(matches!(taken(db, session, message("green", forced, false)).await, Taken::New { .. }));
    // Two equal messages that were given out before and never committed are two.
    let twice = [message("twice", forced, true), message("twice", forced, true)];
    let (both, unsettled) = db.take(Some(session), &twice).await.unwrap();
    assert!(matches!(both[..], [Taken::New { .. }, Taken::New { .. }]), "{both:?}");
    db.settle(&unsettled).await.unwrap();
    let rejection =
        NewRejection { body: b"x".to_vec(), kind: "bad-json", reason: "r".to_owned(), answer: None };
    let bad = Prepared { what: Err(rejection), ..message("x", "", false) };
    assert_eq!(taken(db, session, bad).await, Taken::Rejected);
    assert_eq!(db.rejected(0, 10).await.unwrap().len(), 1);
    assert_eq!(db.queue_counts().await.unwrap()[0].waiting, 4);
    let next = db.begin_intake_session(epoch, false).await.unwrap();
    let (_, unsettled) = db.take(Some(next), &[message("blue", "{}", false)]).await.unwrap();
    db.settle(&unsettled).await.unwrap();
    assert!(matches!(taken(db, session, message("blue", "{}", true)).await, Taken::Merged { .. }));
    forgetful_brokers(db, epoch).await;
}

/// What a broker gives out again, perhaps without saying so.
async fn forgetful_brokers(db: &Database, epoch: i64) {
    let bad = |name: &str, redelivered| {
        let rejection =
            NewRejection { body: b"x".to_vec(), kind: "bad-json", reason: "r".to_owned(), answer: None };
        Prepared { what: Err(rejection), ..message(name, "{}", redelivered) }
    };
    let settle = async |session, name| {
        let (_, unsettled) = db.take(Some(session), &[bad(name, false)]).await.unwrap();
        db.settle(&unsettled).await.unwrap();
    };
    // A client that was silent for long, and several sessions: what it held comes again at last.
    for _ in 0..3 {
        let session = db.begin_intake_session(epoch, false).await.unwrap();
        assert_eq!(taken(db, session, bad("late", false)).await, Taken::Rejected, "said by its sender");
    }
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    for _ in 0..3 {
        assert_eq!(taken(db, session, bad("late", true)).await, Taken::Again);
    }
    // What was settled is not given out again, but by one that died: that takes it for new.
    settle(session, "settled").await;
    assert_eq!(taken(db, session, bad("settled", true)).await, Taken::Rejected);
    settle(session, "forgotten").await;
    let restarted = db.begin_intake_session(epoch, true).await.unwrap();
    assert_eq!(taken(db, restarted, bad("forgotten", false)).await, Taken::Again);
    settle(restarted, "new").await;
    assert_eq!(taken(db, restarted, bad("new", false)).await, Taken::Rejected, "it came since");
}

async fn life(db: &Database, epoch: i64) {
    let now = db.now_us().await.unwrap();
    let candidates = waiting(db, now, 10).await;
    assert_eq!(candidates.len(), 5);
    let id = candidates[0].next();
    assert!(matches!(db.grant(epoch, id, &worker(), &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    // The answer was lost: the same again for the same worker, nothing for another.
    assert!(matches!(db.grant(epoch, id, &worker(), &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    let mut other = worker();
    other.id.incarnation = uuid::Uuid::max();
    assert!(matches!(db.grant(epoch, id, &other, &pool(), 60).await.unwrap(), GrantOutcome::Refused));
    assert!(db.attempt(id).await.unwrap().unwrap().is_of(&worker().id));
    assert_eq!(db.open_attempts().await.unwrap().len(), 1);
    // An infrastructure failure: it waits again, after a pause.
    assert!(
        db.end_attempt(epoch, id, Fault::Testbed, Some(&ended(id, 16)), "d", Some(60_000_000)).await.unwrap()
    );
    assert!(!db.end_attempt(epoch, id, Fault::Testbed, None, "d", None).await.unwrap());
    assert_eq!(waiting(db, now, 10).await.len(), 4);
    let second = waiting(db, now + 90_000_000, 10).await[0].next();
    assert_eq!(second, AttemptId { job: id.job, attempt: 2 });
    publish(db, epoch, second).await;
}

async fn publish(db: &Database, epoch: i64, id: AttemptId) {
    assert!(matches!(db.grant(epoch, id, &worker(), &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    let outcome = db.open_publication(epoch, &ended(id, 4), &series("green")).await.unwrap();
    let PublishOutcome::Granted(publication) = outcome else { panic!("granted") };
    let again = db.open_publication(epoch, &ended(id, 4), &series("green")).await.unwrap();
    assert!(matches!(again, PublishOutcome::Granted(p) if p == publication));
    assert!(is_closed(db, epoch).await);
    let done = Completed { id, run_id: publication.run_id.clone(), result_tar: b"tar".to_vec() };
    let wrong = Completed { run_id: "20200101_000000_aaaaa@".parse().unwrap(), ..done.clone() };
    assert!(!db.complete(epoch, wrong).await.unwrap());
    assert!(db.complete(epoch, done.clone()).await.unwrap());
    assert!(db.complete(epoch, done).await.unwrap(), "the answer was lost");
    assert_eq!(db.outbox_length().await.unwrap().0, 1);
    // Recorded, not yet stored: nobody is shown it.
    assert!(db.result_of_job(id.job).await.unwrap().is_none());
    let due = db.outbox_due(10).await.unwrap();
    assert_eq!(due.len(), 1);
    let sent: serde_json::Value = serde_json::from_str(due[0].message.as_ref().unwrap()).unwrap();
    assert_eq!((&sent["exitcode"], &sent["testpkg_version"]), (&4.into(), &"2".into()));
    assert_eq!(sent["triggers"], "green/2");
    assert_eq!(sent["swift_dir"], format!("noble/amd64/g/green/{}", publication.run_id));
    assert_eq!(db.storing().await.unwrap()[0].id, id.job);
    assert!(is_closed(db, epoch).await);
    assert!(db.result_stored(&due[0]).await.unwrap());
    assert!(db.result_stored(&due[0]).await.unwrap(), "the message was not sent");
    assert!(db.storing().await.unwrap().is_empty());
    assert!(db.outbox_done(&due[0]).await.unwrap());
    // One that led before thaws: the result stays, and is not announced once more.
    assert!(!db.result_stored(&due[0]).await.unwrap());
    assert!(!db.outbox_done(&due[0]).await.unwrap());
    assert_eq!(db.outbox_length().await.unwrap().0, 0);
    assert_eq!(db.result_of_job(id.job).await.unwrap().unwrap().version, "2");
    assert_eq!(
        db.recent(&RecentFilter {
            limit: 10,
            class: Some(crate::outcome::Class::Fail),
            ..RecentFilter::default()
        })
        .await
        .unwrap()
        .len(),
        1
    );
    assert_eq!(
        db.recent(&RecentFilter {
            limit: 10,
            class: Some(crate::outcome::Class::Otherfail),
            ..RecentFilter::default()
        })
        .await
        .unwrap()
        .len(),
        0
    );
    let green = "green".parse().unwrap();
    assert_eq!(db.latest_of(&green, &["noble/amd64".parse().unwrap()].into()).await.unwrap().len(), 1);
    assert!(db.has_results(&green).await.unwrap());
    assert!(!db.has_results(&"gr".parse().unwrap()).await.unwrap());
    // The lease ends in the middle of a publication: what was uploaded is swept.
    let next = waiting(db, db.now_us().await.unwrap(), 10).await[0].next();
    assert!(matches!(db.grant(epoch, next, &worker(), &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    let outcome = db.open_publication(epoch, &ended(next, 0), &series("green")).await.unwrap();
    let PublishOutcome::Granted(later) = outcome else { panic!("granted") };
    assert!(later.run_id > publication.run_id);
    assert!(db.end_attempt(epoch, next, Fault::LeaseLost, None, "", None).await.unwrap());
    assert_eq!(db.job(next.job).await.unwrap().unwrap().state(), JobState::Parked);
    // A gate can be told of it, unless it is said not to be.
    assert_eq!(to_be_answered(db).await, [next.job]);
    db.never_answer(next.job).await.unwrap();
    assert!(to_be_answered(db).await.is_empty() && db.job(next.job).await.unwrap().unwrap().unanswerable);
    assert_eq!(db.outbox_due(10).await.unwrap().len(), 1);
    assert_eq!(db.outbox_length().await.unwrap(), (2, 0));
    for entry in db.outbox_due(10).await.unwrap() {
        db.outbox_done(&entry).await.unwrap();
    }
}

async fn to_be_answered(db: &Database) -> Vec<i64> {
    db.unanswered_before(i64::MAX, 0, 10).await.unwrap().iter().map(|job| job.id).collect()
}

fn never_run(job: i64) -> SyntheticResult {
    let (version, from) = ("blacklisted".to_owned(), JobState::Waiting);
    SyntheticResult { job, exit_code: 99, version, rule: "never-run", from }
}

/// True while nothing else of the series may be published, whatever the leader believes.
async fn is_closed(db: &Database, epoch: i64) -> bool {
    let job = waiting(db, db.now_us().await.unwrap(), 1).await[0].id;
    let synthetic = never_run(job);
    let outcome = db.record_synthetic(epoch, &synthetic, &series("green"), vec![], vec![]).await.unwrap();
    outcome == SyntheticOutcome::Wait
}

async fn answers_without_a_run(db: &Database, epoch: i64) {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    let Taken::New { job, uuid } = taken(db, session, message("never", "{}", false)).await else {
        panic!("new")
    };
    let synthetic = never_run(job);
    let recorded = db.record_synthetic(epoch, &synthetic, &series("never"), vec![1], vec![2]).await.unwrap();
    let SyntheticOutcome::Recorded(run_id) = recorded else { panic!("{recorded:?}") };
    let again = db.record_synthetic(epoch, &synthetic, &series("never"), vec![1], vec![2]).await.unwrap();
    assert_eq!(again, SyntheticOutcome::Over);
    assert_eq!(db.job_by_uuid(uuid).await.unwrap().unwrap().state(), JobState::Storing);
    let due = db.outbox_due(10).await.unwrap();
    assert_eq!((due.len(), due[0].log_gz.as_deref()), (1, Some(&[2u8][..])));
    db.outbox_failed(&due[0], 1, "away", 0).await.unwrap();
    assert_eq!(db.outbox_due(10).await.unwrap()[0].tries, 1);
    db.outbox_failed(&due[0], 2, "away", 60_000_000).await.unwrap();
    assert!(db.outbox_due(10).await.unwrap().is_empty());
    db.outbox_failed(&due[0], 3, "away, and the clock is wrong", 86_400_000_000).await.unwrap();
    assert_eq!(db.outbox_due(10).await.unwrap().len(), 1);
    // The store never takes it: the job is parked, its series is open, and an operator has it retried.
    let entry = db.outbox_due(10).await.unwrap().remove(0);
    assert!(db.outbox_refused(&entry, "forbidden").await.unwrap());
    assert!(!db.outbox_refused(&entry, "forbidden").await.unwrap());
    let swept = db.outbox_due(10).await.unwrap().remove(0);
    assert_eq!((swept.id, swept.kind(), swept.result_tar.is_none()), (entry.id, OutboxKind::Sweep, true));
    assert!(!db.outbox_done(&entry).await.unwrap(), "it is to be swept now");
    assert!(db.outbox_done(&swept).await.unwrap());
    // One that led before thaws and has stored it now: it is not shown, and goes again.
    assert!(!db.result_stored(&entry).await.unwrap());
    let again = db.outbox_due(10).await.unwrap();
    let [again] = again.as_slice() else { panic!("one") };
    assert_eq!(
        (again.kind(), &again.container, &again.folder),
        (OutboxKind::Sweep, &entry.container, &entry.folder)
    );
    assert!(db.outbox_done(again).await.unwrap());
    let parked = db.parked(job - 1, 1).await.unwrap().remove(0);
    assert_eq!((parked.job.id, parked.reason(), parked.is_readable()), (job, "not-answered", true));
    let shown = db.public_parked_count().await.unwrap();
    // It is not answered again and again.
    assert!(to_be_answered(db).await.is_empty() && parked.job.reason.unwrap().contains("not tried again"));
    assert_eq!(db.retry_parked(&[job, job + 1000]).await.unwrap(), [job]);
    assert_eq!(db.public_parked_count().await.unwrap(), shown - 1);
    assert!(db.retry_parked(&[job]).await.unwrap().is_empty());
    // The series of what was refused is open to others.
    let other = taken(db, session, message("never", "{\"force\": \"1\"}", false)).await;
    let Taken::New { job: other, .. } = other else { panic!("{other:?}") };
    let next =
        db.record_synthetic(epoch, &never_run(other), &series("never"), vec![1], vec![2]).await.unwrap();
    assert!(matches!(next, SyntheticOutcome::Recorded(_)), "{next:?}");
    let due = db.outbox_due(10).await.unwrap();
    assert!(db.result_stored(&due[0]).await.unwrap() && db.outbox_done(&due[0]).await.unwrap());
    assert!(!db.job(job).await.unwrap().unwrap().unanswerable);
    let stale = SyntheticResult { from: JobState::Parked, ..never_run(job) };
    let refused = db.record_synthetic(epoch, &stale, &series("never"), vec![1], vec![2]).await.unwrap();
    assert_eq!(refused, SyntheticOutcome::Over, "it was retried meanwhile");
    let again = db.record_synthetic(epoch, &synthetic, &series("never"), vec![1], vec![2]).await.unwrap();
    assert!(matches!(again, SyntheticOutcome::Recorded(_)), "{again:?}");
    let known = [FoundRun { series: series("never"), run_id }];
    assert_eq!(db.unknown_runs(&known).await.unwrap(), [0].into(), "the refused one left no row");
    assert!(!db.result_stored(&entry).await.unwrap(), "that was another result of the job");
    assert_eq!(db.job(job).await.unwrap().unwrap().state(), JobState::Storing);
    assert!(db.result_of_job(job).await.unwrap().is_none());
}

async fn editions(db: &Database, epoch: i64) {
    assert_eq!(db.lineage("one").await.unwrap(), "one");
    assert_eq!(db.lineage("two").await.unwrap(), "one");
    assert_eq!(db.last_edition().await.unwrap(), 0);
    let of = async |after| db.published_rows(after, i64::MAX, "", 10).await.unwrap();
    assert!(of((0, 0)).await.is_empty());
    assert_eq!(db.next_edition(epoch, 10).await.unwrap(), 1);
    assert_eq!(db.next_edition(epoch, 10).await.unwrap(), 0);
    assert_eq!(db.last_edition().await.unwrap(), 1);
    let rows = of((0, 0)).await;
    let said =
        (rows[0].package.as_str(), rows[0].version.as_str(), rows[0].triggers.as_str(), rows[0].edition);
    assert_eq!((rows.len(), said), (1, ("green", "2", "green/2", 1)));
    assert!(of((1, rows[0].id)).await.is_empty());
    assert!(db.published_rows((0, 0), 0, "", 10).await.unwrap().is_empty());
    assert!(db.published_rows((0, 0), 1, "9999", 10).await.unwrap().is_empty());
    assert!(matches!(db.next_edition(epoch - 1, 10).await, Err(DbError::LeadershipLost(_))));
}

async fn tokens(db: &Database) {
    let hash = token_hash("secret");
    let id = db.add_token("britney", "release-team", &hash, "request", 60).await.unwrap();
    assert!(db.valid_token(&hash).await.unwrap().unwrap().may("request"));
    assert!(db.revoke_token(id).await.unwrap());
    assert!(db.valid_token(&hash).await.unwrap().is_none());
    assert_eq!(db.count_requests("joe", 1, 1).await.unwrap(), None);
    assert!(db.count_requests("joe", 1, 1).await.unwrap().is_some_and(|s| s > 3500));
}

fn found(run_id: &str) -> FoundRun {
    FoundRun { series: series("amber"), run_id: run_id.parse().unwrap() }
}

fn in_store(run_id: &str, uuid: Option<&str>) -> StoredResult {
    let said = Said {
        exit_code: 4,
        version: "2~\"'".to_owned(),
        triggers: Some("a/1 b/2".to_owned()),
        env: String::new(),
        requester: None,
        duration_seconds: 7,
        uuid: uuid.map(|text| text.parse().unwrap()),
        rule: None,
    };
    StoredResult { run: found(run_id), said, readable_by: vec!["joe".to_owned(), "ann".to_owned()] }
}

/// Results of other systems are added, once; what is published later comes behind them.
async fn index(db: &Database, epoch: i64) {
    let ids =
        ["20130101_000000@", "20261121_053634_abcde@", "20991231_235959_ffffe@", "20991231_235959_fffff@"];
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    let (uuid, container) = ("6a1d4c5e-94c5-4f8e-9b1c-3a8d1b7a2c12", series("amber").container);
    let Taken::New { job, .. } =
        taken(db, session, message("amber", &format!("{{\"uuid\": \"{uuid}\"}}"), false)).await
    else {
        panic!("new")
    };
    let seen = ids.map(found);
    let results = [in_store(ids[1], Some(uuid)), in_store(ids[0], None), in_store(ids[2], None)];
    assert_eq!(db.unknown_runs(&seen).await.unwrap(), [0, 1, 2, 3].into());
    assert_eq!(db.index(&seen, &results[..2], Some((&container, "m"))).await.unwrap(), 2);
    let again = StoredResult { said: Said { exit_code: 0, ..results[0].said.clone() }, ..results[0].clone() };
    assert_eq!(db.index(&seen, &[again, results[2].clone()], None).await.unwrap(), 1);
    assert_eq!(db.index(&seen[..1], &[], None).await.unwrap(), 0);
    assert_eq!(db.unknown_runs(&seen).await.unwrap(), [3].into());
    let rows = db.results_by_run_id(&seen[1].run_id, 9).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.job_id, row.exit_code, row.duration_seconds, row.private), (Some(job), 4, 7, false));
    assert_eq!(
        (row.version.as_str(), row.triggers.as_deref(), row.env.as_deref()),
        ("2~\"'", Some("a/1 b/2"), Some(""))
    );
    assert_eq!((row.readable_by.as_str(), row.uuid.as_deref()), ("joe\nann", Some(uuid)));
    assert_eq!(db.results_by_run_id(&seen[0].run_id, 9).await.unwrap()[0].job_id, None);
    // A damaged one counts too: its folder can be seen.
    let made = SyntheticResult {
        job,
        exit_code: 99,
        version: "unknown".to_owned(),
        rule: "never-run",
        from: JobState::Waiting,
    };
    let recorded = db.record_synthetic(epoch, &made, &series("amber"), vec![], vec![]).await.unwrap();
    let SyntheticOutcome::Recorded(run_id) = recorded else { panic!("{recorded:?}") };
    assert!(run_id > seen[3].run_id, "{run_id}");
    assert_eq!(
        db.reindexed(&container).await.unwrap().map(|r| (r.marker, r.finished)),
        Some(("m".to_owned(), false))
    );
    db.reindex_finished(&container).await.unwrap();
    assert!(db.reindexed(&container).await.unwrap().unwrap().finished);
    db.reindex_anew(&container).await.unwrap();
    assert_eq!(db.reindexed(&container).await.unwrap(), None);
}

async fn new_job(db: &Database, epoch: i64, package: &str, params: &str) -> i64 {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    let Taken::New { job, .. } = taken(db, session, message(package, params, false)).await else {
        panic!("new")
    };
    job
}

async fn new_or_merged(db: &Database, epoch: i64, package: &str, params: &str) -> i64 {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    match taken(db, session, message(package, params, false)).await {
        Taken::New { job, .. } | Taken::Merged { job, .. } => job,
        other => panic!("{other:?}"),
    }
}

fn ids(rows: Vec<super::OperatedRow>) -> Vec<i64> {
    rows.into_iter().map(|row| row.id).collect()
}

async fn granted(db: &Database, epoch: i64, job: i64, attempt: i32) -> AttemptId {
    let id = AttemptId { job, attempt };
    assert!(matches!(db.grant(epoch, id, &worker(), &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    id
}

/// What operators do changes what still stands where they saw it, and is counted in the audit log.
async fn operators(db: &Database, epoch: i64) {
    holds(db).await;
    by_each_uuid(db, epoch).await;
    what_caps_count(db, epoch).await;
    emergencies_end_wherever_they_stand(db, epoch).await;
    let git = r#"{"test-git": "https://example.org/a.git"}"#;
    let first = new_job(db, epoch, "op1", git).await;
    let second = new_job(db, epoch, "op2", git).await;
    let third = new_job(db, epoch, "op3", "{}").await;
    assert_eq!(ids(db.operated_waiting(first - 1, 2).await.unwrap()), [first, second]);
    assert_eq!(ids(db.from_first_waiting_git(0, 10).await.unwrap()), [first, second]);
    assert_eq!(ids(db.from_first_waiting_git(first, 10).await.unwrap()), [second]);
    assert!(db.waiting_count().await.unwrap() >= 3);
    let audit = db.begin_audit("ann", "raise", "{}").await.unwrap();
    let to = "7 gates ubuntu noble/amd64 - green/2";
    let moved = |from: &str, job| LaneMove { job, from: from.to_owned(), to: to.to_owned() };
    let all = [moved(LANE, first), moved("0 gates ppa noble/amd64 - x", second), moved(LANE, third)];
    let mut went = db.move_lanes(audit, &all, false).await.unwrap();
    went.sort_unstable();
    assert_eq!(went, [first, third]);
    assert!(db.move_lanes(audit, &all, false).await.unwrap().is_empty(), "they stand elsewhere by now");
    // A leader that read the lane before does not undo it; one that cannot read it has it sorted anew.
    let late = [(first, Some(LANE.to_owned()), LANE.to_owned())];
    db.sort_jobs(epoch, &late).await.unwrap();
    assert_eq!(db.job(first).await.unwrap().unwrap().lane.as_deref(), Some(to));
    db.unsort_lane(epoch, to).await.unwrap();
    assert_eq!(db.job(first).await.unwrap().unwrap().lane, None);
    db.sort_jobs(epoch, &[(first, None, to.to_owned())]).await.unwrap();
    assert_eq!(db.job(first).await.unwrap().unwrap().lane.as_deref(), Some(to));
    assert_eq!(entry(db, audit).await.jobs, 2);
    let audit = db.begin_audit("joe", "cancel", r#"{"all":true}"#).await.unwrap();
    let gone = db.end_all_waiting(audit, &[first, i64::MAX], JobState::Cancelled, "mistake").await.unwrap();
    assert_eq!(gone, [first]);
    let row = db.job(first).await.unwrap().unwrap();
    assert_eq!((row.state(), row.reason.as_deref()), (JobState::Cancelled, Some("mistake")));
    let answer = (99, "nobody wants it\n");
    let answered = db.answer_all_waiting(audit, &[first, second], "mistake", answer).await.unwrap();
    assert_eq!(answered, [second]);
    assert!(db.answer_all_waiting(audit, &[second], "again", answer).await.unwrap().is_empty());
    let row = db.job(second).await.unwrap().unwrap();
    assert_eq!(
        (row.state(), row.lane.as_deref(), row.answer_code),
        (JobState::Waiting, Some(ANSWERS), Some(99))
    );
    // Nobody joins what was called off.
    new_job(db, epoch, "op2", git).await;
    cancelled_while_they_run(db, epoch, audit, third).await;
    let said = entry(db, audit).await;
    assert_eq!(
        (said.person.as_str(), said.action.as_str(), said.what.as_str()),
        ("joe", "cancel", r#"{"all":true}"#)
    );
    assert_eq!(said.jobs, 5);
    assert!(db.audit(audit, 0, None, 10).await.unwrap().is_empty());
    assert!(db.audit(0, i64::MAX, None, 10).await.unwrap().is_empty());
    assert!(db.audit(0, 0, Some("ann"), 10).await.unwrap().iter().all(|entry| entry.person == "ann"));
}

/// One waits, one runs, of a package, a trigger and a requester of their own.
async fn what_caps_count(db: &Database, epoch: i64) {
    let params = |n: u32| {
        format!(r#"{{"triggers": ["capped/1", "green/2"], "requester": "cap", "env": ["NUMBER={n}"]}}"#)
    };
    let runs = new_job(db, epoch, "capped", &params(1)).await;
    new_job(db, epoch, "capped", &params(2)).await;
    assert_eq!(new_or_merged(db, epoch, "capped", &params(1).replace("\"cap\"", "\"ann\"")).await, runs);
    granted(db, epoch, runs, 1).await;
    for (kind, name, waiting, running) in [
        (CapKind::Package, "capped", 1, 1),
        (CapKind::Trigger, "capped/1", 1, 1),
        (CapKind::Requester, "cap", 1, 1),
        (CapKind::Requester, "ca", 0, 0),
        (CapKind::Package, "cap", 0, 0),
    ] {
        let capped = db.capped(kind, name).await.unwrap();
        assert_eq!((capped.waiting, capped.running), (waiting, running), "{kind} {name}");
    }
    let in_pool = db.capped_in_pool(&PoolRules::default(), "amd64").await.unwrap();
    assert!(in_pool.waiting >= 1 && in_pool.running >= 1, "{in_pool:?}");
    let in_none = db.capped_in_pool(&PoolRules::default(), "big").await.unwrap();
    assert_eq!((in_none.waiting, in_none.running), (0, 0));
}

async fn by_each_uuid(db: &Database, epoch: i64) {
    let alias = "0c1f7a52-8f0e-4a57-9a3b-6d2f3b7b1c55";
    let job = new_job(db, epoch, "op6", "{}").await;
    let own = db.job(job).await.unwrap().unwrap().uuid;
    assert_eq!(new_or_merged(db, epoch, "op6", &format!(r#"{{"uuid": "{alias}"}}"#)).await, job);
    for uuid in [own.as_str(), alias] {
        let found = db.operated(uuid.parse().unwrap()).await.unwrap();
        assert_eq!(found.map(|row| row.id), Some(job), "{uuid}");
    }
    assert_eq!(db.operated(uuid::Uuid::nil()).await.unwrap(), None);
}

/// One waits, one runs, one is parked; the lane is theirs whenever they wait again.
async fn emergencies_end_wherever_they_stand(db: &Database, epoch: i64) {
    let emergency = "1000 gates ubuntu noble/amd64 - green/2";
    let [waits, runs, parked] = [
        new_job(db, epoch, "op7", "{}").await,
        new_job(db, epoch, "op8", "{}").await,
        new_job(db, epoch, "op9", "{}").await,
    ];
    let between = |from: &str, to: &str| {
        let one = |job| LaneMove { job, from: from.to_owned(), to: to.to_owned() };
        [waits, runs, parked].map(one)
    };
    let audit = db.begin_audit("ann", "emergency", "{}").await.unwrap();
    assert_eq!(db.move_lanes(audit, &between(LANE, emergency), false).await.unwrap().len(), 3);
    granted(db, epoch, runs, 1).await;
    let id = granted(db, epoch, parked, 1).await;
    assert!(db.end_attempt(epoch, id, Fault::Testbed, None, "d", None).await.unwrap());
    assert_eq!(ids(db.operated_emergencies(0, 9).await.unwrap()), [waits, runs, parked]);
    assert_eq!(ids(db.operated_emergencies(waits, 1).await.unwrap()), [runs]);
    let back = between(emergency, LANE);
    assert_eq!(db.move_lanes(audit, &back, false).await.unwrap(), [waits]);
    let mut went = db.move_lanes(audit, &back, true).await.unwrap();
    went.sort_unstable();
    assert_eq!(went, [runs, parked]);
    assert!(db.operated_emergencies(0, 9).await.unwrap().is_empty());
    assert_eq!(db.retry_parked(&[parked]).await.unwrap(), [parked]);
    assert_eq!(db.job(parked).await.unwrap().unwrap().lane.as_deref(), Some(LANE));
}

async fn cancelled_while_they_run(db: &Database, epoch: i64, audit: i64, job: i64) {
    assert!(db.cancel_all_running(audit, &[job], "mistake", None).await.unwrap().is_empty(), "it waits");
    let id = granted(db, epoch, job, 1).await;
    assert_eq!(db.operated_running(job - 1, 1).await.unwrap()[0].id, job);
    assert_eq!(db.cancel_all_running(audit, &[job], "mistake", None).await.unwrap(), [job]);
    assert!(db.cancel_all_running(audit, &[job], "again", None).await.unwrap().is_empty());
    assert_eq!(db.to_cancel().await.unwrap(), [(job, "mistake".to_owned())]);
    // It failed by itself before the leader saw that.
    assert!(db.end_attempt(epoch, id, Fault::Testbed, None, "d", Some(0)).await.unwrap());
    assert_eq!(db.job(job).await.unwrap().unwrap().state(), JobState::Cancelled);
    let again = new_job(db, epoch, "op5", "{}").await;
    let since_us = db.now_us().await.unwrap();
    let id = granted(db, epoch, again, 1).await;
    let met = async || ids(db.operated_again(since_us, again - 1, 9).await.unwrap());
    assert!(met().await.is_empty(), "it runs");
    assert!(db.end_attempt(epoch, id, Fault::Testbed, None, "d", Some(0)).await.unwrap());
    assert_eq!(met().await, [again]);
    assert!(ids(db.operated_again(i64::MAX, 0, 9).await.unwrap()).is_empty());
    assert_eq!(db.end_all_waiting(audit, &[again], JobState::Cancelled, "d").await.unwrap(), [again]);
    let other = new_job(db, epoch, "op4", "{}").await;
    let id = granted(db, epoch, other, 1).await;
    let answer = Some((99, "nobody wants it\n"));
    assert_eq!(db.cancel_all_running(audit, &[other], "mistake", answer).await.unwrap(), [other]);
    assert!(db.cancel_attempt(epoch, id, "mistake").await.unwrap());
    let row = db.job(other).await.unwrap().unwrap();
    assert_eq!(
        (row.state(), row.answer_code, row.lane.as_deref()),
        (JobState::Waiting, Some(99), Some(ANSWERS))
    );
    // Its result says why, as long as the job's row is there.
    let said = SyntheticResult { rule: decided_by::CANCELLED, ..never_run(other) };
    let recorded = db.record_synthetic(epoch, &said, &series("op4"), vec![1], vec![2]).await.unwrap();
    assert!(matches!(recorded, SyntheticOutcome::Recorded(_)), "{recorded:?}");
    for due in db.outbox_due(1000).await.unwrap() {
        db.result_stored(&due).await.unwrap();
    }
    let result = db.result_of_job(other).await.unwrap().unwrap();
    assert_eq!((result.rule.as_deref(), result.called_off.as_deref()), (Some("cancelled"), Some("mistake")));
}

async fn entry(db: &Database, audit: i64) -> super::AuditRow {
    db.audit(audit - 1, 0, None, 1).await.unwrap().remove(0)
}

async fn holds(db: &Database) {
    let pause = Pause {
        id: 0,
        release: Some("noble".to_owned()),
        arch: None,
        context: None,
        person: "ann".to_owned(),
        reason: "moving".to_owned(),
        since_us: 0,
    };
    let id = db.pause(&pause, "{}", 3).await.unwrap();
    let cap = |most| Cap {
        kind: "trigger".to_owned(),
        name: "*".to_owned(),
        most,
        person: "ann".to_owned(),
        since_us: 0,
    };
    db.set_cap(&cap(5), "{}").await.unwrap();
    db.set_cap(&cap(6), "{}").await.unwrap();
    let held = db.controls().await.unwrap();
    assert_eq!((held.pauses[0].id, held.pauses[0].to_string().as_str()), (id, "noble/* *"));
    assert!(held.pauses[0].since_us > 0);
    assert_eq!((held.caps.len(), held.caps[0].most), (1, 6));
    assert_eq!(db.resume(&[id, id + 1], "joe", "{}", 3).await.unwrap(), [id]);
    assert!(db.remove_cap(CapKind::Trigger, "*", "joe", "{}").await.unwrap());
    assert!(!db.remove_cap(CapKind::Trigger, "*", "joe", "{}").await.unwrap());
    let held = db.controls().await.unwrap();
    assert!(held.pauses.is_empty() && held.caps.is_empty());
    let next = db.pause(&pause, "{}", 0).await.unwrap();
    assert!(next > id, "the number of one that has ended is nobody else's");
    db.resume(&[next], "joe", "{}", 0).await.unwrap();
    let said: Vec<_> =
        db.audit(0, 0, None, 10).await.unwrap().into_iter().map(|e| (e.action, e.jobs)).collect();
    let expected =
        [("pause", 3), ("cap", 0), ("cap", 0), ("resume", 3), ("uncap", 0), ("pause", 0), ("resume", 0)];
    assert_eq!(said, expected.map(|(action, jobs)| (action.to_owned(), jobs)));
}

#[cfg(test)]
mod sqlite {
    use super::*;

    #[tokio::test]
    async fn sqlite_behaves() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", folder.path().display());
        behaves(&Database::open(&url, None).unwrap()).await;
    }
}
