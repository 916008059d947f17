//! The first schema, filled by the statements of the code that went with it: it is migrated and read; and those statements
//! go on working on the new schema, for old roles run beside new ones.

use anyhow::Result;

use crate::{
    database::{Raw, Value},
    rows::{reads_everything, works_on},
};

macro_rules! statement {
    ($sql:expr $(, $value:expr)*) => { ($sql, vec![$(Value::from($value)),*]) };
}

const NOW: i64 = 1_795_239_394_000_000;
const JOBS: i64 = 6;

const INSERT_JOB: &str = "INSERT INTO jobs (kind, uuid, identity, context, release, arch, package, pool, body, run_hash, private,
        requesters, state, attempts, not_before_us, received_us, changed_us, answer_code, answer_log)
    VALUES ('autopkgtest', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', 0, 0, $12, $12, NULL, NULL)";
const GRANT: &str = "UPDATE jobs SET state = 'running', attempts = $1, changed_us = $2
    WHERE id = $3 AND state = 'waiting' AND attempts = $1 - 1";
const INSERT_ATTEMPT: &str =
    "INSERT INTO attempts (job_id, attempt, worker, incarnation, host, epoch, granted_us, absolute_end_us, state)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running')";
const OPEN: &str =
    "UPDATE attempts SET state = 'publishing', container = $1, run_id = $2, exit_code = $3, version = $4,
        duration_seconds = $5, detail = $6 WHERE job_id = $7 AND attempt = $8";
const COMPLETE: &str = "UPDATE attempts SET state = 'recorded', ended_us = $1
    WHERE job_id = $2 AND attempt = $3 AND state = 'publishing' AND run_id = $4";
const INSERT_RESULT: &str =
    "INSERT INTO results (job_id, container, release, arch, package, run_id, uuid, version, triggers, env,
        requester, exit_code, duration_seconds, private, readable_by, stored, recorded_us)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const INSERT_PUBLISH: &str =
    "INSERT INTO outbox (kind, job_id, container, reader, folder, result_tar, log_gz, message, not_before_us, tries)
    VALUES ('publish', $1, $2, NULL, $3, $4, NULL, $5, $6, 0)";
const INSERT_SWEEP: &str = "INSERT INTO outbox (kind, job_id, container, folder, not_before_us, tries)
    VALUES ('sweep', $1, $2, $3, $4, 0)";
const INSERT_SERIES: &str =
    "INSERT INTO series (container, release, arch, package, last_run_id) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (container, release, arch, package) DO UPDATE SET last_run_id = excluded.last_run_id";
const END: &str = "UPDATE attempts SET state = 'ended', fault = $1, detail = $2, ended_us = $3
    WHERE job_id = $4 AND attempt = $5 AND state IN ('running', 'publishing')";
const INSERT_WORKER: &str =
    "INSERT INTO workers (name, incarnation, host, pools, slots, draining, unable, version, seen_us)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, host = excluded.host,
        pools = excluded.pools, slots = excluded.slots, draining = excluded.draining, unable = excluded.unable,
        version = excluded.version, seen_us = excluded.seen_us";

