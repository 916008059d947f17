//! What waits is looked at before anyone is offered it: some of it is answered without a run.

use std::collections::BTreeSet;

use proofhouse_core::{
    db::{DbError, JobRow, JobState, SyntheticOutcome},
    layout::Series,
    names::Pair,
    outcome::ExitCode,
    queue::ANSWERS,
    request::Request,
};
use tokio::time::Instant;

use super::{
    Leader,
    inherit::{series_of, unreadable, unreadable_request},
    sort,
};
use crate::{
    answer::{self, Screened},
    chain,
    schedule::Event,
};

const SCREEN_PAGE: i64 = 500;

impl Leader {
    /// Sorts what came by other ways than the queues, and answers what is answered without a run.
    pub(super) async fn screen(&mut self) -> Result<(), DbError> {
        for id in self.postponed.clone() {
            match self.context.database.job(id).await?.filter(|job| job.state() == JobState::Waiting) {
                Some(job) => self.screen_one(&job).await?,
                None => {
                    self.postponed.remove(&id);
                }
            }
        }
        self.sort_unsorted().await?;
        loop {
            let page = self.context.database.to_answer(self.screened, SCREEN_PAGE).await?;
            for job in &page {
                self.screen_one(job).await?;
                self.screened = job.id;
            }
            if page.is_empty() {
                // Those that must wait are remembered; an older one can come to be answered, too.
                self.screened = self.postponed.last().copied().unwrap_or(0);
                return Ok(());
            }
        }
    }

    async fn sort_unsorted(&mut self) -> Result<(), DbError> {
        loop {
            let page = self.context.database.unsorted(SCREEN_PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let lanes = page.iter().map(|job| (job, sort::lane_of(&self.context.settings, job)));
            // What cannot be read is parked where it is answered.
            let lanes: Vec<(i64, String)> =
                lanes.map(|(job, lane)| (job.id, lane.unwrap_or_else(|| ANSWERS.to_owned()))).collect();
            self.put_in_lanes(lanes).await?;
        }
    }

    pub(super) async fn put_in_lanes(&mut self, lanes: Vec<(i64, String)>) -> Result<(), DbError> {
        self.context.database.sort_jobs(self.epoch, &lanes).await?;
        let lanes: BTreeSet<String> = lanes.into_iter().map(|(_, lane)| lane).collect();
        self.arrived.extend(lanes);
        Ok(())
    }

    /// Looks at the next page of what waits, after lists or pools may have changed. Grants look again, too.
    pub(super) async fn sort_again(&mut self) -> Result<(), DbError> {
        let Some(after) = self.sorted_again else { return Ok(()) };
        let page = self.context.database.waiting_after(after, SCREEN_PAGE).await?;
        let moved = page.iter().filter_map(|job| Some((job.id, sort::lane_of(&self.context.settings, job)?)));
        self.put_in_lanes(moved.collect()).await?;
        self.sorted_again = page.last().map(|job| job.id);
        Ok(())
    }

    /// One that fails by itself is parked: it must not hold up the rest.
    async fn screen_one(&mut self, job: &JobRow) -> Result<(), DbError> {
        self.postponed.insert(job.id);
        let done = match self.answer_or_pass(job).await {
            Err(error @ (DbError::Statement(_) | DbError::Value(_))) => {
                tracing::error!(job.id = job.id, error = %chain(&error), "job {} cannot be answered: it is parked", job.id);
                self.end_waiting(job.id, JobState::Parked, "it could not be answered without a run").await?
            }
            outcome => outcome?,
        };
        if done {
            self.postponed.remove(&job.id);
        }
        Ok(())
    }

    async fn end_waiting(&self, job: i64, state: JobState, reason: &str) -> Result<bool, DbError> {
        self.context.database.end_waiting(self.epoch, job, state, reason).await.map(|_| true)
    }

    /// False where it must be looked at again: what is published of its series goes first.
    async fn answer_or_pass(&mut self, job: &JobRow) -> Result<bool, DbError> {
        let (Ok(series), Ok(request)) = (series_of(job), job.request()) else {
            // Intake takes only what can be read: another version wrote it.
            let reason = "the request in the job table cannot be read";
            return self.end_waiting(job.id, JobState::Parked, reason).await;
        };
        let answer = match self.screened(job, &request, &series.pair) {
            Screened::Run => {
                // The lists have changed since. Without its place it is sorted anew.
                let job = JobRow { lane: None, ..job.clone() };
                let lane = sort::lane_of(&self.context.settings, &job);
                self.put_in_lanes(lane.map(|lane| (job.id, lane)).into_iter().collect()).await?;
                return Ok(true);
            }
            Screened::Obsolete(reason) => {
                return self.end_waiting(job.id, JobState::Obsolete, reason).await;
            }
            Screened::Answer(answer) => answer,
        };
        self.answer(job, &request, series, &answer).await
    }

    fn screened(&self, job: &JobRow, request: &Request, pair: &Pair) -> Screened {
        let settings = &self.context.settings;
        let before = answer::decided_before(job).map(Screened::Answer);
        before.unwrap_or_else(|| {
            answer::screen(request, pair, &settings.lists.borrow(), &settings.switched_off)
        })
    }

    /// False for what is answered, or ended, without a run.
    pub(super) fn is_to_be_run(&self, job: &JobRow) -> Result<bool, DbError> {
        let request = job.request().map_err(|error| unreadable_request(&error))?;
        Ok(self.screened(job, &request, &job.pair()?) == Screened::Run)
    }

    /// Publishes a result without a run. False where it must be tried again: what is published of its series goes first.
    pub(super) async fn answer(
        &mut self,
        job: &JobRow,
        request: &Request,
        series: Series,
        answer: &answer::Answer,
    ) -> Result<bool, DbError> {
        if self.state.is_publishing(&series) {
            return Ok(false);
        }
        let files = answer::files(job, request, answer).map_err(unreadable)?;
        let database = &self.context.database;
        let recorded =
            database.record_synthetic(self.epoch, &files.result, &series, files.result_tar, files.log_gz);
        match recorded.await? {
            SyntheticOutcome::Recorded(_) => {}
            SyntheticOutcome::Wait => return Ok(false),
            SyntheticOutcome::Over => return Ok(true),
        }
        let code = answer.exit_code;
        self.metrics().results.with_label_values(&[ExitCode(code).class().as_str()]).inc();
        tracing::info!(job.id = job.id, "job {} is answered without a run (exit code {code})", job.id);
        self.outbox.notify_one();
        // At once: the next job of this page may be of the same series.
        self.state.decide(Event::Answered(job.id, series), Instant::now());
        Ok(true)
    }
}
