//! Follows a request by the job table until it is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use proofhouse_core::{
    db::{Database, DbError, JobRow, JobState, RejectedRow},
    queue::{PoolRules, Waits},
};
use uuid::Uuid;

use crate::{
    outcome::Outcome,
    print,
    queue::show::{place_text, starts},
};

/// How often the job table is asked.
const PERIOD: Duration = Duration::from_millis(300);
/// A request that is in no table after so many looks may have been rejected.
const LOOKS: u32 = 6;
const PAGE: i64 = 500;
/// How often it is asked why a job waits: that costs more the more waits.
const EXPLAINED: Duration = Duration::from_secs(5);

/// Follows a request to its end, with a line that says where it stands on a terminal.
pub(crate) async fn to_the_end(
    database: &Database,
    rules: &Arc<PoolRules>,
    uuid: Uuid,
    site: Option<&str>,
) -> Result<Outcome> {
    let line = ProgressBar::new_spinner();
    line.enable_steady_tick(Duration::from_millis(120));
    let mut follower = Follower::new(database, rules, uuid);
    let outcome = loop {
        match follower.look().await {
            Ok(Seen::Over(job)) => {
                let result = database.result_of_job(job.id).await?;
                break Outcome::of(&job, result.as_ref(), site);
            }
            Ok(seen) => line.set_message(seen.text()),
            Err(error) => match error.downcast_ref::<DbError>() {
                Some(away) if away.may_retry() => line.set_message(format!("{away}; asking again")),
                _ => return Err(error),
            },
        }
        tokio::time::sleep(PERIOD).await;
    };
    line.finish_and_clear();
    Ok(outcome)
}

/// Where a request stands.
pub(crate) enum Seen {
    /// With the broker.
    NotYet,
    /// In the job table.
    Waiting(Box<JobRow>, Waits),
    /// On a worker, or on its way to the store.
    Active(Box<JobRow>),
    /// Nothing more will happen by itself.
    Over(Box<JobRow>),
}

impl Seen {
    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::NotYet => "waiting for the dispatcher to take it in".to_owned(),
            Self::Waiting(job, _) if job.attempts > 0 => {
                let reason = job.reason.as_deref().unwrap_or("the last attempt failed");
                format!("{}: waiting for attempt {} ({reason})", job.package, job.attempts + 1)
            }
            Self::Waiting(job, waits) => {
                let place = waits.place.map_or_else(String::new, |place| format!("; {}", place_text(place)));
                let starts =
                    waits.estimate.as_ref().map_or_else(String::new, |e| format!("; starts {}", starts(e)));
                print::one_line(&format!("{}: {}{place}{starts}", job.package, waits.sentence), 300)
            }
            Self::Active(job) => format!("{}: {} (attempt {})", job.package, job.state(), job.attempts),
            Self::Over(job) => format!("{}: {}", job.package, job.state()),
        }
    }
}

/// Looks at one request again and again.
pub(crate) struct Follower<'a> {
    database: &'a Database,
    rules: &'a Arc<PoolRules>,
    uuid: Uuid,
    looks: u32,
    rejected: i64,
    explained: Option<(Instant, i64, Waits)>,
}

impl<'a> Follower<'a> {
    pub(crate) const fn new(database: &'a Database, rules: &'a Arc<PoolRules>, uuid: Uuid) -> Self {
        Self { database, rules, uuid, looks: 0, rejected: 0, explained: None }
    }

    /// Why it waits, as of a few seconds ago at most.
    async fn waits(&mut self, job: &JobRow) -> Result<Waits> {
        let fresh = |(at, attempts, _): &&(Instant, i64, Waits)| {
            at.elapsed() < EXPLAINED && *attempts == job.attempts
        };
        if let Some((.., waits)) = self.explained.as_ref().filter(fresh) {
            return Ok(waits.clone());
        }
        let situation = self.database.situation(self.rules).await?;
        let waits = self.database.explain(&situation, job).await?;
        self.explained = Some((Instant::now(), job.attempts, waits.clone()));
        Ok(waits)
    }

    /// Where it stands now.
    pub(crate) async fn look(&mut self) -> Result<Seen> {
        let Some(job) = self.database.job_by_uuid(self.uuid).await? else {
            self.looks += 1;
            if self.looks >= LOOKS {
                self.look_at_rejected().await?;
            }
            return Ok(Seen::NotYet);
        };
        let job = Box::new(job);
        Ok(match job.state() {
            state if state.is_over() => Seen::Over(job),
            JobState::Waiting => {
                let waits = self.waits(&job).await?;
                Seen::Waiting(job, waits)
            }
            _ => Seen::Active(job),
        })
    }

    async fn look_at_rejected(&mut self) -> Result<()> {
        let uuid = self.uuid.to_string();
        let names_it = |row: &RejectedRow| String::from_utf8_lossy(&row.body).contains(&uuid);
        loop {
            let page = self.database.rejected(self.rejected, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            if let Some(row) = page.iter().find(|row| names_it(row)) {
                bail!(
                    "the request was rejected: {} (proofhouse rejected show {})",
                    print::one_line(&row.reason, 300),
                    row.id
                );
            }
            self.rejected = last.id;
        }
    }
}
