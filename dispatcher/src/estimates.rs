//! How wrong estimates are: those of a sample of jobs are remembered from when they came until they start.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proofhouse_core::{
    db::{Database, DbError, LaneCount},
    queue::{PoolRules, Subject},
    telemetry::metrics::Dispatcher,
};

/// So many jobs are remembered at most.
const MOST: usize = 10_000;
/// So many of the newest jobs are looked at with each survey, and so many of them estimated.
const NEWEST: i64 = 20_000;
const AT_ONCE: usize = 500;
/// What comes between two surveys is estimated at the second: less than this tells nothing of the estimate.
const LEAST: Duration = Duration::from_secs(5);

/// Jobs of which was said when they start.
#[derive(Debug, Default)]
pub(crate) struct Estimates(Mutex<Sample>);

#[derive(Debug)]
struct Sample {
    /// When it was said, and what: after how long.
    said: BTreeMap<i64, (Instant, Duration)>,
    /// Jobs whose number is divided by this are looked at: the more wait, the fewer.
    every: i64,
    /// Jobs up to this number were looked at.
    seen: i64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { said: BTreeMap::new(), every: 1, seen: 0 }
    }
}

impl Sample {
    fn is_of_it(&self, job: i64) -> bool {
        job % self.every == 0
    }

    fn say(&mut self, job: i64, at: Instant, after: Duration) {
        self.said.insert(job, (at, after));
        while self.said.len() > MOST {
            self.every *= 2;
            let every = self.every;
            self.said.retain(|job, _| job % every == 0);
        }
    }
}

impl Estimates {
    fn sample(&self) -> MutexGuard<'_, Sample> {
        // Whoever panicked left a sample that is one job short at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says of some of the jobs that came since the last survey when they will start.
    pub(crate) async fn survey(
        &self,
        database: &Database,
        rules: &Arc<PoolRules>,
        lanes: &[LaneCount],
    ) -> Result<(), DbError> {
        let seen = self.sample().seen;
        let came = database.newest_waiting(seen, NEWEST).await?;
        let Some((newest, _)) = came.first() else { return Ok(()) };
        self.sample().seen = *newest;
        let subjects = self.choose(came, lanes);
        if subjects.is_empty() {
            return Ok(());
        }
        let situation = database.situation(rules).await?;
        let now = Instant::now();
        for (job, subject) in subjects {
            if let Some(estimate) = situation.explain(&subject).estimate {
                self.sample().say(job, now, Duration::from_secs_f64(estimate.likely_seconds));
            }
        }
        Ok(())
    }

    /// Those of the sample, newest first: what stands before each in its lane is what does not stand behind it.
    fn choose(&self, newest_first: Vec<(i64, Option<String>)>, lanes: &[LaneCount]) -> Vec<(i64, Subject)> {
        let mut left: BTreeMap<&str, i64> =
            lanes.iter().filter_map(|count| Some((count.lane.as_deref()?, count.waiting))).collect();
        let mut sample = self.sample();
        if sample.said.len() < MOST / 4 {
            sample.every = (sample.every / 2).max(1);
        }
        let mut chosen = Vec::new();
        for (job, lane) in newest_first {
            let Some(before) = lane.as_deref().and_then(|lane| left.get_mut(lane)) else { continue };
            *before -= 1;
            if sample.is_of_it(job) && chosen.len() < AT_ONCE {
                chosen.push((job, Subject { before: (*before).max(0), lane, ..Subject::default() }));
            }
        }
        chosen
    }

    /// A job's first attempt was granted.
    pub(crate) fn started(&self, job: i64, metrics: &Dispatcher) {
        let Some((at, said)) = self.sample().said.remove(&job) else { return };
        let took = at.elapsed();
        metrics.start_estimate_error_seconds.observe(took.abs_diff(said).as_secs_f64());
        let ratio = said.max(LEAST).as_secs_f64() / took.max(LEAST).as_secs_f64();
        metrics.start_estimate_ratio.observe(ratio);
    }
}

#[cfg(test)]
mod tests {
    use proofhouse_core::{config::Role, telemetry::metrics::Metrics};

    use super::*;

    #[test]
    fn a_place_is_what_does_not_stand_behind() {
        let lane = "0 gates ubuntu noble/amd64 - a/1".to_owned();
        let counts = [LaneCount { lane: Some(lane.clone()), waiting: 10 }];
        let came = vec![(20, Some(lane.clone())), (19, None), (18, Some(lane.clone())), (17, Some(lane))];
        let chosen = Estimates::default().choose(came, &counts);
        let places: Vec<(i64, i64)> = chosen.iter().map(|(job, subject)| (*job, subject.before)).collect();
        assert_eq!(places, [(20, 9), (18, 8), (17, 7)]);
    }

    #[test]
    fn a_sample_is_bounded_and_an_error_is_counted() {
        let estimates = Estimates::default();
        let now = Instant::now();
        for job in 0..50_000 {
            let mut sample = estimates.sample();
            if sample.is_of_it(job) {
                sample.say(job, now, Duration::from_secs(60));
            }
        }
        assert!((MOST / 4..=MOST).contains(&estimates.sample().said.len()));
        let metrics = Metrics::new(Role::Dispatcher);
        let job = estimates.sample().every;
        estimates.started(job, &metrics.dispatcher);
        estimates.started(job, &metrics.dispatcher);
        let error = &metrics.dispatcher.start_estimate_error_seconds;
        assert_eq!((error.get_sample_count(), error.get_sample_sum().round()), (1, 60.0));
        assert!((metrics.dispatcher.start_estimate_ratio.get_sample_sum() - 12.0).abs() < 1.0);
    }
}
