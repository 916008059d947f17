//! What waits is looked at before anyone is offered it: some of it is answered without a run.

use std::collections::BTreeSet;

use proofhouse_core::{
    db::{DbError, JobRow, JobState, SyntheticOutcome},
    layout::Series,
    names::Pair,
    outcome::ExitCode,
    protocol::Ask,
    queue::{ANSWERS, ASKED, Lane},
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
/// Each is a transaction: workers must not wait for long.
const ANSWERS_AT_ONCE: i64 = 50;

/// True where something may have come by another way than the queues, or is to be answered.
pub(super) fn is_due(event: &Event) -> bool {
    match event {
        Event::Tick | Event::Nudge | Event::Asked(_, Ask::Nudge) => true,
        Event::Arrived(lanes) => lanes.iter().any(|lane| lane == ANSWERS),
        _ => false,
    }
}

impl Leader {
    /// Sorts what came by other ways than the queues, and answers some of what is answered without a run. How far it came
    /// is in `answering`: very many are to be answered at times, and nobody else is to wait for all of them.
    pub(super) async fn screen(&mut self) -> Result<(), DbError> {
        // Where the database is away the next tick begins anew.
        let after = self.answering.take().unwrap_or(0);
        let are_more = self.sort_unsorted().await?;
        let page = self.context.database.to_answer(after, ANSWERS_AT_ONCE).await?;
        self.answering = page.last().map(|job| job.id).or(are_more.then_some(after));
        for job in &page {
            self.screen_one(job).await?;
        }
        Ok(())
    }

    /// Sorts the first of those that nobody has sorted yet. True where there may be more.
    async fn sort_unsorted(&mut self) -> Result<bool, DbError> {
        let page = self.context.database.unsorted(SCREEN_PAGE).await?;
        let lanes = page.iter().map(|job| (job, sort::lane_of(&self.context.settings, job)));
        // What cannot be read is parked where it is answered.
        let sorted: Vec<_> = lanes
            .map(|(job, lane)| (job.id, job.lane.clone(), lane.unwrap_or_else(|| ANSWERS.to_owned())))
            .collect();
        match self.put_in_lanes(sorted.clone()).await {
            // One that the table refuses must not hold up the rest.
            Err(DbError::Statement(_)) => {
                for one in sorted {
                    self.sort_or_park(one).await?;
                }
            }
            outcome => outcome?,
        }
        Ok(!page.is_empty())
    }

    async fn sort_or_park(&mut self, one: (i64, Option<String>, String)) -> Result<(), DbError> {
        let job = one.0;
        match self.put_in_lanes(vec![one]).await {
            Err(error @ DbError::Statement(_)) => {
                tracing::error!(job.id = job, error = %chain(&error), "job {job} cannot be sorted: it is parked");
                self.end_waiting(job, JobState::Parked, "the job table refuses its place in the queue").await
            }
            outcome => outcome,
        }
    }

    pub(super) async fn put_in_lanes(
        &mut self,
        lanes: Vec<(i64, Option<String>, String)>,
    ) -> Result<(), DbError> {
        self.context.database.sort_jobs(self.epoch, &lanes).await?;
        let lanes: BTreeSet<String> = lanes.into_iter().map(|(_, _, lane)| lane).collect();
        self.arrived.extend(lanes);
        Ok(())
    }

    /// Looks at the next page of what waits, after lists or pools may have changed. Grants look again, too.
    pub(super) async fn sort_again(&mut self) -> Result<(), DbError> {
        let Some(after) = self.sorted_again else { return Ok(()) };
        let page = self.context.database.waiting_after(after, SCREEN_PAGE).await?;
        let moved = page
            .iter()
            .filter_map(|job| Some((job.id, job.lane.clone(), sort::lane_of(&self.context.settings, job)?)));
        self.put_in_lanes(moved.collect()).await?;
        self.sorted_again = page.last().map(|job| job.id);
        Ok(())
    }

    /// Those that another version put where this one cannot read are sorted anew.
    pub(super) async fn sort_strange(&self, lanes: &[String]) -> Result<(), DbError> {
        let is_known = |lane: &str| lane == ANSWERS || lane == ASKED || lane.parse::<Lane>().is_ok();
        for lane in lanes.iter().filter(|lane| !is_known(lane)) {
            self.context.database.unsort_lane(self.epoch, lane).await?;
        }
        Ok(())
    }

    /// One that fails by itself is parked: it must not hold up the rest.
    async fn screen_one(&mut self, job: &JobRow) -> Result<(), DbError> {
        match self.answer_or_pass(job).await {
            Err(error @ (DbError::Statement(_) | DbError::Value(_))) => {
                tracing::error!(job.id = job.id, error = %chain(&error), "job {} cannot be answered: it is parked", job.id);
                self.end_waiting(job.id, JobState::Parked, "it could not be answered without a run").await
            }
            outcome => outcome,
        }
    }

    async fn end_waiting(&self, job: i64, state: JobState, reason: &str) -> Result<(), DbError> {
        self.context.database.end_waiting(self.epoch, job, state, reason).await.map(drop)
    }

    /// One whose series is being published stays where it is, and is looked at again.
    async fn answer_or_pass(&mut self, job: &JobRow) -> Result<(), DbError> {
        let (Ok(series), Ok(request)) = (series_of(job), job.request()) else {
            // Intake takes only what can be read: another version wrote it.
            let reason = "the request in the job table cannot be read";
            return self.end_waiting(job.id, JobState::Parked, reason).await;
        };
        let answer = match self.screened(job, &request, &series.pair) {
            Screened::Run => {
                // The lists have changed since. Without its place it is sorted anew.
                let unsorted = JobRow { lane: None, ..job.clone() };
                let lane = sort::lane_of(&self.context.settings, &unsorted);
                let moved = lane.map(|lane| (job.id, job.lane.clone(), lane));
                return self.put_in_lanes(moved.into_iter().collect()).await;
            }
            Screened::Obsolete(reason) => {
                return self.end_waiting(job.id, JobState::Obsolete, reason).await;
            }
            Screened::Answer(answer) => answer,
        };
        self.answer(job, &request, series, &answer).await.map(drop)
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
