//! Whole commands on a table of their own.

use std::time::Duration;

use clap::Parser;
use proofhouse_core::{
    db::{AuditRow, Database, JobRow, NewJob, Prepared, Taken, WorkerRef},
    names::{Context, Pair},
    outcome::Fault,
    protocol::{AttemptId, WorkerId},
    request::Request,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: OperateCommand,
}

struct Table {
    database: Database,
    url: String,
    _folder: TempDir,
}

impl Table {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", folder.path().display());
        let database = Database::open(&url, None).unwrap();
        database.prepare().await.unwrap();
        Self { database, url, _folder: folder }
    }

    async fn job(&self, package: &str, lane: &str) -> i64 {
        let (body, pair): (_, Pair) = (format!("{package}\n{{}}"), "noble/amd64".parse().unwrap());
        let request = Request::parse(body.as_bytes()).unwrap();
        let job = NewJob {
            identity: request.identity(Context::Ubuntu, &pair, None).unwrap(),
            uuid: None,
            context: Context::Ubuntu,
            lane: Some(lane.to_owned()),
            trigger: String::new(),
            pair,
            package: request.package.clone(),
            private: false,
            volatile: false,
            force: false,
            requester: None,
            run_hash: "abcde".to_owned(),
            body,
            answer: None,
        };
        let (queue, what) = ("debci-noble-amd64".to_owned(), Ok(Box::new(job)));
        let prepared = Prepared { queue, digest: None, redelivered: false, what };
        let (taken, _) = self.database.take(None, &[prepared]).await.unwrap();
        let Some(Taken::New { job, .. }) = taken.first() else { panic!("{taken:?}") };
        *job
    }

    async fn runs(&self, epoch: i64, job: i64) -> AttemptId {
        let id = WorkerId { name: "w".parse().unwrap(), incarnation: Uuid::nil() };
        let (worker, pool) = (WorkerRef { id, host: "h".to_owned() }, "amd64".parse().unwrap());
        let id = AttemptId { job, attempt: 1 };
        self.database.grant(epoch, id, &worker, &pool, 60).await.unwrap();
        id
    }

    async fn row(&self, job: i64) -> JobRow {
        self.database.job(job).await.unwrap().unwrap()
    }

    async fn lane(&self, job: i64) -> String {
        self.row(job).await.lane.unwrap()
    }

    async fn run(&self, line: &str) -> Result<Status> {
        let words = ["x"].into_iter().chain(line.split(' ')).chain(["--database", &self.url]);
        main(Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).command).await
    }

    async fn audit(&self) -> Vec<AuditRow> {
        self.database.audit(0, 0, None, 100).await.unwrap()
    }
}

const USUAL: &str = "0 gates ubuntu noble/amd64 - green/2";
const EMERGENCY: &str = "1000 gates ubuntu noble/amd64 - green/2";

#[tokio::test]
async fn a_job_is_named_by_its_own_uuid() {
    let table = Table::new().await;
    let job = table.job("green", USUAL).await;
    let uuid = table.row(job).await.uuid;
    assert_eq!(table.run(&format!("raise --uuid {uuid}")).await.unwrap(), Status::Done);
    assert_eq!(table.lane(job).await, "10 gates ubuntu noble/amd64 - green/2");
    assert_eq!(table.run(&format!("cancel --uuid {uuid} --release noble")).await.unwrap(), Status::Done);
    assert_eq!(table.row(job).await.state, "cancelled");
}

#[tokio::test]
async fn where_a_name_is_nobodys_nothing_is_done_and_nothing_is_in_the_audit_log() {
    let table = Table::new().await;
    let job = table.job("green", USUAL).await;
    for dry in ["", " --dry-run"] {
        let error = table.run(&format!("cancel --uuid {}{dry}", Uuid::nil())).await.unwrap_err();
        assert_eq!(format!("{error:#}"), format!("there is no job {}", Uuid::nil()));
        let other = format!("raise --uuid {} --release jammy{dry}", table.row(job).await.uuid);
        assert_eq!(table.run(&other).await.unwrap(), Status::Failed, "the filter leaves it out");
        for typo in
            ["raise", "lower", "level 5", "emergency", "cancel", "cancel --running", "emergency --end"]
        {
            let status = table.run(&format!("{typo} --package gren{dry}")).await.unwrap();
            assert_eq!(status, Status::Failed, "{typo}");
        }
        // Nothing that could be dropped, or no emergency at all, is as good.
        for line in ["drop-superseded --package gren", "emergency --end"] {
            assert_eq!(table.run(&format!("{line}{dry}")).await.unwrap(), Status::Done, "{line}");
        }
    }
    assert_eq!((table.lane(job).await.as_str(), table.audit().await), (USUAL, vec![]));
    assert_eq!(table.run("raise --package green").await.unwrap(), Status::Done);
    assert_eq!(table.audit().await.len(), 1);
    // One that is there but stays as it is was named right.
    assert_eq!(table.run("level 10 --package green").await.unwrap(), Status::Done);
    assert_eq!(table.audit().await.len(), 1, "nothing was changed");
}

#[tokio::test]
async fn an_emergency_ends_where_it_runs_and_where_it_is_parked() {
    let table = Table::new().await;
    let epoch = table.database.take_leadership("a", false).await.unwrap().unwrap();
    let [waits, runs, parked] = [
        table.job("green", EMERGENCY).await,
        table.job("blue", EMERGENCY).await,
        table.job("amber", EMERGENCY).await,
    ];
    table.runs(epoch, runs).await;
    let id = table.runs(epoch, parked).await;
    assert!(table.database.end_attempt(epoch, id, Fault::Testbed, None, "d", None).await.unwrap());
    let uuid = table.row(parked).await.uuid;
    assert_eq!(table.run(&format!("emergency --end --uuid {uuid}")).await.unwrap(), Status::Done);
    assert_eq!(table.lane(parked).await, USUAL);
    assert_eq!(table.run("emergency --end").await.unwrap(), Status::Done);
    assert_eq!((table.lane(waits).await.as_str(), table.lane(runs).await.as_str()), (USUAL, USUAL));
    let last = table.audit().await.pop().unwrap();
    assert_eq!(
        (last.action.as_str(), last.what.as_str(), last.jobs),
        ("emergency-end", r#"{"all":true}"#, 2)
    );
}

#[tokio::test]
async fn what_has_just_come_is_raised_once_the_leader_has_sorted_it() {
    let table = Table::new().await;
    let epoch = table.database.take_leadership("a", false).await.unwrap().unwrap();
    let job = table.job("green", "?").await;
    let sort = [(job, Some("?".to_owned()), USUAL.to_owned())];
    // Later than the command's first look.
    let leader = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        table.database.sort_jobs(epoch, &sort).await.unwrap();
    };
    let (raised, ()) = tokio::join!(table.run("raise --package green"), leader);
    assert_eq!(raised.unwrap(), Status::Done);
    assert_eq!(table.lane(job).await, "10 gates ubuntu noble/amd64 - green/2");
}

#[tokio::test]
async fn a_reason_says_something() {
    let refused = |line: &[&str]| Line::try_parse_from(["x"].iter().chain(line)).is_err();
    assert!(refused(&["cancel", "--all", "--reason", ""]) && refused(&["pause", "--all", "--reason", " "]));
    assert!(!refused(&["cancel", "--all", "--reason", "no disk"]));
}
