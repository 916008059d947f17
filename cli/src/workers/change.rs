//! `proofhouse workers drain`, `resume`, `retire` and `forget`.
//!
//! The command writes down what is wanted; the leading dispatcher sees it within a second and tells the worker.

use anyhow::Result;
use proofhouse_core::{
    db::{Database, WorkerRow},
    protocol::Wanted,
};

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
    let (mut status, mut changed) = (Status::Done, Vec::new());
    for worker in view.named(&args.names)? {
        match one(&database, &view, worker, wanted).await? {
            Ok(said) => {
                print::text(&format!("{}: {said}\n", worker.name))?;
                changed.push(worker.name.clone());
            }
            Err(reason) => {
                eprintln!("proofhouse: {}: {reason}", worker.name);
                status = Status::Failed;
            }
        }
    }
    if wait {
        wait::until_quiet(&database, &changed, wanted).await?;
    }
    database.close().await;
    Ok(status)
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
    let mut status = Status::Done;
    for worker in view.named(&args.names)? {
        if view.is_away(worker) {
            database.forget_worker(&worker.name.parse()?).await?;
            print::text(&format!("{}: forgotten\n", worker.name))?;
        } else {
            eprintln!("proofhouse: {}: it is there (`proofhouse workers retire` ends it)", worker.name);
            status = Status::Failed;
        }
    }
    database.close().await;
    Ok(status)
}
