//! Waiting for conditions instead of sleeping.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

const PAUSE: Duration = Duration::from_millis(25);

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
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(e) if start.elapsed() >= timeout => {
                return Err(anyhow!("waited {:.1} s for {what}: {e:#}", start.elapsed().as_secs_f64()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
