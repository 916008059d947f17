//! Rows: job tables that earlier versions filled are read, and worked on.

use anyhow::{Context, Result, ensure};
use proofhouse_core::{
    db::{Completed, Database, GrantOutcome, PublishOutcome, RecentFilter, WorkerRef},
    layout::Series,
    outcome::ExitCode,
    protocol::{Ended, WorkerId},
};
use uuid::Uuid;

use crate::{CURRENT, database::Raw, dump, record, recordings, updates};

const FILE: &str = "rows.sql";

/// Everything of a filled job table, by every way that roles have of reading it.
pub(crate) async fn reads_everything(db: &Database) -> Result<()> {
    let waiting = db.queued(0, 100).await?;
    let running = db.running(100).await?;
    for job in waiting.iter().chain(&running) {
        job.request().with_context(|| format!("job {}", job.id))?;
        job.pair()?;
        job.context()?;
        db.job_by_uuid(job.uuid.parse()?).await?.context("by its uuid")?;
        db.attempts_of(job.id).await?;
    }
    let open = db.open_attempts().await?;
    for one in &open {
        one.attempt.holder()?;
    }
    let held = db.held().await?;
    ensure!(!waiting.is_empty() && !running.is_empty() && !open.is_empty() && held.len() == open.len());
    ensure!(!db.storing().await?.is_empty() && !db.outbox_due(10).await?.is_empty());
    let recent = db.recent(&RecentFilter { limit: 10, ..RecentFilter::default() }).await?;
    ensure!(!recent.is_empty() && !db.rejected(0, 10).await?.is_empty());
    ensure!(!db.workers().await?.is_empty() && !db.tokens().await?.is_empty());
    ensure!(!db.queue_counts().await?.is_empty() && !db.wanted().await?.is_empty());
    Ok(())
}

/// What was begun goes on: a new leader grants what waits, and records what was being published.
pub(crate) async fn works_on(db: &Database) -> Result<()> {
    let epoch = db.take_leadership("h2:2", true).await?.context("leadership")?;
    for one in db.open_attempts().await?.iter().filter(|one| one.attempt.state == "publishing") {
        let run_id = one.attempt.run_id.as_deref().context("a run id")?.parse()?;
        let done = Completed { id: one.attempt.id(), run_id, result_tar: b"tar".to_vec() };
        ensure!(db.complete(epoch, done).await?, "an open publication is completed");
    }
    let pool = "amd64".parse()?;
    let worker = WorkerRef {
        id: WorkerId { name: "w9".parse()?, incarnation: Uuid::from_u128(9) },
        host: "h9".to_owned(),
    };
    let now = db.now_us().await?;
    // No leader of this version has sorted them.
    let lane = "0 gates ubuntu noble/amd64 - green/2";
    let unsorted = db.unsorted(10).await?;
    let sorted: Vec<_> = unsorted.iter().map(|job| (job.id, job.lane.clone(), lane.to_owned())).collect();
    db.sort_jobs(epoch, &sorted).await?;
    let candidates = db.windows(&[(lane.to_owned(), 0)], now, 10).await?.remove(lane).unwrap_or_default();
    ensure!(!candidates.is_empty(), "something waits");
    for candidate in candidates {
        let id = candidate.next();
        let GrantOutcome::Granted(job) = db.grant(epoch, id, &worker, &pool, 1000).await? else {
            anyhow::bail!("{id} is refused");
        };
        let request = job.request()?;
        let pair = job.pair()?;
        let series = Series { container: request.container(&pair), pair, package: request.package };
        let ended = Ended {
            id,
            exit_code: ExitCode(0),
            version: Some(format!("{} 2", job.package)),
            duration_seconds: 1,
            fault: None,
            detail: String::new(),
            rule: None,
        };
        let opened = db.open_publication(epoch, &ended, &series).await?;
        let PublishOutcome::Granted(publication) = opened else { anyhow::bail!("{id}: {opened:?}") };
        let done = Completed { id, run_id: publication.run_id, result_tar: b"tar".to_vec() };
        ensure!(db.complete(epoch, done).await?, "{id} is recorded");
    }
    Ok(())
}

/// What a dump says of its schema.
fn schema_version(dump: &str) -> Result<i64> {
    let first = dump.lines().next().and_then(|line| line.strip_prefix("-- schema version "));
    Ok(first.context("the schema's version")?.parse()?)
}

/// `INSERT INTO table (columns`.
fn shape(dump: &str) -> Vec<&str> {
    let heads = dump.lines().filter(|line| line.starts_with("INSERT INTO "));
    let mut heads: Vec<&str> = heads.filter_map(|line| line.split(')').next()).collect();
    heads.sort_unstable();
    heads.dedup();
    heads
}

#[tokio::test]
async fn this_versions_rows_are_recorded() -> Result<()> {
    let filled = dump::filled().await?;
    if updates() {
        record(FILE, &filled)?;
    }
    let recorded = recordings(FILE)?.into_iter().find(|(version, _)| version == CURRENT);
    let recorded = recorded.context("the current version")?.1;
    assert_eq!(
        (schema_version(&recorded)?, shape(&recorded)),
        (schema_version(&filled)?, shape(&filled)),
        "the rows of {CURRENT} changed: record them with UPDATE=1 before its release"
    );
    Ok(())
}

#[tokio::test]
async fn every_recorded_job_table_is_migrated_read_and_worked_on() -> Result<()> {
    for (version, dump) in recordings(FILE)? {
        let name = format!("recorded_{}", version.replace(['.', '-'], "_"));
        for mut raw in Raw::both(&name).await? {
            raw.migrate_to(schema_version(&dump)?).await?;
            raw.load(&dump).await.with_context(|| version.clone())?;
            let db = raw.open()?;
            db.migrate().await?;
            let what = format!("{version} on {}", db.address());
            reads_everything(&db).await.context(what.clone())?;
            works_on(&db).await.context(what)?;
            db.close().await;
        }
    }
    Ok(())
}
