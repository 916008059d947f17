//! How hosts fared: by all attempts for the scheduler, by public ones for everybody.

use super::{AttemptId, Database, Fault, GrantOutcome, WorkerRef, new_job, pool, worker};

const HOST: &str = "quiet";

/// An attempt of a new job fails on the host.
async fn fails(db: &Database, epoch: i64, package: &str, params: &str) {
    let id = AttemptId { job: new_job(db, epoch, package, params).await, attempt: 1 };
    let worker = WorkerRef { host: HOST.to_owned(), ..worker() };
    assert!(matches!(db.grant(epoch, id, &worker, &pool(), 60).await.unwrap(), GrantOutcome::Granted(_)));
    assert!(db.end_attempt(epoch, id, Fault::Testbed, None, "", None).await.unwrap());
}

pub(super) async fn hosts(db: &Database, epoch: i64) {
    fails(db, epoch, "secret", r#"{"swiftuser": "u"}"#).await;
    let all = db.host_records().await.unwrap()[HOST];
    assert!(!db.public_host_records().await.unwrap().contains_key(HOST));
    fails(db, epoch, "open", "{}").await;
    let public = db.public_host_records().await.unwrap()[HOST];
    assert_eq!(public.health, all.health, "one fault each");
    assert!(db.host_records().await.unwrap()[HOST].health.score() < public.health.score());
}
