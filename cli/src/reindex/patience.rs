//! A store or a database that is away is waited for, but not for ever.

use backon::{ExponentialBuilder, Retryable as _};
use proofhouse_core::{backoff, db::DbError, index::ReadError, store::StoreError, telemetry::chain};

use super::progress::Progress;

/// Pauses of 0.5, 1, 2, 4, 8, 16, 30 and 30 seconds, each with up to its own length added: two minutes.
const TRIES: usize = 8;

/// An error after which the same call may work later.
pub(super) trait Passing: std::error::Error + Sized {
    fn passes(&self) -> bool;
}

impl Passing for DbError {
    fn passes(&self) -> bool {
        self.may_retry()
    }
}

impl Passing for StoreError {
    /// A disk's error is the file's own, as a rule: waiting for each of many would last for ever.
    fn passes(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

impl Passing for ReadError {
    fn passes(&self) -> bool {
        self.may_retry()
    }
}

fn pauses() -> ExponentialBuilder {
    backoff::growing().with_max_times(TRIES)
}

/// Repeats with pauses what fails because a server is away.
pub(super) async fn patiently<T, E, F>(progress: &Progress, work: impl Fn() -> F) -> Result<T, E>
where
    E: Passing,
    F: Future<Output = Result<T, E>>,
{
    work.retry(pauses())
        .when(E::passes)
        .notify(|error, pause| {
            progress.say(&format!("{}; trying again in {} s", chain(error), pause.as_secs().max(1)));
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backon::BackoffBuilder as _;

    use super::*;

    #[test]
    fn some_minutes_and_no_longer() {
        let all: Vec<Duration> = pauses().build().collect();
        let sum: Duration = all.iter().sum();
        assert_eq!(all.len(), TRIES);
        assert!((60..300).contains(&sum.as_secs()), "{sum:?}");
    }

    #[tokio::test]
    async fn what_is_refused_is_not_asked_for_again() {
        let begin = std::time::Instant::now();
        let refuse = async || Err::<(), _>(StoreError::NoContainer("x".to_owned()));
        assert!(patiently(&Progress::begin(0), refuse).await.is_err());
        assert!(begin.elapsed() < Duration::from_millis(400));
    }
}
