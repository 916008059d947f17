//! `proofhouse parked retry`: works on the job table alone. The leader looks there every second, and finds what waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use proofhouse_core::db::{Database, JobState, ParkedRow};
use serde::Serialize;

use super::{RetryArgs, find, select};
use crate::{connect, print, status::Status};

/// How many are retried in one transaction: it keeps the job table's other users waiting for some milliseconds.
const BATCH: usize = 200;
const UNREADABLE: &str = "the request in the job table cannot be read; ask for this test anew";
const NOT_PARKED: &str = "it is not parked any more";

/// What is, or was, done.
#[derive(Debug, Default, Serialize)]
struct Plan {
    /// Nothing was done about it.
    dry_run: bool,
    retried: Vec<Chosen>,
    not_retried: Vec<Left>,
}

#[derive(Debug, Serialize)]
struct Chosen {
    job: i64,
    uuid: String,
    release: String,
    arch: String,
    package: String,
    reason: String,
}

/// One that stays as it is.
#[derive(Debug, Serialize)]
struct Left {
    /// As it was named, or its number.
    job: String,
    why: String,
}

pub(super) async fn main(args: RetryArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let mut plan = plan(&database, &args).await?;
    plan.dry_run = args.dry_run;
    if !args.dry_run {
        carry_out(&database, &mut plan).await?;
    }
    if args.json {
        print::json(&plan)?;
    } else {
        print::text(&plan.text())?;
    }
    Ok(if args.jobs.is_empty() || plan.not_retried.is_empty() { Status::Done } else { Status::Failed })
}

async fn plan(database: &Database, args: &RetryArgs) -> Result<Plan> {
    let mut plan = Plan::default();
    for name in &args.jobs {
        match find(database, *name).await? {
            // Named twice.
            Some(row) if plan.retried.iter().any(|chosen| chosen.job == row.job.id) => {}
            Some(row) => plan.add(&row, name.to_string()),
            None => plan.leave(name.to_string(), "there is no such job"),
        }
    }
    if args.jobs.is_empty() {
        for row in select(database, |row| args.filter.matches(row)).await? {
            plan.add(&row, row.job.id.to_string());
        }
    }
    Ok(plan)
}

async fn carry_out(database: &Database, plan: &mut Plan) -> Result<()> {
    let all: Vec<i64> = plan.retried.iter().map(|chosen| chosen.job).collect();
    // Invisible off a terminal.
    let bar = ProgressBar::new(all.len() as u64);
    let mut done = BTreeSet::new();
    for batch in all.chunks(BATCH) {
        let retried = database.retry_parked(batch).await.with_context(|| {
            format!("{} of {} were retried; the same command retries the rest", done.len(), all.len())
        })?;
        done.extend(retried);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    plan.keep(&done);
    Ok(())
}

impl Plan {
    fn add(&mut self, row: &ParkedRow, name: String) {
        let job = &row.job;
        if job.state() != JobState::Parked {
            return self.leave(name, &format!("it is not parked but {}", job.state));
        }
        if !row.is_readable() {
            return self.leave(name, UNREADABLE);
        }
        self.retried.push(Chosen {
            job: job.id,
            uuid: job.uuid.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            package: job.package.clone(),
            reason: row.reason().to_owned(),
        });
    }

    fn leave(&mut self, job: String, why: &str) {
        self.not_retried.push(Left { job, why: why.to_owned() });
    }

    /// Those that were parked no more when their turn came were not retried.
    fn keep(&mut self, done: &BTreeSet<i64>) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.retried).into_iter().partition(|chosen| done.contains(&chosen.job));
        self.retried = kept;
        for chosen in gone {
            self.leave(chosen.job.to_string(), NOT_PARKED);
        }
    }

    fn text(&self) -> String {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for chosen in &self.retried {
            *reasons.entry(&chosen.reason).or_default() += 1;
        }
        let reasons: Vec<String> = reasons
            .into_iter()
            .map(|(reason, count)| format!("{count} {}", print::one_line(reason, 100)))
            .collect();
        let mut text = match (self.retried.len(), self.dry_run) {
            (0, _) => "nothing was to be retried\n".to_owned(),
            (n, true) => format!("would retry {n}: {}\n", reasons.join(", ")),
            (n, false) => format!("retried {n}: {}\n", reasons.join(", ")),
        };
        for Left { job, why } in &self.not_retried {
            let _ = writeln!(text, "not retried: {job}: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::parked, *};

    #[test]
    fn what_is_said() {
        let mut plan = Plan::default();
        for id in [1, 2, 3] {
            plan.add(&parked(id, Some(if id == 2 { "killed" } else { "testbed" }), None), id.to_string());
        }
        let mut unreadable = parked(4, None, None);
        unreadable.job.body = "green {\"triggers\": {}}".to_owned();
        plan.add(&unreadable, "4".to_owned());
        let mut waiting = parked(5, None, None);
        waiting.job.state = "waiting".to_owned();
        plan.add(&waiting, "5".to_owned());
        plan.dry_run = true;
        let dry = plan.text();
        plan.dry_run = false;
        plan.keep(&[1, 2].into());
        insta::assert_snapshot!(format!("{dry}\n{}\n{}", plan.text(), Plan::default().text()));
        insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
    }
}
