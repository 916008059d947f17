//! Why a job waits, in which place, and until when: arithmetic on counts that one look at the job table gives.

mod estimate;
mod held;
mod place;
mod reason;
mod situation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use self::place::View;
pub use self::{
    estimate::{Estimate, in_words},
    reason::Reason,
    situation::{Durations, InUse, Running, Serving, Situation},
};
use super::{ANSWERS, CapKind, EMERGENCY, Lane};
use crate::names::Pool;

/// What is asked about: a job that waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Where it stands, as the table has it.
    pub lane: Option<String>,
    /// So many of its lane may be offered before it.
    pub before: i64,
    /// Microseconds since 1970.
    pub not_before_us: i64,
    /// Hosts on which it failed.
    pub failed_on: BTreeSet<String>,
    /// The package.
    pub package: String,
    /// The first trigger, empty where there is none.
    pub trigger: String,
    /// Who asked first, empty where nobody did.
    pub requester: String,
    /// Only named people may see it.
    pub private: bool,
    /// It is answered without a run.
    pub answered: bool,
}

/// Why, where and until when a job waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waits {
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// The same for people.
    pub sentence: String,
    /// About so many jobs start before it; none where that cannot be told, as of one that is held back for as long as an
    /// operator wants. Exact where nothing else takes turns with it.
    pub place: Option<u64>,
    /// When it starts; none where that cannot be told.
    pub estimate: Option<Estimate>,
}

impl Situation {
    /// Explains a job that waits.
    pub fn explain(&self, job: &Subject) -> Waits {
        let Some(lane) = placed(job) else { return self.unplaced(job) };
        self.explain_in(job, &self.view(&lane))
    }

    /// Explains many: what they have in common is looked at once.
    pub fn explain_all(&self, jobs: &[Subject]) -> Vec<Waits> {
        let lanes: HashMap<&str, Lane> =
            jobs.iter().filter_map(|job| Some((job.lane.as_deref()?, placed(job)?))).collect();
        let views: HashMap<&str, View<'_>> =
            lanes.iter().map(|(text, lane)| (*text, self.view(lane))).collect();
        let explain = |job: &Subject| {
            let view = job.lane.as_deref().filter(|_| !job.answered).and_then(|text| views.get(text));
            view.map_or_else(|| self.unplaced(job), |view| self.explain_in(job, view))
        };
        jobs.iter().map(explain).collect()
    }

    /// One that stands in no lane.
    fn unplaced(&self, job: &Subject) -> Waits {
        let answer = job.answered || job.lane.as_deref() == Some(ANSWERS);
        let reason = if answer { Reason::Answer } else { Reason::Unsorted { leader: self.leader } };
        Waits { sentence: reason.to_string(), reason, place: None, estimate: None }
    }

    fn explain_in(&self, job: &Subject, view: &View<'_>) -> Waits {
        let reason = self.reason(job, view.lane);
        // Until an operator changes that.
        let held = matches!(reason, Reason::Paused { .. } | Reason::Cap { most: 0, .. });
        let unserved = matches!(reason, Reason::NoWorker { .. } | Reason::WorkersUnable { .. });
        let place = || view.place(f64::from(u32::try_from(job.before).unwrap_or(u32::MAX)), 0.0);
        Waits {
            sentence: reason.to_string(),
            place: (!held).then(|| round(place())),
            estimate: if held || unserved { None } else { view.estimate(job) },
            reason,
        }
    }

    fn reason(&self, job: &Subject, lane: &Lane) -> Reason {
        if let Some(pause) = self.controls.pause_of(lane) {
            return Reason::paused(pause);
        }
        if job.not_before_us > self.now_us {
            return Reason::NextAttempt { at: timestamp(job.not_before_us) };
        }
        let pools = self.rules.pools_of(lane);
        let served = |able: bool| {
            let by = |pool: &&Pool| self.serving.iter().any(|w| (w.able || !able) && w.pools.contains(pool));
            pools.iter().filter(by).cloned().collect::<Vec<Pool>>()
        };
        let (any, able) = (served(false), served(true));
        if any.is_empty() {
            return Reason::NoWorker { pools };
        }
        if able.is_empty() {
            return Reason::WorkersUnable { pools: any };
        }
        if lane.level < EMERGENCY {
            if able.iter().all(|pool| self.has_emergency(pool)) {
                return Reason::Emergency { pools: able };
            }
            if let Some(cap) = self.cap_of(job, &able) {
                return cap;
            }
        }
        if self.waits_for_host(job, &able) {
            Reason::HostsAside { pools: able }
        } else {
            Reason::Slot { pools: able }
        }
    }

    /// The cap that holds a job back.
    fn cap_of(&self, job: &Subject, pools: &[Pool]) -> Option<Reason> {
        let own = [
            (CapKind::Package, &job.package),
            (CapKind::Trigger, &job.trigger),
            (CapKind::Requester, &job.requester),
        ];
        let own = own.into_iter().find_map(|(kind, name)| {
            let (running, most) = self.told(kind, name)?;
            let name = (!job.private).then(|| name.clone());
            Some(Reason::Cap { kind, name, running, most })
        });
        own.or_else(|| {
            let full = pools.iter().map(|pool| Some((self.reached(CapKind::Pool, pool.as_str())?, pool)));
            // It waits for the one with the most room.
            let full: Vec<_> = full.collect::<Option<_>>()?;
            let ((running, most), pool) = full.into_iter().max_by_key(|((_, most), _)| *most)?;
            Some(Reason::Cap { kind: CapKind::Pool, name: Some(pool.to_string()), running, most })
        })
    }

    /// True where slots are free, but only on hosts that are not for this job.
    fn waits_for_host(&self, job: &Subject, pools: &[Pool]) -> bool {
        let mut hosts =
            self.serving.iter().filter(|w| w.able && pools.iter().any(|pool| w.pools.contains(pool)));
        let (mut free, mut fitting, mut elsewhere) = (false, false, false);
        for worker in &mut hosts {
            let fits = !worker.aside && !job.failed_on.contains(&worker.host);
            elsewhere |= fits;
            if worker.slots > worker.held {
                free = true;
                fitting |= fits;
            }
        }
        // Where it failed on all of them, any may try again.
        free && !fitting && elsewhere
    }
}

/// The lane of one that is to run.
fn placed(job: &Subject) -> Option<Lane> {
    job.lane.as_deref().filter(|_| !job.answered)?.parse().ok()
}

fn timestamp(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of jobs, never below 0"
)]
fn round(jobs: f64) -> u64 {
    jobs.round().max(0.0) as u64
}
