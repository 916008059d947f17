//! `proofhouse workers drain`, `resume`, `retire` and `forget`.
//!
//! The command writes down what is wanted; the leading dispatcher sees it within a second and tells the worker.

use anyhow::Result;
use proofhouse_core::{
    db::{Database, WorkerRow},
    protocol::Wanted,
};
use serde::Serialize;

use super::{NameArgs, View, WaitArgs, open, wait};
use crate::{print, status::Status};

pub(super) async fn drain(args: WaitArgs) -> Result<Status> {
    change(&args.workers, Wanted::Drain, args.wait).await
}

pub(super) async fn resume(args: NameArgs) -> Result<Status> {
    change(&args, Wanted::Work, false).await
}

pub(super) async fn retire(args: WaitArgs) -> Result<Status> {
    change(&args.workers, Wanted::Retire, args.wait).await
}

async fn change(args: &NameArgs, wanted: Wanted, wait: bool) -> Result<Status> {
    let database = open(&args.servers).await?;
    let view = View::of(&database).await?;
    let mut report = Report::begin(args.json);
    for worker in view.named(&args.names)? {
        report.add(&worker.name, one(&database, &view, worker, wanted).await?)?;
    }
    if wait {
        wait::until_quiet(&database, &report.changed(), wanted).await?;
    }
    database.close().await;
    report.end()
}

/// What came of each: lines as it happens, or a list in the end.
struct Report {
    json: bool,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    done: bool,
    /// What was done, or why it was not.
    said: String,
}

impl Report {
    const fn begin(json: bool) -> Self {
        Self { json, lines: Vec::new() }
    }

    fn add(&mut self, name: &str, outcome: Result<String, &'static str>) -> Result<()> {
        let (done, said) = (outcome.is_ok(), outcome.unwrap_or_else(str::to_owned));
        match (self.json, done) {
            (true, _) => {}
            (false, true) => print::text(&format!("{name}: {said}\n"))?,
            (false, false) => eprintln!("proofhouse: {name}: {said}"),
        }
        self.lines.push(Line { name: name.to_owned(), done, said });
        Ok(())
    }

    fn changed(&self) -> Vec<String> {
        self.lines.iter().filter(|line| line.done).map(|line| line.name.clone()).collect()
    }

    fn end(self) -> Result<Status> {
        if self.json {
            print::json(&self.lines)?;
        }
        Ok(self.status())
    }

    fn status(&self) -> Status {
        if self.lines.iter().all(|line| line.done) { Status::Done } else { Status::Failed }
    }
}

/// What was done, or the reason why not.
async fn one(
    database: &Database,
    view: &View,
    worker: &WorkerRow,
    wanted: Wanted,
) -> Result<Result<String, &'static str>> {
    let away = view.is_away(worker);
    if away && wanted == Wanted::Retire {
        return Ok(Err("it is away: there is no process to end (`proofhouse workers forget` drops it)"));
    }
    let already = worker.wanted == Wanted::Retire.as_str();
    if !(database.want(&worker.name.parse()?, wanted).await? || already && wanted == Wanted::Retire) {
        return Ok(Err("its process was told to end; started again, it works again"));
    }
    let runs = view.held_by(&worker.name).count();
    Ok(Ok(match wanted {
        Wanted::Work => "takes offers again".to_owned(),
        Wanted::Drain if away => "is away; it will take nothing when it is back".to_owned(),
        Wanted::Drain => format!("takes nothing new ({})", tests(runs)),
        Wanted::Retire => format!("takes nothing new and ends ({})", tests(runs)),
    }))
}

/// `1 test runs`, `2 tests run`.
pub(super) fn tests(number: usize) -> String {
    match number {
        0 => "nothing runs".to_owned(),
        1 => "1 test runs".to_owned(),
        n => format!("{n} tests run"),
    }
}

pub(super) async fn forget(args: NameArgs) -> Result<Status> {
    let database = open(&args.servers).await?;
    let view = View::of(&database).await?;
    let mut report = Report::begin(args.json);
    for worker in view.named(&args.names)? {
        let outcome = if view.is_away(worker) {
            database.forget_worker(&worker.name.parse()?).await?;
            Ok("forgotten".to_owned())
        } else {
            Err("it is there (`proofhouse workers retire` ends it)")
        };
        report.add(&worker.name, outcome)?;
    }
    database.close().await;
    report.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_as_json() {
        let mut report = Report::begin(true);
        report.add("w1", Ok("takes offers again".to_owned())).unwrap();
        assert_eq!(report.status(), Status::Done);
        report.add("w2", Err("it is away")).unwrap();
        assert_eq!(report.changed(), ["w1"]);
        let lines = serde_json::to_value(&report.lines).unwrap();
        assert_eq!(lines[0], serde_json::json!({"name": "w1", "done": true, "said": "takes offers again"}));
        assert_eq!(lines[1], serde_json::json!({"name": "w2", "done": false, "said": "it is away"}));
        assert_eq!(report.status(), Status::Failed);
    }
}
