//! Growing pauses between tries, with jitter, so that a hundred workers do not come back at once.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses between tries to reach the broker: 0.2 to 0.4 s at first, never more than 1.6 s: shorter than any lease that is of use.
pub(super) struct Pauses(ExponentialBackoff);

/// Jitter adds up to as much again.
const LONGEST_BEFORE_JITTER: Duration = Duration::from_millis(800);

impl Pauses {
    /// The first is 0.2 to 0.4 s.
    pub(super) fn new() -> Self {
        Self(
            ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(200))
                .with_max_delay(LONGEST_BEFORE_JITTER)
                .without_max_times()
                .with_jitter()
                // backon's own seed is a constant where its `std` feature is off.
                .with_jitter_seed(rand::random())
                .build(),
        )
    }

    /// Waits for the next pause's length.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0.next().unwrap_or(LONGEST_BEFORE_JITTER)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_and_stay_short() {
        let pauses: Vec<_> = Pauses::new().0.take(50).collect();
        assert!(pauses[0] >= Duration::from_millis(200) && pauses[0] <= Duration::from_millis(400));
        assert!(pauses[20] >= LONGEST_BEFORE_JITTER);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(1_600)));
    }
}
