//! What is counted at the end, and what must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context, Result};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::sleep;

use super::{
    Hurt, Whom,
    parts::Parts,
    requests::{self, Sent},
};
use crate::wait::{wait_for, wait_until_ok};

/// Of a lease, and what a busy machine adds.
const LEASE_US: i64 = 6_000_000;
/// For processes to end.
const DRAIN: Duration = Duration::from_secs(90);

/// What came of the requests.
pub(super) struct Counted {
    pub(super) wrong: Vec<String>,
    pub(super) summary: String,
    pub(super) results: usize,
    pub(super) real: usize,
}

/// Waits for the end of everything, but no longer than `patience`; returns what is open then.
pub(super) async fn wait(parts: &Parts, patience: Duration) -> Result<Option<String>> {
    let over = wait_until_ok("every request's end", patience, async || {
        is_over(parts).await?;
        // What was between two places is in one of them now.
        sleep(Duration::from_secs(1)).await;
        is_over(parts).await
    });
    Ok(over.await.err().map(|error| format!("{error:#}")))
}

/// Stops the processes, and counts; `open` is what did not end.
pub(super) async fn count(
    parts: &Parts,
    sent: &Sent,
    ends: &str,
    hurts: &[Hurt],
    open: Option<String>,
) -> Result<Counted> {
    let is_over = open.is_none();
    let mut wrong: Vec<String> = open.into_iter().collect();
    let told = requests::told(&parts.bus, ends).await?;
    results(parts, sent, &told, &mut wrong).await?;
    let (starts, ended) = starts(parts, &mut wrong).await?;
    let lost = leases(parts, hurts, &mut wrong).await?;
    // Who cannot end what he holds cannot end himself either.
    if is_over {
        left_behind(parts, &mut wrong).await?;
    }
    let real = parts.front.visible().iter().filter(|run| run.contains("/bookworm/")).count();
    let summary = format!(
        "{} requests confirmed, {} unsure; {starts} starts of a test, {ended} ends of a stand-in; {lost} leases lost; {} results, {real} of them of the real autopkgtest on lxd, {} told of; {} answers of the store spoilt\n",
        sent.confirmed.len(),
        sent.unsure.len(),
        parts.front.visible().len(),
        told.len(),
        parts.front.spoilt(),
    );
    Ok(Counted { wrong, summary, results: parts.front.visible().len(), real })
}

async fn connect(parts: &Parts) -> Result<PgConnection> {
    PgConnection::connect(parts.database()).await.context("the database")
}

/// An error while something is open, or a request is with the broker.
async fn is_over(parts: &Parts) -> Result<()> {
    let mut database = connect(parts).await?;
    // What a cut-off worker may have uploaded late is swept once more after an hour. That hour is over.
    database.execute("UPDATE outbox SET not_before_us = 0 WHERE kind = 'sweep'").await?;
    let sql = "SELECT 'job ' || id || ' is ' || state FROM jobs WHERE state <> 'done'
        UNION ALL SELECT 'the outbox holds ' || kind || ' of job ' || job_id FROM outbox
        UNION ALL SELECT 'attempt ' || job_id || '.' || attempt || ' is ' || state FROM attempts WHERE state IN ('running', 'publishing')
        LIMIT 20";
    let open: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut database).await?;
    anyhow::ensure!(open.is_empty(), "{}", open.join(", "));
    let queues = parts.rabbit.ctl(&["list_queues", "-p", "/", "name", "messages"]).await?;
    let asked = queues.lines().filter(|line| line.starts_with("debci-") && !line.ends_with("\t0"));
    let asked: Vec<&str> = asked.collect();
    anyhow::ensure!(asked.is_empty(), "{asked:?}");
    Ok(())
}

/// Each confirmed request has exactly one result; table and store agree; each was told; none became visible out of order.
async fn results(parts: &Parts, sent: &Sent, told: &BTreeSet<String>, wrong: &mut Vec<String>) -> Result<()> {
    let mut database = connect(parts).await?;
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as("SELECT triggers, package || '/' || run_id, uuid, stored FROM results")
            .fetch_all(&mut database)
            .await?;
    let mut of_request = BTreeMap::<&str, Vec<&str>>::new();
    for (trigger, run, uuid, stored) in &rows {
        of_request.entry(trigger).or_default().push(run);
        if !stored {
            wrong.push(format!("{run} is recorded and not stored"));
        }
        if !told.contains(uuid) {
            wrong.push(format!("nobody was told of {run}"));
        }
    }
    for trigger in sent.confirmed.iter().filter(|trigger| !of_request.contains_key(trigger.as_str())) {
        wrong.push(format!("LOST: {trigger} was confirmed and has no result"));
    }
    for (trigger, runs) in &of_request {
        if runs.len() > 1 {
            wrong.push(format!("DOUBLED: {trigger} has {} results: {}", runs.len(), runs.join(", ")));
        }
        if !sent.confirmed.contains(*trigger) && !sent.unsure.contains(*trigger) {
            wrong.push(format!("nobody asked for {trigger}"));
        }
    }
    let in_table: BTreeSet<String> = rows.iter().map(|(_, run, _, _)| run.clone()).collect();
    let last_two = |path: &String| {
        let mut words = path.rsplit('/');
        let (run, package) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        format!("{package}/{run}")
    };
    let in_store: BTreeSet<String> = parts.front.visible().iter().map(last_two).collect();
    wrong
        .extend(in_table.difference(&in_store).map(|run| format!("{run} is in the table, not in the store")));
    wrong
        .extend(in_store.difference(&in_table).map(|run| format!("{run} is in the store, not in the table")));
    wrong.extend(parts.front.late().iter().map(|run| format!("{run} became visible behind a greater one")));
    Ok(())
}

