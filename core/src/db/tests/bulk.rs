//! Batches: each request sees what became of those before it, as if they came one by one.

use uuid::Uuid;

use super::{IntakeSession, NewJob, Prepared, Taken, job, message, worker};
use crate::{
    db::{Database, GrantOutcome, JobRow, NewRejection},
    intake::Intake,
    names::Context,
    protocol::AttemptId,
    queue::{ASKED, Class, Lane},
};

pub(super) async fn behaves(db: &Database, epoch: i64) {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    equal_ones(db, session).await;
    uuids(db, session).await;
    redelivered(db, session).await;
    urgent_ones(db, session).await;
    running_ones(db, session, epoch).await;
    bad_ones(db, session).await;
    many(db, session).await;
}

fn with(params: &str, change: impl FnOnce(&mut NewJob)) -> Prepared {
    let mut new = job("bulk", params);
    change(&mut new);
    Prepared { what: Ok(Box::new(new)), ..message("bulk", params, false) }
}

async fn take(db: &Database, session: IntakeSession, batch: &[Prepared]) -> Vec<Taken> {
    let (taken, unsettled) = db.take(Some(session), batch).await.unwrap();
    assert_eq!((taken.len(), unsettled.len()), (batch.len(), batch.len()));
    db.settle(&unsettled).await.unwrap();
    taken
}

async fn row(db: &Database, taken: &Taken) -> JobRow {
    let (Taken::New { job, .. } | Taken::Merged { job, .. }) = taken else { panic!("{taken:?}") };
    db.job(*job).await.unwrap().unwrap()
}

fn id(taken: &Taken) -> i64 {
    let (Taken::New { job, .. } | Taken::Merged { job, .. }) = taken else { panic!("{taken:?}") };
    *job
}

async fn equal_ones(db: &Database, session: IntakeSession) {
    let of = |requester: &str, force: bool| {
        let force = if force { ", \"force\": \"1\"" } else { "" };
        message("equal", &format!("{{\"requester\": \"{requester}\"{force}}}"), false)
    };
    let batch = [of("a", false), of("b", false), of("c", true), of("a", false), of("d", false)];
    let taken = take(db, session, &batch).await;
    assert!(
        matches!(
            taken[..],
            [
                Taken::New { .. },
                Taken::Merged { .. },
                Taken::New { .. },
                Taken::Merged { .. },
                Taken::Merged { .. }
            ]
        ),
        "{taken:?}"
    );
    let jobs: Vec<i64> = taken.iter().map(id).collect();
    assert_eq!(
        jobs,
        [jobs[0], jobs[0], jobs[0] + 1, jobs[0], jobs[0]],
        "in order, and the first takes what follows"
    );
    assert_eq!(row(db, &taken[0]).await.requesters, "a\nb\nd");
    assert_eq!(row(db, &taken[2]).await.requesters, "c");
    let later = take(db, session, &[of("e", false), of("a", false)]).await;
    assert_eq!(later.iter().map(id).collect::<Vec<_>>(), [jobs[0]; 2]);
    assert_eq!(row(db, &taken[0]).await.requesters, "a\nb\nd\ne");
}

async fn uuids(db: &Database, session: IntakeSession) {
    let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let of = |package: &str, uuid: Uuid| message(package, &format!("{{\"uuid\": \"{uuid}\"}}"), false);
    let batch = [of("first", one), of("second", one), of("first", two), of("third", two), of("first", one)];
    let taken = take(db, session, &batch).await;
    assert!(matches!(taken[0], Taken::New { uuid, .. } if uuid == one), "{taken:?}");
    assert!(matches!(taken[1], Taken::New { uuid, .. } if uuid != one), "taken within the batch: {taken:?}");
    assert!(matches!(taken[2], Taken::Merged { uuid, .. } if uuid == one), "{taken:?}");
    assert!(matches!(taken[3], Taken::New { uuid, .. } if uuid != two), "another's name: {taken:?}");
    assert_eq!(taken[4], taken[2], "its own name once more");
    for uuid in [one, two] {
        assert_eq!(db.job_by_uuid(uuid).await.unwrap().unwrap().id, id(&taken[0]));
    }
    for taken in take(db, session, &[of("fourth", one), of("fifth", two)]).await {
        assert!(matches!(taken, Taken::New { uuid, .. } if uuid != one && uuid != two), "{taken:?}");
    }
}

