//! Growing pauses between tries at something that is away.

use std::time::Duration;

use backon::ExponentialBuilder;

/// Tries for ever: after half a second at first, then twice as long each time up to half a minute, each pause with up to
/// its own length added by chance so that many processes do not come back at once.
pub fn growing() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}
