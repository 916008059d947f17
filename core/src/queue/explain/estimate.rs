//! When a job starts: from its place, the slots, how long attempts took lately, and what comes meanwhile.

use serde::{Serialize, Serializer};

use super::{
    super::{CapKind, EMERGENCY},
    Subject,
    place::{View, size},
    situation::{Durations, key_kind, number},
};

/// Later is as good as never.
const HORIZON_SECONDS: f64 = 90.0 * 86_400.0;
/// How often the arrivals of the time that was found are counted in again.
const ROUNDS: usize = 40;
/// The quartiles of a normal distribution lie so many standard deviations from its middle.
const QUARTILE: f64 = 0.674;

/// In how many seconds it starts. Half of the jobs start between `early` and `late`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// A quarter starts before.
    #[serde(serialize_with = "whole")]
    pub early_seconds: f64,
    /// As likely before as after.
    #[serde(serialize_with = "whole")]
    pub likely_seconds: f64,
    /// A quarter starts after.
    #[serde(serialize_with = "whole")]
    pub late_seconds: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the horizon")]
fn whole<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(seconds.round() as u64)
}

/// A time for people: `40 s`, `12 min`, `3.5 h`, `2 days`.
pub fn in_words(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 36_000.0 => format!("{:.1} h", s / 3600.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

impl View<'_> {
    /// None where it cannot be told: no slot, no history, or more comes than ever goes.
    pub(super) fn estimate(&self, job: &Subject) -> Option<Estimate> {
        let durations = self.durations()?;
        let before = number(job.before);
        let pace = self.slots / durations.mean.max(1.0);
        if pace <= 0.0 {
            return None;
        }
        let ends = |seconds: f64| (self.place(before, seconds) + 1.0 - self.free).max(0.0);
        let mut seconds = 0.0;
        for _ in 0..ROUNDS {
            let next = ends(seconds) / pace;
            let settled = (next - seconds).abs() < 1.0;
            seconds = next;
            if settled {
                break;
            }
        }
        seconds = seconds.max(self.capped(job, before, durations)?);
        if seconds > HORIZON_SECONDS {
            return None;
        }
        let waited = ends(seconds).max(1.0).sqrt();
        let spread =
            (0.1 + (durations.deviation / durations.mean.max(1.0)).max(1.0) / waited).min(1.0) * QUARTILE;
        let pause = number((job.not_before_us - self.situation.now_us) / 1_000_000);
        let at = |factor: f64| (seconds * factor).max(pause);
        Some(Estimate {
            early_seconds: at(1.0 - spread),
            likely_seconds: at(1.0),
            late_seconds: at(1.0 + spread),
        })
    }

    /// Of its pools together, as far as anything ran there lately.
    fn durations(&self) -> Option<Durations> {
        let known: Vec<Durations> =
            self.pools.iter().filter_map(|pool| self.situation.durations.get(pool).copied()).collect();
        if known.is_empty() {
            return None;
        }
        let mean = |of: fn(&Durations) -> f64| known.iter().map(of).sum::<f64>() / size(known.len());
        Some(Durations { mean: mean(|d| d.mean), deviation: mean(|d| d.deviation) })
    }

    /// The seconds that caps of its own make it wait, as far as is known what they hold back before it; none: for ever.
    fn capped(&self, job: &Subject, before: f64, durations: Durations) -> Option<f64> {
        if self.lane.level >= EMERGENCY {
            return Some(0.0);
        }
        let caps = [
            (key_kind(self.lane), &self.lane.key, before),
            (CapKind::Package, &job.package, 0.0),
            (CapKind::Trigger, &job.trigger, 0.0),
            (CapKind::Requester, &job.requester, 0.0),
        ];
        let mut longest: f64 = 0.0;
        for (kind, name, before) in caps {
            let Some(most) = self.situation.controls.most(kind, name) else { continue };
            if most == 0 {
                return None;
            }
            let free = size(most.saturating_sub(self.situation.in_use.of(kind, name)));
            longest = longest.max((before + 1.0 - free).max(0.0) * durations.mean / size(most));
        }
        Some(longest)
    }
}
