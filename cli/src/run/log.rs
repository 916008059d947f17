//! `proofhouse run log`: a log out of the store.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use flate2::write::MultiGzDecoder;
use futures::StreamExt as _;
use proofhouse_core::{
    db::JobState,
    layout::{Container, attempt_log, file},
    store::{Store, StoreError},
};

use super::{Found, find};
use crate::{args::LogArgs, connect, outcome, print, status::Status};

pub(crate) async fn main(args: LogArgs) -> Result<Status> {
    let config = args.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let store = connect::store(&config)?;
    let found = find(&database, &args.run).await?;
    let (container, object) = place(&found, args.attempt)?;
    match stream(store.as_ref(), &container, &object).await {
        Err(error) if is_missing(&error) => {
            Err(error.context(format!("the store at {} has no such log", store.address())))
        }
        printed => printed.map(|()| Status::Done),
    }
}

pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_missing)
}

/// Where the log lies: that of the result, or that of a failed attempt.
fn place(found: &Found, attempt: Option<i32>) -> Result<(Container, String)> {
    match (attempt, &found.job, &found.result) {
        (Some(attempt), Some(job), _) => Ok((Container::attempts(), attempt_log(&job.uuid, attempt))),
        (Some(_), None, _) => bail!("this result came from another system: nothing is known of its attempts"),
        (None, _, Some(result)) => {
            let container =
                result.container.parse().context("the job table holds a container that is none")?;
            Ok((container, format!("{}/{}", outcome::folder(result), file::LOG)))
        }
        (None, Some(job), None) => match job.state() {
            JobState::Running | JobState::Publishing | JobState::Storing => {
                bail!(
                    "it is {}: its log is stored at the end; its page shows what is there so far",
                    job.state
                )
            }
            state if job.attempts > 0 => bail!(
                "it is {state} and has no result; --attempt N prints the log of one of its {} attempts",
                job.attempts
            ),
            state => bail!("it is {state} and has not run yet"),
        },
        (None, None, None) => bail!("no run has this name"),
    }
}

/// Prints a stored log.
pub(crate) async fn stream(store: &dyn Store, container: &Container, object: &str) -> Result<()> {
    let mut object = store.get(container, object, None).await?;
    let mut log = MultiGzDecoder::new(Vec::new());
    let damaged = "the stored log is damaged";
    while let Some(chunk) = object.stream.next().await {
        log.write_all(&chunk?).context(damaged)?;
        if !print::bytes(&std::mem::take(log.get_mut()))? {
            return Ok(());
        }
    }
    let rest = log.finish().context(damaged)?;
    print::bytes(&rest).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::job;

    fn of(state: &str, attempts: i64, attempt: Option<i32>) -> Result<(Container, String)> {
        let job = proofhouse_core::db::JobRow { state: state.to_owned(), attempts, ..job() };
        place(&Found { job: Some(job), result: None }, attempt)
    }

    #[test]
    fn where_a_log_is_or_why_there_is_none() {
        let (container, object) = of("waiting", 1, Some(1)).unwrap();
        assert_eq!(container.as_str(), "proofhouse-attempts");
        assert_eq!(object, "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e/1/log.gz");
        for (state, attempts, said) in [
            ("waiting", 0, "has not run yet"),
            ("parked", 3, "--attempt N prints the log of one of its 3 attempts"),
            ("running", 1, "stored at the end"),
        ] {
            let error = of(state, attempts, None).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
