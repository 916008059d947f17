//! Parked jobs that gates have waited for long enough: they are answered with exit code 16.

use std::fmt::Write as _;

use proofhouse_core::{
    db::{AttemptRow, DbError, JobRow},
    outcome::{ExitCode, Fault, decided_by},
};

use super::{Leader, inherit::series_of};
use crate::answer::Answer;

const PAGE: i64 = 500;

impl Leader {
    /// Answers those that have been parked for as long as the configuration says.
    pub(super) async fn answer_parked(&mut self) -> Result<(), DbError> {
        let Some(patience) = self.context.settings.parked_answer else { return Ok(()) };
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let cutoff = self.context.database.now_us().await?.saturating_sub(patience);
        let mut after = 0;
        loop {
            let page = self.context.database.unanswered_before(cutoff, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for job in &page {
                self.answer_one_parked(job).await?;
            }
        }
    }

    async fn answer_one_parked(&mut self, job: &JobRow) -> Result<(), DbError> {
        // One that cannot be read has nobody to be told.
        let (Ok(series), Ok(request)) = (series_of(job), job.request()) else { return Ok(()) };
        // britney lets a failing baseline open the gate.
        if request.is_baseline() {
            return self.context.database.never_answer(job.id).await;
        }
        let attempts = self.context.database.attempts_of(job.id).await?;
        let answer = Answer {
            exit_code: ExitCode::TESTBED.0,
            version: "unknown",
            log: log(&attempts),
            rule: decided_by::PARKED,
        };
        self.answer(job, &request, series, &answer).await.map(|_| ())
    }
}

/// What its readers are told: nothing that only an operator should see.
fn log(attempts: &[AttemptRow]) -> String {
    let mut text =
        "This test could not be run: the infrastructure failed, and no operator has had it retried.\n"
            .to_owned();
    for attempt in attempts {
        let fault: Option<Fault> = attempt.fault.as_deref().and_then(|fault| fault.parse().ok());
        let sentence = fault.map_or("it ended without a result", Fault::sentence);
        let _ = writeln!(text, "Attempt {}: {sentence}.", attempt.attempt);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_happened() {
        assert_eq!(log(&[]).lines().count(), 1);
        assert!(Fault::ALL.iter().all(|fault| !fault.sentence().ends_with('.')));
    }
}
