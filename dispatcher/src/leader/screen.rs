//! What waits is looked at before anyone is offered it: some of it is answered without a run.

use proofhouse_core::{
    db::{DbError, JobRow, JobState, SyntheticOutcome},
    layout::Series,
    names::Pair,
    outcome::ExitCode,
    request::Request,
};
use tokio::time::Instant;

use super::{
    Leader,
    inherit::{series_of, unreadable, unreadable_request},
};
use crate::{
    answer::{self, Screened},
    chain,
    schedule::Event,
};

const SCREEN_PAGE: i64 = 500;

impl Leader {
    /// Looks at what came in since, before anyone is offered it: lists, pairs that are off, answers to bad requests.
    pub(super) async fn screen(&mut self) -> Result<(), DbError> {
        for id in self.postponed.clone() {
            match self.context.database.job(id).await?.filter(|job| job.state() == JobState::Waiting) {
                Some(job) => self.screen_one(&job).await?,
                None => {
                    self.postponed.remove(&id);
                }
            }
        }
        loop {
            let page = self.context.database.waiting_after(self.screened, SCREEN_PAGE).await?;
            for job in &page {
                self.screen_one(job).await?;
                self.screened = job.id;
            }
            if page.is_empty() {
                return Ok(());
            }
        }
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
            Screened::Run => return Ok(true),
            Screened::Obsolete(reason) => {
                return self.end_waiting(job.id, JobState::Obsolete, reason).await;
            }
            Screened::Answer(answer) => answer,
        };
        self.answer(job, &request, series, &answer).await
    }

    fn screened(&self, job: &JobRow, request: &Request, pair: &Pair) -> Screened {
        let settings = &self.context.settings;
        answer::screen(job, request, pair, &settings.lists.borrow(), &settings.switched_off)
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