/// Each start of a test is one attempt of its job; no attempt was granted before the one before it had ended.
async fn starts(parts: &Parts, wrong: &mut Vec<String>) -> Result<(usize, usize)> {
    let ledger = fs::read_to_string(&parts.ledger).unwrap_or_default();
    let mut started = BTreeMap::<&str, i64>::new();
    let mut ends = 0;
    for line in ledger.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [_, "start", _, trigger] => *started.entry(trigger).or_default() += 1,
            [_, "end", ..] => ends += 1,
            _ => wrong.push(format!("the ledger has {line:?}")),
        }
    }
    let mut database = connect(parts).await?;
    let attempts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT j.trigger, count(*) FROM jobs j JOIN attempts a ON a.job_id = j.id GROUP BY j.trigger",
    )
    .fetch_all(&mut database)
    .await?;
    let attempts: BTreeMap<String, i64> = attempts.into_iter().collect();
    for (trigger, starts) in &started {
        let granted = attempts.get(*trigger).copied().unwrap_or(0);
        if *starts > granted {
            wrong.push(format!("DOUBLED: {trigger} was started {starts} times, and granted {granted} times"));
        }
    }
    let early: Vec<String> = sqlx::query_scalar(
        "SELECT 'DOUBLED: attempt ' || b.attempt || ' of ' || j.trigger || ' was granted before the one before it had ended'
         FROM attempts a JOIN attempts b ON b.job_id = a.job_id AND b.attempt = a.attempt + 1 JOIN jobs j ON j.id = a.job_id
         WHERE a.ended_us IS NULL OR b.granted_us < a.ended_us",
    )
    .fetch_all(&mut database)
    .await?;
    wrong.extend(early);
    let all = started.values().sum::<i64>();
    Ok((usize::try_from(all)?, ends))
}

/// No lease was lost but by a worker that could not renew it.
async fn leases(parts: &Parts, hurts: &[Hurt], wrong: &mut Vec<String>) -> Result<usize> {
    let mut database = connect(parts).await?;
    let lost: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
        "SELECT j.trigger || ' (attempt ' || a.attempt || ')', a.worker, a.incarnation, a.granted_us, a.ended_us
         FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE a.fault = 'lease-lost' AND a.ended_us IS NOT NULL",
    )
    .fetch_all(&mut database)
    .await?;
    for (what, worker, incarnation, granted, ended) in &lost {
        let is_why = |hurt: &Hurt| {
            let is_over = *granted > *hurt.lasts.end() + LEASE_US;
            hurt.lasts.start() <= ended
                && match &hurt.whom {
                    Whom::Frozen(its) => its == incarnation && !is_over,
                    Whom::Ended(its) => its == incarnation,
                    Whom::Workers => !is_over,
                }
        };
        if !hurts.iter().any(is_why) {
            let time = |us| jiff::Timestamp::from_microsecond(us).unwrap_or_default();
            wrong.push(format!(
                "DOUBLED: {what} was granted at {} and lost its lease at {}, though nothing had happened to worker {worker} ({incarnation})",
                time(*granted), time(*ended)
            ));
        }
    }
    Ok(lost.len())
}

/// After the processes were asked to stop: no process, no message, no lease, no folder of a run, no object of one that is no result.
async fn left_behind(parts: &Parts, wrong: &mut Vec<String>) -> Result<()> {
    for member in &parts.members {
        let process = member.process().await;
        process.sigterm()?;
        if process.wait(DRAIN).await.is_err() {
            wrong.push(format!("a {} did not end", member.role));
        }
        let left = wait_for("its processes' end", Duration::from_secs(15), async || {
            process.processes().is_empty().then_some(())
        });
        if left.await.is_err() {
            wrong.push(format!("a {} left processes behind: {:?}", member.role, process.processes()));
        }
        let data = member.disk.as_ref().map_or_else(|| process.data(), |disk| disk.path().join("data"));
        for worker in fs::read_dir(data.join("work")).into_iter().flatten().flatten() {
            for run in fs::read_dir(worker.path()).into_iter().flatten().flatten() {
                wrong.push(format!("a worker left {} behind", run.path().display()));
            }
        }
    }
    wrong.extend(parts.containers().await?.iter().map(|name| format!("container {name} is left")));
    let queues = parts.rabbit.ctl(&["list_queues", "-p", "/", "name", "messages"]).await?;
    for line in queues.lines() {
        let mut words = line.split('\t');
        let (name, messages) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_mailbox = name.starts_with("proofhouse.worker.");
        // What was said to those who had just gone lives for half a minute.
        if is_mailbox || (name.starts_with("debci-") && messages != "0") {
            wrong.push(format!("queue {name} is left with {messages} messages"));
        }
    }
    let mut database = connect(parts).await?;
    let unsettled: i64 =
        sqlx::query_scalar("SELECT count(*) FROM unsettled").fetch_one(&mut database).await?;
    if unsettled > 0 {
        println!("{unsettled} messages may not have been acknowledged: the next leader asks");
    }
    wrong.extend(
        parts.front.left().iter().map(|folder| format!("the store keeps {folder}, which is no result")),
    );
    Ok(())
}
