//! `proofhouse parked show`: one job with its attempts, and their logs.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, Result, bail};
use proofhouse_core::{
    db::{AttemptRow, JobState},
    layout::{Container, attempt_log},
    store::{Entry, ListQuery, Store},
};
use serde::Serialize;

use super::{ShowArgs, Which, find};
use crate::{
    connect,
    print::{self, Paint},
    run::{
        Found,
        log::stream,
        show::{self, Run},
    },
    status::Status,
};

/// A parked job as JSON shows it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    run: Run,
    /// By which `parked retry --reason` knows it; none where it is not parked any more.
    parked: Option<String>,
    /// None where the store does not answer.
    logs: Option<Vec<Log>>,
}

/// The log of an attempt, in the store.
#[derive(Debug, Serialize)]
struct Log {
    attempt: i64,
    container: Container,
    object: String,
}

pub(super) async fn main(args: ShowArgs) -> Result<Status> {
    let config = args.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let store = connect::store(&config)?;
    let Some(row) = find(&database, args.job).await? else { bail!("there is no job {}", args.job) };
    let attempts = database.attempts_of(row.job.id).await?;
    if let Some(which) = args.log {
        return print_log(store.as_ref(), &row.job.uuid, &attempts, which).await;
    }
    let logs = stored(store.as_ref(), &row.job.uuid, &attempts).await;
    if let Err(error) = &logs {
        eprintln!("proofhouse: the logs cannot be looked up: {error:#}");
    }
    let shown = Shown {
        parked: (row.job.state() == JobState::Parked).then(|| row.reason().to_owned()),
        run: show::run(
            &Found { result: database.result_of_job(row.job.id).await?, job: Some(row.job) },
            &attempts,
        ),
        logs: logs.ok(),
    };
    if args.json {
        print::json(&shown)?;
    } else {
        print::text(&text(&shown, Paint::stdout()))?;
    }
    Ok(Status::Done)
}

/// The logs that the store holds, of a job's attempts.
async fn stored(store: &dyn Store, uuid: &str, attempts: &[AttemptRow]) -> Result<Vec<Log>> {
    let container = Container::attempts();
    let query = ListQuery { prefix: format!("{uuid}/"), ..ListQuery::default() };
    let names: BTreeSet<String> = match store.list(&container, &query).await {
        Err(error) if error.is_missing() => BTreeSet::new(),
        entries => entries?
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Object { name, .. } => Some(name),
                Entry::Prefix(_) => None,
            })
            .collect(),
    };
    let log = |attempt: &AttemptRow| Log {
        attempt: attempt.attempt,
        container: container.clone(),
        object: attempt_log(uuid, attempt.attempt),
    };
    Ok(attempts.iter().map(log).filter(|log| names.contains(&log.object)).collect())
}

async fn print_log(store: &dyn Store, uuid: &str, attempts: &[AttemptRow], which: Which) -> Result<Status> {
    let number = match (which, attempts.last()) {
        (Which::Number(number), _) => number,
        (Which::Last, Some(last)) => last.attempt,
        (Which::Last, None) => bail!("it was parked without an attempt"),
    };
    let Err(error) = stream(store, &Container::attempts(), &attempt_log(uuid, number)).await else {
        return Ok(Status::Done);
    };
    if !crate::run::log::is_missing(&error) {
        return Err(error);
    }
    let there = stored(store, uuid, attempts).await.context("the logs cannot be looked up")?;
    let there: Vec<String> = there.iter().map(|log| log.attempt.to_string()).collect();
    if there.is_empty() {
        bail!("the store holds no log of its attempts: their workers died, or could not store them");
    }
    bail!("the store holds no log of attempt {number}; there are those of {}", there.join(", "))
}

fn text(shown: &Shown, paint: Paint) -> String {
    let mut text = show::text(&shown.run, paint);
    for log in shown.logs.iter().flatten() {
        let _ = writeln!(text, "  {:9} {}/{}", format!("log {}", log.attempt), log.container, log.object);
    }
    match shown.parked.as_deref() {
        Some(reason) => {
            let _ = writeln!(text, "  parked    {}", print::one_line(reason, 100));
        }
        None => text.push_str("  parked    not any more\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::tests::parked, *};

    #[test]
    fn rendered() {
        let row = parked(7, Some("testbed"), None);
        let log = Log { attempt: 1, container: Container::attempts(), object: attempt_log(&row.job.uuid, 1) };
        let shown = Shown {
            parked: Some(row.reason().to_owned()),
            run: show::run(&Found { job: Some(row.job), result: None }, &[]),
            logs: Some(vec![log]),
        };
        insta::assert_snapshot!(text(&shown, Paint::plain()));
        insta::assert_snapshot!(text(&Shown { parked: None, logs: None, ..shown }, Paint::plain()));
    }
}