type Statement = (&'static str, Vec<Value>);

/// What the first version writes in a day; `first` is the number of its first job.
fn a_day(first: i64) -> Vec<Statement> {
    // The first two wait, one of them after a failure; then one runs, one publishes, one is stored, one is done.
    let all = first..first + JOBS;
    let mut day = beside(first);
    day.extend(all.clone().flat_map(taken));
    day.extend(all.clone().skip(1).flat_map(granted));
    day.extend(failed(first + 1));
    day.extend(all.clone().skip(3).flat_map(published));
    day.extend(all.skip(4).flat_map(recorded));
    day.extend(stored(first + 5));
    day
}

const CONTAINER: &str = "autopkgtest-noble";

fn package(job: i64) -> String {
    format!("pkg{job}")
}

fn run_id(job: i64) -> String {
    format!("20261121_05{job:04}_abcde@")
}

fn folder(job: i64) -> String {
    format!("noble/amd64/p/pkg{job}/{}", run_id(job))
}

/// What is no job's.
fn beside(first: i64) -> Vec<Statement> {
    vec![
        statement!(
            "UPDATE leadership SET holder = $1, ends_us = $2, epoch = epoch + 1 WHERE id = 1",
            "h1:1",
            NOW
        ),
        statement!(
            "INSERT INTO unsettled (session, queue, digest) VALUES ($1, $2, $3)",
            1,
            "debci-noble-amd64",
            "abc"
        ),
        statement!(
            "INSERT INTO rejected (queue, body, kind, reason, received_us) VALUES ($1, $2, $3, $4, $5)",
            "debci-noble-amd64",
            &b"bad {"[..],
            "bad-json",
            "not JSON",
            NOW
        ),
        statement!(INSERT_WORKER, "w1", uuid(1), "h1", "amd64", 4, false, Value::Nothing, "0.1.0", NOW),
        statement!(
            "INSERT INTO tokens (name, person, hash, scopes, created_us, ends_us, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            "britney",
            "team",
            format!("hash{first}"),
            "request",
            NOW,
            NOW,
            false
        ),
        statement!("INSERT INTO asked (person, asked_us) VALUES ($1, $2)", "joe", NOW),
    ]
}

fn taken(job: i64) -> [Statement; 2] {
    let body = format!("pkg{job}\n{{\"triggers\": [\"pkg{job}/2\"]}}");
    let identity = format!("identity{job}");
    [
        statement!(
            INSERT_JOB,
            uuid(job),
            identity,
            "ubuntu",
            "noble",
            "amd64",
            package(job),
            "amd64",
            body,
            "abcde",
            false,
            "joe",
            NOW
        ),
        statement!(
            "INSERT INTO job_uuids (uuid, job_id) VALUES ($1, $2) ON CONFLICT (uuid) DO NOTHING",
            uuid(job),
            job
        ),
    ]
}

fn granted(job: i64) -> [Statement; 2] {
    [statement!(GRANT, 1, NOW, job), statement!(INSERT_ATTEMPT, job, 1, "w1", uuid(1), "h1", 1, NOW, NOW + 1)]
}

fn failed(job: i64) -> [Statement; 3] {
    [
        statement!(END, "testbed", "no testbed", NOW, job, 1),
        statement!(
            "UPDATE jobs SET state = $1, reason = $2, not_before_us = $3, changed_us = $4 WHERE id = $5",
            "waiting",
            "the testbed failed",
            NOW,
            NOW,
            job
        ),
        statement!(INSERT_SWEEP, job, CONTAINER, folder(job), NOW),
    ]
}

fn published(job: i64) -> [Statement; 3] {
    [
        statement!(INSERT_SERIES, CONTAINER, "noble", "amd64", package(job), run_id(job)),
        statement!(OPEN, CONTAINER, run_id(job), 4, format!("pkg{job} 2"), 90, "", job, 1),
        statement!("UPDATE jobs SET state = 'publishing', changed_us = $1 WHERE id = $2", NOW, job),
    ]
}

fn recorded(job: i64) -> [Statement; 4] {
    [
        statement!(COMPLETE, NOW, job, 1, run_id(job)),
        statement!(
            INSERT_RESULT,
            job,
            CONTAINER,
            "noble",
            "amd64",
            package(job),
            run_id(job),
            uuid(job),
            "2",
            "a/1",
            "",
            "joe",
            4,
            90,
            false,
            "",
            false,
            NOW
        ),
        statement!(INSERT_PUBLISH, job, CONTAINER, folder(job), &b"tar"[..], "{}", NOW),
        statement!(
            "UPDATE jobs SET state = 'storing', reason = NULL, changed_us = $1 WHERE id = $2",
            NOW,
            job
        ),
    ]
}

fn stored(job: i64) -> [Statement; 2] {
    [
        statement!("UPDATE results SET stored = $1 WHERE job_id = $2", true, job),
        statement!(
            "UPDATE jobs SET state = 'done', changed_us = $1 WHERE id = $2 AND state = 'storing'",
            NOW,
            job
        ),
    ]
}

fn uuid(n: i64) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[tokio::test]
async fn the_first_schema_is_migrated_filled_and_its_code_runs_on() -> Result<()> {
    for mut raw in Raw::both("first_schema").await? {
        raw.migrate_to(1).await?;
        for (sql, values) in a_day(1) {
            raw.execute(sql, values).await?;
        }
        let db = raw.open()?;
        db.migrate().await?;
        db.want(&"w1".parse()?, proofhouse_core::protocol::Wanted::Drain).await?;
        reads_everything(&db).await?;
        for (sql, values) in a_day(1 + JOBS) {
            raw.execute(sql, values).await?;
        }
        reads_everything(&db).await?;
        assert_eq!(db.open_attempts().await?.len(), 4);
        works_on(&db).await?;
        db.close().await;
    }
    Ok(())
}
