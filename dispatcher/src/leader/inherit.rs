//! What an earlier leader left in the job table: open attempts, and results on their way to the store.

use std::time::Duration;

use proofhouse_core::{
    db::{DbError, JobRow, OpenAttempt, Publication},
    host_health::Health,
    layout::Series,
    outcome::Fault,
    request::BadRequest,
};
use tokio::time::Instant;

use crate::{
    Context, Error, chain,
    schedule::{Inherited, State, Subject, Use},
};

/// Reads what an earlier leader left, once the database answers.
pub(super) async fn inherit(context: &Context, epoch: i64) -> Result<State, Error> {
    loop {
        match read_all(context, epoch).await {
            Ok((open, storing, past)) => {
                let (rules, pools) = (context.settings.rules, context.settings.pools.clone());
                return Ok(State::inherit(epoch, rules, pools, open, storing, past, Instant::now()));
            }
            Err(error) if error.may_retry() => {
                tracing::warn!(error = %chain(&error), "the open attempts cannot be read; trying again");
            }
            Err(error) => return Err(Error::Database(error)),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn read_all(
    context: &Context,
    epoch: i64,
) -> Result<(Vec<Inherited>, Vec<(i64, Series)>, Vec<(String, Health, Instant)>), DbError> {
    let (open, storing) = read_open(context, epoch).await?;
    let now = Instant::now();
    let past = context.database.host_records().await?.into_iter().map(|(host, record)| {
        let ago = Duration::from_micros(record.last_fault_us.max(0).unsigned_abs());
        (host, record.health, now.checked_sub(ago).unwrap_or(now))
    });
    Ok((open, storing, past.collect()))
}

/// The open attempts and the jobs whose `result.tar` is on its way. One that cannot be read (another version wrote it) is
/// ended, for nobody could publish it; it must not keep the others from their leader.
pub(super) async fn read_open(
    context: &Context,
    epoch: i64,
) -> Result<(Vec<Inherited>, Vec<(i64, Series)>), DbError> {
    let now = context.database.now_us().await?;
    let mut open = Vec::new();
    for one in context.database.open_attempts().await? {
        match inherited(&one, now) {
            Ok(inherited) => open.push(inherited),
            Err(error) => {
                let id = one.attempt.id();
                tracing::error!(job.id = id.job, error = %chain(&error), "attempt {id} cannot be read: its job is parked");
                let ended = context.database.end_attempt(epoch, id, Fault::Worker, None, UNREADABLE, None);
                pass_unless_refused(ended.await)?;
            }
        }
    }
    let mut storing = Vec::new();
    for job in context.database.storing().await? {
        match series_of(&job) {
            Ok(series) => storing.push((job.id, series)),
            Err(error) => {
                tracing::error!(job.id = job.id, error = %chain(&error), "job {} cannot be read", job.id);
            }
        }
    }
    Ok((open, storing))
}

const UNREADABLE: &str = "the job cannot be read";

/// A refusal concerns one row, anything else concerns us.
fn pass_unless_refused(ended: Result<bool, DbError>) -> Result<(), DbError> {
    match ended {
        Ok(_) | Err(DbError::Value(_) | DbError::Statement(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn inherited(one: &OpenAttempt, now_us: i64) -> Result<Inherited, DbError> {
    let left = u64::try_from(one.attempt.absolute_end_us - now_us).unwrap_or(0);
    let subject = subject_of(&one.job)?;
    Ok(Inherited {
        id: one.attempt.id(),
        worker: one.attempt.holder()?,
        used: Use::of_job(&one.job, one.job.pool.parse().map_err(unreadable)?),
        end: Duration::from_micros(left),
        publication: Publication::of(&one.attempt, subject.series.clone())?,
        subject,
    })
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::Value(error.to_string())
}

/// Its kind alone: the whole error can hold a private run's parameters.
pub(super) fn unreadable_request(error: &BadRequest) -> DbError {
    DbError::Value(format!("a request ({})", error.kind()))
}

pub(super) fn series_of(job: &JobRow) -> Result<Series, DbError> {
    subject_of(job).map(|subject| subject.series)
}

pub(super) fn subject_of(job: &JobRow) -> Result<Subject, DbError> {
    let pair = job.pair()?;
    let request = job.request().map_err(|error| unreadable_request(&error))?;
    let (container, baseline) = (request.container(&pair), request.is_baseline());
    Ok(Subject {
        series: Series { container, pair, package: request.package },
        tried_before: i32::try_from(job.tried_before).unwrap_or(i32::MAX),
        baseline,
    })
}
