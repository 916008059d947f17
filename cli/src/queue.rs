//! `proofhouse queue`.

pub(crate) mod gates;
pub(crate) mod show;

use anyhow::Result;
use proofhouse_core::{
    db::{Database, JobRow, JobState},
    names::Context,
    queue::{ANSWERS, ASKED, Class, EMERGENCY, Lane},
};
use serde::Serialize;
use serde_json::Value;

use crate::{args::QueueArgs, connect, print, status::Status};

const PAGE: i64 = 1000;
/// More cannot run: a job that runs has a slot.
const RUNNING: i64 = 1_000_000;

/// A job as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct JobLine {
    pub(crate) job: i64,
    pub(crate) uuid: String,
    pub(crate) state: String,
    /// Not 0 where an operator raised or lowered it; 1000: an emergency.
    #[serde(skip_serializing_if = "is_usual")]
    pub(crate) level: i32,
    /// Who waits for it; none where it is over, or answered without a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<Class>,
    pub(crate) context: String,
    pub(crate) release: String,
    pub(crate) arch: String,
    pub(crate) package: String,
    /// As they came, credentials sealed.
    pub(crate) params: Value,
    pub(crate) private: bool,
    pub(crate) requesters: Vec<String>,
    pub(crate) attempts: i64,
    /// So many of them were made before an operator had it retried.
    pub(crate) tried_before: i64,
    pub(crate) reason: Option<String>,
    pub(crate) received: String,
    /// The pause after a failed attempt ends then.
    pub(crate) not_before: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_usual(level: &i32) -> bool {
    *level == 0
}

fn level(job: &JobRow) -> i32 {
    job.lane.as_deref().and_then(|lane| lane.parse::<Lane>().ok()).map_or(0, |lane| lane.level)
}

/// Who waits for a job: as its lane says, or as its lane will say once the leader has sorted it. `asked`: somebody is
/// named who did.
pub(crate) fn class(lane: Option<&str>, context: &str, asked: bool) -> Class {
    match lane.map(str::parse::<Lane>) {
        Some(Ok(lane)) => lane.class,
        _ if context == Context::Huge.as_str() => Class::Bulk,
        _ if lane == Some(ASKED) || asked => Class::People,
        _ => Class::Gates,
    }
}

fn waited_for_by(job: &JobRow) -> Option<Class> {
    let over = matches!(job.state(), JobState::Done | JobState::Cancelled | JobState::Obsolete);
    let lane = job.lane.as_deref();
    (!over && lane != Some(ANSWERS)).then(|| class(lane, &job.context, !job.requesters.is_empty()))
}

/// `waiting`, `waiting +5`, `waiting, emergency`.
fn state(job: &JobRow) -> String {
    match level(job) {
        0 => job.state.clone(),
        EMERGENCY => format!("{}, emergency", job.state),
        level => format!("{} {level:+}", job.state),
    }
}

impl From<&JobRow> for JobLine {
    fn from(job: &JobRow) -> Self {
        let params = job.request().map(|request| Value::Object(request.params())).unwrap_or_default();
        Self {
            job: job.id,
            uuid: job.uuid.clone(),
            state: job.state.clone(),
            level: level(job),
            class: waited_for_by(job),
            context: job.context.clone(),
            release: job.release.clone(),
            arch: job.arch.clone(),
            package: job.package.clone(),
            params,
            private: job.private,
            requesters: job.requesters.lines().map(str::to_owned).collect(),
            attempts: job.attempts,
            tried_before: job.tried_before,
            reason: job.reason.clone(),
            received: print::time(job.received_us),
            not_before: (job.not_before_us > 0).then(|| print::time(job.not_before_us)),
        }
    }
}

/// Lists what runs and what waits.
pub(crate) async fn ls(args: QueueArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let mut jobs = all(&database).await?;
    jobs.retain(|job| matches(job, &args));
    if args.json {
        print::json(&jobs.iter().map(JobLine::from).collect::<Vec<_>>())?;
    } else {
        print::text(&text(&jobs))?;
    }
    Ok(Status::Done)
}

async fn all(database: &Database) -> Result<Vec<JobRow>> {
    let mut jobs = database.running(RUNNING).await?;
    let mut after = 0;
    loop {
        let page = database.queued(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(jobs) };
        after = last.id;
        jobs.extend(page);
    }
}

fn matches(job: &JobRow, args: &QueueArgs) -> bool {
    args.release.as_ref().is_none_or(|r| r.as_str() == job.release)
        && args.arch.as_ref().is_none_or(|a| a.as_str() == job.arch)
        && args.context.is_none_or(|c| c.as_str() == job.context)
}

fn text(jobs: &[JobRow]) -> String {
    let row = |job: &JobRow| {
        [
            job.uuid.clone(),
            state(job),
            job.context.clone(),
            format!("{}/{}", job.release, job.arch),
            print::time(job.received_us),
            format!("{}{}", job.package, if job.private { " (private)" } else { "" }),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    print::table(["UUID", "STATE", "CONTEXT", "ON", "RECEIVED", "PACKAGE"], &rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A job that waits again after a failed attempt.
    pub(crate) fn job() -> JobRow {
        JobRow {
            id: 7,
            uuid: "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".to_owned(),
            context: "ubuntu".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            package: "hello".to_owned(),
            pool: "amd64".to_owned(),
            body: "hello\n{\"triggers\": [\"a/1\"]}".to_owned(),
            run_hash: "abcde".to_owned(),
            private: false,
            requesters: "joe\nann".to_owned(),
            state: "waiting".to_owned(),
            reason: Some("the testbed failed (exit code 16)".to_owned()),
            attempts: 1,
            tried_before: 0,
            not_before_us: 1_795_239_694_000_000,
            received_us: 1_795_239_394_000_000,
            changed_us: 1_795_239_394_000_000,
            answer_code: None,
            answer_log: None,
            unanswerable: false,
            lane: None,
            trigger: String::new(),
            cancel: None,
        }
    }

    #[test]
    fn who_waits_for_what_is_not_sorted_yet() {
        assert_eq!(class(Some("0 bulk ubuntu noble/amd64 - a/1"), "ubuntu", true), Class::Bulk);
        assert_eq!(class(None, "huge", false), Class::Bulk);
        assert_eq!(class(Some("?"), "ubuntu", false), Class::People);
        assert_eq!(
            (class(None, "ubuntu", true), class(None, "ubuntu", false)),
            (Class::People, Class::Gates)
        );
    }

    #[test]
    fn nobody_waits_for_what_is_over_or_answered() {
        let done = JobRow { state: "done".to_owned(), ..job() };
        let answered = JobRow { lane: Some(ANSWERS.to_owned()), ..job() };
        assert_eq!([&done, &answered].map(waited_for_by), [None, None]);
        assert_eq!(waited_for_by(&job()), Some(Class::People));
    }

    #[test]
    fn rendered() {
        let private = JobRow { private: true, state: "running".to_owned(), ..job() };
        let raised = JobRow { lane: Some("7 gates ubuntu noble/amd64 - a/1".to_owned()), ..job() };
        insta::assert_snapshot!(text(&[private, job(), raised]));
        insta::assert_snapshot!(serde_json::to_string_pretty(&JobLine::from(&job())).unwrap());
    }
}
