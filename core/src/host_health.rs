//! How well a host's testbeds do: a number that falls with every fault of ours and rises with every word of a test.
//!
//! A host whose number has fallen too low is set aside: it gets one job now and then, to see whether it has recovered
//! (contract "Whose fault was it").

use std::time::Duration;

use crate::outcome::Fault;

/// How much the latest attempt counts: five faults in a row set a sound host aside.
const WEIGHT: f64 = 0.2;
const ASIDE_BELOW: f64 = 0.4;
/// The pause before the first probe; each further one that fails doubles it.
const PROBE: Duration = Duration::from_secs(60);
const LONGEST_PROBE: Duration = Duration::from_secs(3600);

/// How many of a host's latest attempts make its health: what came before weighs less than a hundredth.
pub const REMEMBERED: i64 = 24;

/// A host's health.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    score: f64,
    /// Faults since it was set aside.
    failed_probes: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { score: 1.0, failed_probes: 0 }
    }
}

impl Health {
    /// An attempt ended there: with a word of the test, or by a fault that [tells of its host](tells_of_host).
    pub fn ended(&mut self, well: bool) {
        let was_aside = self.is_aside();
        self.score = self.score * (1.0 - WEIGHT) + if well { WEIGHT } else { 0.0 };
        self.failed_probes = if self.is_aside() && was_aside && !well { self.failed_probes + 1 } else { 0 };
    }

    /// From 0 (everything fails) to 1.
    pub const fn score(&self) -> f64 {
        self.score
    }

    /// True while it is to get no more than a probe.
    pub fn is_aside(&self) -> bool {
        self.score < ASIDE_BELOW
    }

    /// How long after its last fault it gets the next probe.
    pub fn probe_after(&self) -> Duration {
        PROBE.saturating_mul(1 << self.failed_probes.min(10)).min(LONGEST_PROBE)
    }
}

/// True for a fault that lowers the health of the host it happened on. A lost lease tells of a worker or a network, an old
/// version of an archive, a broken testbed of what was tested, and a store that is away of the store.
pub const fn tells_of_host(fault: Fault) -> bool {
    match fault {
        Fault::Testbed
        | Fault::Unexpected
        | Fault::Killed
        | Fault::NoVersion
        | Fault::LogRule
        | Fault::TimedOut
        | Fault::DiskFull
        | Fault::Worker => true,
        Fault::BrokeTestbed | Fault::OldVersion | Fault::Store | Fault::LeaseLost => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(history: &[bool]) -> Health {
        history.iter().fold(Health::default(), |mut health, well| {
            health.ended(*well);
            health
        })
    }

    #[test]
    fn five_faults_in_a_row_set_a_host_aside_and_one_good_run_brings_it_back() {
        assert!(!after(&[false; 4]).is_aside());
        assert!(after(&[false; 5]).is_aside());
        assert!(!after(&[false, false, false, false, false, true]).is_aside());
        let flaky: Vec<bool> = (0..100).map(|n| n % 2 == 0).collect();
        assert!(!after(&flaky).is_aside(), "half of its runs are fine");
    }

    #[test]
    fn probes_come_ever_later() {
        let pause = |faults: usize| after(&vec![false; faults]).probe_after().as_secs();
        assert_eq!([pause(5), pause(6), pause(7), pause(40)], [60, 120, 240, 3600]);
    }
}
