//! Waiting for conditions instead of sleeping.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

const PAUSE: Duration = Duration::from_millis(25);

/// A server that is just starting may take a connection and never answer.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(20);

/// Asks until the answer is there. The error names what was waited for.
pub async fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    wait_until_ok(what, timeout, async || probe().await.ok_or("it did not happen")).await
}

/// Tries until it works. The error names what was waited for, and the last failure.
pub async fn wait_until_ok<T, E: Display>(
    what: &str,
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let failure = match within("an attempt", LONGEST_ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(e)) => format!("{e:#}"),
            Err(e) => e.to_string(),
        };
        if start.elapsed() >= timeout {
            return Err(anyhow!("waited {:.1} s for {what}: {failure}", start.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for a future, but not for ever. The error names it.
pub async fn within<T>(what: &str, timeout: Duration, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(timeout, future).await.map_err(|_| anyhow!("{what} did not end within {timeout:?}"))
}
