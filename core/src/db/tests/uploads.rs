//! What one upload set off, and one queue: read by key.

use super::{Database, job, message};
use crate::{
    db::{JobRow, QueueFilter, SaidBefore, TestBefore},
    index::{FoundRun, StoredResult},
    layout::Series,
    names::Context,
    queue::PoolRules,
};

const CONTAINER: &str = "autopkgtest-mantic";

/// A result of mauve for an upload.
fn mauve(run_id: &str, trigger: &str, exit_code: i32) -> StoredResult {
    let series = Series {
        container: CONTAINER.parse().unwrap(),
        pair: "mantic/s390x".parse().unwrap(),
        package: "mauve".parse().unwrap(),
    };
    let run = FoundRun { series, run_id: run_id.parse().unwrap() };
    let mut result = StoredResult { run, ..super::in_store(run_id, None) };
    result.said.exit_code = exit_code;
    result.said.triggers = Some(trigger.to_owned());
    result
}

pub(super) async fn uploads(db: &Database, epoch: i64) {
    let results = [
        mauve("20261101_100000_aaaaa@", "migration-reference/0", 0),
        mauve("20261101_110000_aaaaa@", "old/1", 4),
        mauve("20261101_120000_aaaaa@", "mauve/1:2", 16),
        mauve("20261101_130000_aaaaa@", "mauve/1:2", 6),
    ];
    db.index(&[], &results, None).await.unwrap();
    while db.next_edition(epoch, 100).await.unwrap() > 0 {}
    while db.sum_up(epoch, 100).await.unwrap() > 0 {}
    let found = db.results_of_upload("mauve/1:2", 10).await.unwrap();
    let codes: Vec<_> = found.iter().map(|row| (row.package.as_str(), row.exit_code)).collect();
    assert_eq!(codes.len(), 2);
    assert!(codes.contains(&("mauve", 6)) && codes.contains(&("mauve", 16)));
    assert_eq!(db.results_of_upload("mauve/1:2", 1).await.unwrap().len(), 1);
    let ids: Vec<i64> = found.iter().map(|row| row.id).collect();
    assert_eq!(db.results_by_number(&ids).await.unwrap().len(), 2);
    let test = TestBefore {
        container: CONTAINER,
        release: "mantic",
        arch: "s390x",
        package: "mauve",
        run_id: "20261101_120000_aaaaa@",
    };
    let other = TestBefore { package: "none", ..test.clone() };
    let said = db.said_before_runs(&[other, test]).await.unwrap();
    assert_eq!(said, [SaidBefore::default(), SaidBefore { baseline: Some(0), before: Some(4) }]);
    let usual = db.usual_seconds(&[["none", "mantic", "s390x"], ["mauve", "mantic", "s390x"]]).await.unwrap();
    assert_eq!(usual, [None, Some(7)]);
    queue(db).await;
}

async fn queue(db: &Database) {
    let pair: crate::names::Pair = "mantic/s390x".parse().unwrap();
    let mut batch = Vec::new();
    for (package, params) in [
        ("q1", r#"{"triggers": ["mauve/1:2"]}"#),
        ("q2", r#"{"triggers": ["else/1", "mauve/1:2"]}"#),
        ("q3", r#"{"triggers": ["mauve/1:2"], "swiftuser": "u"}"#),
        ("q4", r#"{"triggers": ["mauve/1:2"], "ppas": ["own/name"]}"#),
    ] {
        let new = super::NewJob {
            pair: pair.clone(),
            lane: Some("0 gates ubuntu mantic/s390x - mauve/1:2".to_owned()),
            ..job(package, params)
        };
        batch.push(super::Prepared { what: Ok(Box::new(new)), ..message(package, params, false) });
    }
    db.take(None, &batch).await.unwrap();
    let open = db.jobs_of_upload("mauve/1:2").await.unwrap();
    let names: Vec<_> = open.iter().map(|job| (job.package.as_str(), job.body.is_empty())).collect();
    assert_eq!(names, [("q1", true), ("q4", false)]);
    let further = db.further_triggers().await.unwrap();
    let further = db.upload_jobs(&further["mauve/1:2"]).await.unwrap();
    assert_eq!(further.iter().map(|job| job.package.as_str()).collect::<Vec<_>>(), ["q2"]);

    let filter = QueueFilter {
        context: Context::Ubuntu,
        pair: pair.clone(),
        package: None,
        trigger: None,
        newest: false,
        after: 0,
        limit: 10,
    };
    let rows = db.queue_part(&filter).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.package.as_str()).collect::<Vec<_>>(), ["q1", "q2", "q3", "q4"]);
    for (package, number) in [("q2", 1), ("q3", 0)] {
        let filter = QueueFilter { package: Some(package.to_owned()), ..filter.clone() };
        assert_eq!(db.queue_part(&filter).await.unwrap().len(), number, "{package}");
    }
    let behind = async |newest, after: &JobRow| {
        let trigger = Some("mauve/1:2".to_owned());
        db.queue_part(&QueueFilter { trigger, newest, after: after.id, ..filter.clone() })
            .await
            .unwrap()
            .len()
    };
    assert_eq!([behind(false, &rows[0]).await, behind(true, &rows[0]).await], [1, 0]);
    let mut newest = db.queue_part(&QueueFilter { newest: true, ..filter }).await.unwrap();
    newest.reverse();
    let ids = |rows: &[JobRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&newest), ids(&rows));
    let ends = db.queue_ends(Context::Ubuntu, &pair).await.unwrap();
    assert_eq!(ends, Some((rows[0].received_us, rows[3].received_us)));
    assert_eq!(db.queue_ends(Context::Huge, &pair).await.unwrap(), None);
    let loads = db.lane_loads(0).await.unwrap();
    let load = loads.iter().find(|load| load.lane == rows[0].lane).unwrap();
    assert_eq!((load.waiting, load.pausing), (4, 0));

    // Places are counted in one go, whatever the order.
    let rules = std::sync::Arc::new(PoolRules::default());
    let situation = db.situation(&rules).await.unwrap();
    let some = [&rows[3], &rows[0], &rows[2]];
    let each = db.explain_each(&situation, &some).await.unwrap();
    for (row, waits) in some.into_iter().zip(each) {
        assert_eq!(waits, db.explain(&situation, row).await.unwrap(), "{}", row.package);
    }
    assert_eq!(db.jobs_by_number(&[rows[1].id]).await.unwrap()[0].package, "q2");
}
