//! What is open of somebody, and what takes too long.

use super::{AttemptId, Database, Fault, GrantOutcome, Taken, message, pool, taken, worker};
use crate::db::{StuckFilter, StuckRow};

pub(super) async fn open(db: &Database, epoch: i64) {
    let session = db.begin_intake_session(epoch, false).await.unwrap();
    let asked = "{\"triggers\": [\"slow/2\"], \"requester\": \"eve\"}";
    let Taken::New { job, .. } = taken(db, session, message("slow", asked, false)).await else {
        panic!("new")
    };
    let also = asked.replace("eve", "100%");
    taken(db, session, message("slow", &also, false)).await;
    let by = async |person: &str, after| {
        let rows = db.open_jobs_by(person, after, 9).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!((by("eve", 0).await, by("100%", 0).await), (vec![job], vec![job]));
    assert!(by("ev", 0).await.is_empty() && by("eve", job).await.is_empty() && by("%", 0).await.is_empty());

    let asked = "{\"ppas\": [\"joe/stuff:AB\"], \"requester\": \"joe\"}";
    let Taken::New { job: with_ppa, .. } = taken(db, session, message("slow", asked, false)).await else {
        panic!("new")
    };
    let naming = async |ppa: &str, after| {
        let rows = db.open_jobs_naming(ppa, after, 9).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!((naming("joe/stuff", 0).await, naming("slow/2", 0).await), (vec![with_ppa], vec![job]));
    assert!(db.is_open_trigger("slow/2").await.unwrap() && !db.is_open_trigger("slow/3").await.unwrap());
    assert!(naming("joe/stuf", 0).await.is_empty() && naming("joe/stuff", with_ppa).await.is_empty());

    let now = db.now_us().await.unwrap();
    assert!(db.waits_since_before(StuckRow::long_ago(now), job - 1, 9).await.unwrap().is_empty());
    let waits = db.waits_since_before(now + 1, job - 1, 9).await.unwrap();
    let StuckRow { job: row, granted_us, .. } = &waits[0];
    assert_eq!((row.id, *granted_us, waits[0].waits_long(row.received_us)), (job, None, false));
    assert!(waits[0].waits_long(row.received_us + 90_000_000_000));
    let stuck = async |now_us| {
        let arch = Some("amd64".to_owned());
        let filter = StuckFilter { arch, now_us, after: job - 1, limit: 9, ..StuckFilter::default() };
        let rows = db.stuck(&filter).await.unwrap();
        rows.into_iter()
            .map(|row| (row.job.id, row.failed_attempts(), row.runs_long(now_us)))
            .collect::<Vec<_>>()
    };
    assert!(stuck(now).await.is_empty());
    for attempt in [1, 2] {
        let id = AttemptId { job, attempt };
        let granted = db.grant(epoch, id, &worker(), &pool(), 60).await.unwrap();
        assert!(matches!(granted, GrantOutcome::Granted(_)));
        let before = i64::from(attempt) - 1;
        let shown = if before > 0 { vec![(job, before, false)] } else { vec![] };
        assert_eq!(stuck(now).await, shown);
        assert_eq!(stuck(now + 3_600_000_000).await, [(job, before, true)], "past its end");
        assert!(db.end_attempt(epoch, id, Fault::Testbed, None, "", Some(0)).await.unwrap());
        assert_eq!(stuck(now).await, [(job, i64::from(attempt), false)]);
    }
}
