//! What waits and runs beside the past, and who runs it.

use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    index::Filler,
    made::{ARCHES, Made, RELEASES},
};

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;
/// How many waiting jobs one upload has set off.
const OF_ONE: u64 = 25;
/// How many workers there are, and how many tests each runs at once.
const FLEET: u64 = 100;
const SLOTS: u64 = 20;
/// Their only life.
const INCARNATION: &str = "00000000-0000-4000-8000-000000000000";

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Much {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) done: u64,
}

impl Much {
    /// A busy day.
    pub(crate) const fn usual() -> Self {
        Self { waiting: 20_000, running: 1000, done: 20_000 }
    }

    /// Enough to see that it works.
    pub(crate) const fn little() -> Self {
        Self { waiting: 50, running: 10, done: 50 }
    }
}

/// The name of the job of a number.
fn uuid(number: u64) -> String {
    Uuid::from_u128(u128::from(number)).to_string()
}

/// The name of a job that waits, in the midst of them.
pub(crate) fn waiting_uuid(much: Much) -> String {
    // Every hundredth is private.
    uuid((much.done + much.running + much.waiting / 2) / 100 * 100 + 1)
}

/// Jobs that are done, run and wait, in the order of their numbers.
fn jobs(made: &Made, much: Much) -> impl Iterator<Item = Value> {
    let now = made.now.as_microsecond();
    let Much { waiting, running, done } = much;
    (0..done + running + waiting).map(move |n| {
        let state = match n {
            n if n < done => "done",
            n if n < done + running => "running",
            _ => "waiting",
        };
        let line = made.result(done + running + waiting - n);
        let (release, arch) = (RELEASES[0].0, line.arch);
        let trigger = made.upload(0, n / OF_ONE % 50);
        let place = format!("0 gates ubuntu {release}/{arch} - {trigger}");
        let body = format!("{}\n{}", line.package, json!({"triggers": [trigger]}));
        let ago = i64::try_from(done + running + waiting - n).unwrap_or_default() * SECOND;
        json!({
            "id": n + 1, "kind": "autopkgtest", "uuid": uuid(n + 1), "identity": format!("identity-{n}"),
            "context": "ubuntu", "release": release, "arch": arch, "package": line.package, "pool": arch, "body": body,
            "run_hash": "abcde", "private": n % 100 == 99, "requesters": "", "state": state,
            "attempts": i64::from(state != "waiting"), "not_before_us": 0, "received_us": now - 2 * ago,
            "changed_us": now - ago, "lane": place, "trigger": trigger,
        })
    })
}

/// The only attempt of each job that does not wait; one of fifty has failed.
fn attempts(made: &Made, much: Much) -> impl Iterator<Item = Value> {
    let now = made.now.as_microsecond();
    let all = much.done + much.running + much.waiting;
    (0..much.done + much.running).map(move |n| {
        let (worker, is_done) = (format!("worker-{}", n % FLEET), n < much.done);
        let ago = i64::try_from(all - n).unwrap_or_default() * SECOND;
        let (state, fault) = match (is_done, n % 50) {
            (false, _) => ("running", None),
            (true, 49) => ("ended", Some("testbed")),
            (true, _) => ("recorded", None),
        };
        json!({
            "job_id": n + 1, "attempt": 1, "worker": worker, "incarnation": INCARNATION, "host": worker, "epoch": 1,
            "granted_us": now - ago - 300 * SECOND, "absolute_end_us": now + 10_000 * SECOND, "state": state,
            "fault": fault, "ended_us": is_done.then_some(now - ago),
        })
    })
}

fn workers(made: &Made) -> impl Iterator<Item = Value> {
    let seen = made.now.as_microsecond();
    (0..FLEET).map(move |n| {
        let name = format!("worker-{n}");
        json!({
            "name": name, "incarnation": INCARNATION, "host": name, "pools": ARCHES.join(" "), "slots": SLOTS,
            "draining": false, "unable": null, "version": "0.1.0", "seen_us": seen, "wanted": "work",
        })
    })
}

/// Fills in what is now.
pub(crate) async fn fill_now(filler: &mut Filler, made: &Made, much: Much) -> Result<()> {
    filler.fill("jobs", jobs(made, much)).await?;
    filler.fill("attempts", attempts(made, much)).await?;
    filler.fill("workers", workers(made)).await?;
    if matches!(filler, Filler::Postgres(_)) {
        filler
            .execute("SELECT setval(pg_get_serial_sequence('jobs', 'id'), (SELECT max(id) FROM jobs))")
            .await?;
    }
    Ok(())
}

/// The workers are there still.
pub(crate) async fn seen(filler: &mut Filler, now_us: i64) -> Result<()> {
    filler.execute(&format!("UPDATE workers SET seen_us = {now_us}")).await
}