async fn redelivered(db: &Database, session: IntakeSession) {
    let of = |package: &str, again: bool| message(package, "{\"force\": \"1\"}", again);
    let lost = [of("lost", false), of("lost", false), of("other", false)];
    let (before, _) = db.take(Some(session), &lost).await.unwrap();
    // Two of these were committed, the third was not; one that nobody gave out before is another one in any case.
    let batch =
        [of("lost", true), of("lost", false), of("lost", true), of("lost", true), of("elsewhere", true)];
    let (after, unsettled) = db.take(Some(session), &batch).await.unwrap();
    assert!(
        matches!(
            after[..],
            [Taken::Again, Taken::New { .. }, Taken::Again, Taken::New { .. }, Taken::New { .. }]
        ),
        "{after:?}"
    );
    assert!(id(&after[1]) > id(&before[2]));
    // The same queue, or it is another one.
    let elsewhere = Prepared { queue: "debci-huge-noble-amd64".to_owned(), ..of("other", true) };
    assert!(matches!(take(db, session, &[elsewhere]).await[..], [Taken::New { .. }]));
    // That acknowledgement is lost too.
    let once_more = take(db, session, &[of("lost", true), of("lost", true), of("other", true)]).await;
    assert_eq!(once_more, [Taken::Again, Taken::Again, Taken::Again]);
    db.settle(&unsettled).await.unwrap();
}

async fn urgent_ones(db: &Database, session: IntakeSession) {
    let lane = |class, context, key: &str| Lane {
        level: 0,
        class,
        context,
        pair: "noble/amd64".parse().unwrap(),
        labels: String::new(),
        key: key.to_owned(),
    };
    let huge = |new: &mut NewJob| {
        new.context = Context::Huge;
        new.lane = Some(lane(Class::Bulk, Context::Huge, "x/1").to_string());
    };
    let gate = |new: &mut NewJob| new.lane = Some(lane(Class::Gates, Context::Ubuntu, "y/1").to_string());
    let person = |new: &mut NewJob| {
        new.lane = Some(ASKED.to_owned());
        new.requester = Some("joe".to_owned());
    };
    let unsorted = |new: &mut NewJob| new.lane = None;
    // Within a batch, and over two: the same.
    for (n, apart) in [(1, false), (2, true)] {
        let of = |env: &str| format!("{{\"env\": [\"AB={n}{env}\"]}}");
        let cases: [(&str, Vec<Prepared>, Option<String>); 6] = [
            (
                "huge, then plain",
                vec![with(&of("a"), huge), with(&of("a"), gate)],
                Some(lane(Class::Gates, Context::Ubuntu, "y/1").to_string()),
            ),
            (
                "plain, then huge",
                vec![with(&of("b"), gate), with(&of("b"), huge)],
                Some(lane(Class::Gates, Context::Ubuntu, "y/1").to_string()),
            ),
            (
                "plain, then a person",
                vec![with(&of("c"), gate), with(&of("c"), person)],
                Some(lane(Class::People, Context::Ubuntu, "joe").to_string()),
            ),
            (
                "huge, then a person",
                vec![with(&of("d"), huge), with(&of("d"), person)],
                Some(lane(Class::People, Context::Ubuntu, "joe").to_string()),
            ),
            (
                "unsorted, then a person",
                vec![with(&of("e"), unsorted), with(&of("e"), person)],
                Some(ASKED.to_owned()),
            ),
            (
                "a person, then plain",
                vec![with(&of("f"), person), with(&of("f"), gate)],
                Some(ASKED.to_owned()),
            ),
        ];
        for (what, batch, expected) in cases {
            let taken = if apart {
                let first = take(db, session, &batch[..1]).await;
                [first, take(db, session, &batch[1..]).await].concat()
            } else {
                take(db, session, &batch).await
            };
            assert!(matches!(taken[..], [Taken::New { .. }, Taken::Merged { .. }]), "{what}: {taken:?}");
            let row = row(db, &taken[0]).await;
            assert_eq!((row.lane, row.context.as_str()), (expected, "ubuntu"), "{what}, apart: {apart}");
        }
    }
}

