//! `proofhouse run log`: a log out of the store.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use flate2::write::MultiGzDecoder;
use futures::StreamExt as _;
use proofhouse_core::{
    db::JobState,
    layout::{Container, file},
    store::{Store, StoreError},
};

use super::{Found, attempt_log, find};
use crate::{args::LogArgs, connect, outcome, print, status::Status};

pub(crate) async fn main(args: LogArgs) -> Result<Status> {
    let config = args.servers.config()?;
    let database = connect::existing_database(&config).await?;
    let store = connect::store(&config)?;
    let found = find(&database, &args.run).await?;
    if let Some(number) = args.attempt {
        let Some(job) = &found.job else {
            bail!("this result came from another system: nothing is known of its attempts")
        };
        let attempts = database.attempts_of(job.id).await?;
        return attempt_log::print(store.as_ref(), &job.uuid, &attempts, number).await;
    }
    let (container, object) = place(&found)?;
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

/// Where the log of the result lies.
fn place(found: &Found) -> Result<(Container, String)> {
    match (&found.job, &found.result) {
        (_, Some(result)) => {
            let container =
                result.container.parse().context("the job table holds a container that is none")?;
            Ok((container, format!("{}/{}", outcome::folder(result), file::LOG)))
        }
        (Some(job), None) => match job.state() {
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
        (None, None) => bail!("no run has this name"),
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

    fn of(state: &str, attempts: i64) -> Result<(Container, String)> {
        let job = proofhouse_core::db::JobRow { state: state.to_owned(), attempts, ..job() };
        place(&Found { job: Some(job), result: None })
    }

    #[test]
    fn why_there_is_no_log() {
        for (state, attempts, said) in [
            ("waiting", 0, "has not run yet"),
            ("parked", 3, "--attempt N prints the log of one of its 3 attempts"),
            ("running", 1, "stored at the end"),
        ] {
            let error = of(state, attempts).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
