//! `proofhouse parked show`: one job with its attempts, and their logs.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use proofhouse_core::{
    db::{AttemptRow, JobRow, JobState, ResultRow},
    outcome::decided_by,
    store::Store,
};
use serde::Serialize;

use super::{ShowArgs, Which, find};
use crate::{
    connect,
    print::{self, Paint},
    run::{
        Found,
        attempt_log::{self, Log, stored},
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

pub(super) async fn main(args: ShowArgs) -> Result<Status> {
    let config = args.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let store = connect::store(&config)?;
    let Some(row) = find(&database, args.job).await? else { bail!("there is no job {}", args.job) };
    let attempts = database.attempts_of(row.job.id).await?;
    let result = database.result_of_job(row.job.id).await?;
    if !was_parked(&row.job, result.as_ref()) {
        let JobRow { id, state, uuid, .. } = &row.job;
        bail!("job {id} was not parked: it is {state}; `proofhouse run show {uuid}` shows it");
    }
    if let Some(which) = args.log {
        return print_log(store.as_ref(), &row.job.uuid, &attempts, which).await;
    }
    let logs = stored(store.as_ref(), &row.job.uuid, &attempts).await;
    if let Err(error) = &logs {
        eprintln!("proofhouse: the logs cannot be looked up: {error:#}");
    }
    let shown = Shown {
        parked: (row.job.state() == JobState::Parked).then(|| row.reason().to_owned()),
        run: show::run(&Found { result, job: Some(row.job) }, &attempts),
        logs: logs.ok(),
    };
    if args.json {
        print::json(&shown)?;
    } else {
        print::text(&text(&shown, Paint::stdout()))?;
    }
    Ok(Status::Done)
}

/// Now, or until an operator had it retried, or until its gate was answered.
fn was_parked(job: &JobRow, result: Option<&ResultRow>) -> bool {
    let answered = result.is_some_and(|result| result.rule.as_deref() == Some(decided_by::PARKED));
    job.state() == JobState::Parked || job.tried_before > 0 || answered
}

async fn print_log(store: &dyn Store, uuid: &str, attempts: &[AttemptRow], which: Which) -> Result<Status> {
    let number = match (which, attempts.last()) {
        (Which::Number(number), _) => number,
        (Which::Last, Some(last)) => last.attempt,
        (Which::Last, None) => bail!("it was parked without an attempt"),
    };
    attempt_log::print(store, uuid, attempts, number).await
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
    use proofhouse_core::layout::{Container, attempt_log};

    use super::{super::tests::parked, *};

    #[test]
    fn only_what_was_parked_is_shown() {
        let of = |state: &str, tried_before: i64| {
            let job = JobRow { state: state.to_owned(), tried_before, ..parked(7, None, None).job };
            was_parked(&job, None)
        };
        assert!(of("parked", 0) && of("waiting", 3) && of("done", 3));
        assert!(!of("waiting", 0) && !of("running", 0) && !of("done", 0));
    }

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