async fn running_ones(db: &Database, session: IntakeSession, epoch: i64) {
    let grant = async |taken: &Taken| {
        let attempt = AttemptId { job: id(taken), attempt: 1 };
        let granted = db.grant(epoch, attempt, &worker(), &"amd64".parse().unwrap(), 60).await.unwrap();
        assert!(matches!(granted, GrantOutcome::Granted(_)));
    };
    let of = |env: &str, volatile: bool| {
        with(&format!("{{\"env\": [\"RUN={env}\"]}}"), |new| new.volatile = volatile)
    };
    let first = take(db, session, &[of("1", false), of("2", true)]).await;
    for taken in &first {
        grant(taken).await;
    }
    let before = row(db, &first[0]).await.lane;
    let second = take(db, session, &[of("1", false), of("2", true), of("2", true)]).await;
    assert_eq!(id(&second[0]), id(&first[0]));
    assert_eq!(row(db, &second[0]).await.lane, before);
    assert!(matches!(second[1], Taken::New { job, .. } if job != id(&first[1])), "one follower: {second:?}");
    assert_eq!(id(&second[2]), id(&second[1]));
}

async fn bad_ones(db: &Database, session: IntakeSession) {
    let answer = |text: &str| NewJob {
        identity: format!("answer:{text}"),
        answer: Some((20, "bad".into())),
        ..job(text, "{}")
    };
    let bad = |text: &str, answered: bool| {
        let rejection = NewRejection {
            body: text.as_bytes().to_vec(),
            kind: "bad-json",
            reason: "r".to_owned(),
            answer: answered.then(|| Box::new(answer(text))),
        };
        Prepared { what: Err(rejection), ..message(text, "", false) }
    };
    let known = db.rejected(0, 1000).await.unwrap().len();
    let batch = [
        message("good", "{}", false),
        bad("bad", true),
        bad("bad", true),
        bad("worse", false),
        message("better", "{}", false),
    ];
    let taken = take(db, session, &batch).await;
    assert_eq!(taken[1..4], [Taken::Rejected, Taken::Rejected, Taken::Rejected]);
    assert_eq!(id(&taken[4]), id(&taken[0]) + 3, "an answer is a job that nothing joins");
    assert_eq!(db.rejected(0, 1000).await.unwrap().len(), known + 3);
    // PostgreSQL keeps no NUL in a text; that is nobody else's trouble.
    let intake = Intake { served: ["noble/amd64".parse().unwrap()].into(), keys: None, answered: [].into() };
    let nul = with("{\"env\": [\"NUL=1\"]}", |new| new.requester = Some("j\0e".to_owned()));
    let batch =
        [message("nul1", "{}", false), message("nul2", "{}", false), nul, message("nul3", "{}", false)];
    let (taken, _) = intake.take(db, Some(session), &batch).await.unwrap();
    for good in [&taken[0], &taken[1], &taken[3]] {
        assert!(matches!(good, Taken::New { .. }), "{taken:?}");
    }
    if db.is_sqlite() {
        assert_eq!(row(db, &taken[2]).await.requesters, "j\0e");
    } else {
        assert_eq!(taken[2], Taken::Rejected);
    }
}

/// Texts are kept as they came, and numbers grow as requests come.
async fn many(db: &Database, session: IntakeSession) {
    let odd = "{\"x\": [\"A={},\\\"NULL\\\",\\\\\", \"é\\u0000\\u2028'$1\"]}";
    let batch: Vec<Prepared> = (0..500).map(|n| message(&format!("many{n}"), odd, false)).collect();
    let taken = take(db, session, &batch).await;
    let jobs: Vec<i64> = taken.iter().map(id).collect();
    assert!(jobs.is_sorted() && jobs[499] - jobs[0] == 499, "{jobs:?}");
    for n in [0, 250, 499] {
        let row = row(db, &taken[n]).await;
        assert_eq!((row.body, row.package), (format!("many{n}\n{odd}"), format!("many{n}")));
    }
    assert_eq!(db.take(None, &[]).await.unwrap(), (vec![], vec![]));
}
