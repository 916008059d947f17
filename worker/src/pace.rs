//! When to measure again what costs much to measure.

use std::time::Instant;

/// The pause before a part of some whole is measured again. The whole costs little to look at, and while it has not grown by
/// what the part may still grow, the part is mostly within its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Others may have shrunk meanwhile: from then on it is measured all the same.
    at: Instant,
    whole: u64,
}

impl Pace {
    /// Not before `at`, unless the whole is larger than `whole` before.
    pub(crate) const fn new(at: Instant, whole: u64) -> Self {
        Self { at, whole }
    }

    /// Whether it is to be measured.
    pub(crate) fn is_due(self, now: Instant, whole: u64) -> bool {
        now >= self.at || whole > self.whole
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_grows_fast_is_measured_before_its_time() {
        let now = Instant::now();
        let pace = Pace::new(now + Duration::from_secs(60), 1000);
        assert!(!pace.is_due(now, 1000) && !pace.is_due(now + Duration::from_secs(59), 10));
        assert!(pace.is_due(now, 1001) && pace.is_due(now + Duration::from_secs(60), 0));
    }
}
