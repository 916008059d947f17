//! Intake: requests become jobs, or join one that is there, in one transaction per batch.

mod plan;
mod rows;

use uuid::Uuid;

use self::plan::{Became, Plan};
use super::{
    Database, DbError,
    connection::{Tx, args},
};
use crate::names::{Context, Package, Pair};

/// A request that passed every check, ready for the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// What makes it the same as another.
    pub identity: String,
    /// The name its sender gave it.
    pub uuid: Option<Uuid>,
    /// Which queue it came by.
    pub context: Context,
    /// Release and arch.
    pub pair: Pair,
    /// The package.
    pub package: Package,
    /// Where it stands: see [`crate::queue`]. None: the leader sorts it.
    pub lane: Option<String>,
    /// The first trigger, empty where there is none.
    pub trigger: String,
    /// The body, credentials sealed.
    pub body: String,
    /// Five hex digits for its run id.
    pub run_hash: String,
    /// Only named people may see it.
    pub private: bool,
    /// What it names may have changed since an equal one began to run.
    pub volatile: bool,
    /// A second run of what is there is wanted.
    pub force: bool,
    /// Who asked.
    pub requester: Option<String>,
    /// Exit code and log, where it is answered without a run.
    pub answer: Option<(i32, String)>,
}

/// A message that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRejection {
    /// The body, without credentials.
    pub body: Vec<u8>,
    /// The reason's name.
    pub kind: &'static str,
    /// The reason.
    pub reason: String,
    /// A job that answers it, where an operator has switched that on.
    pub answer: Option<Box<NewJob>>,
}

/// What a message became before the database saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The queue it came by; a way in without acknowledgements has none to remember.
    pub queue: String,
    /// SHA-256 of the body, where a redelivery must be recognised.
    pub digest: Option<String>,
    /// The broker gave it out before.
    pub redelivered: bool,
    /// A job, or the reason why not.
    pub what: Result<Box<NewJob>, NewRejection>,
}

impl Prepared {
    /// Where the job stands that it becomes.
    pub fn lane(&self) -> Option<&str> {
        self.job()?.lane.as_deref()
    }

    /// True where it would become a job: that is what the database may refuse, and it is rejected then.
    pub fn may_be_refused(&self) -> bool {
        self.job().is_some()
    }

    /// The job that it would become, or that would answer it.
    fn job(&self) -> Option<&NewJob> {
        match &self.what {
            Ok(job) => Some(job),
            Err(rejection) => rejection.answer.as_deref(),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A new job.
    New {
        /// Its number.
        job: i64,
        /// Its name.
        uuid: Uuid,
    },
    /// One that was there already.
    Merged {
        /// Its number.
        job: i64,
        /// Its name.
        uuid: Uuid,
        /// Where it waits now; none where it runs.
        lane: Option<String>,
    },
    /// Committed before, and given out again because the acknowledgement was lost.
    Again,
    /// In the rejected list.
    Rejected,
}

/// One leader's consuming by one link. What it takes is refused once another leads: the broker has given out anew what a
/// leader that hung still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeSession {
    pub(super) epoch: i64,
}

/// What was committed and perhaps not acknowledged is given out again when the broker notices: within a day, or it never was.
const UNSETTLED_US: i64 = 86_400_000_000;
/// A broker writes down within seconds that it heard an acknowledgement. From then on it gives the message out no more.
const SETTLED_US: i64 = 600_000_000;

impl Database {
    /// Commits a batch. `session` is this consumer's, from [`Database::begin_intake_session`]; a way in without
    /// acknowledgements has none.
    ///
    /// Returns what became of each, and the numbers to hand to [`Database::settle`] once the acknowledgements have arrived.
    pub async fn take(
        &self,
        session: Option<IntakeSession>,
        batch: &[Prepared],
    ) -> Result<(Vec<Taken>, Vec<i64>), DbError> {
        let mut tx = match session {
            Some(session) => self.begin_leading(session.epoch).await?,
            None => self.begin().await?,
        };
        if !tx.is_sqlite() {
            // Two ways in at once must see each other's jobs, or a request would run twice.
            tx.execute("SELECT pg_advisory_xact_lock(7263541)", vec![]).await?;
        }
        tx.by_index().await?;
        let now = tx.now_us().await?;
        let again = tx.taken_before(batch).await?;
        // Those that were taken before too: this acknowledgement can be lost like the first one.
        let unsettled =
            tx.remember(session.map_or(0, |session| session.epoch), batch, now + UNSETTLED_US).await?;
        let left = batch.iter().enumerate().filter(|(n, _)| !again.contains(n)).map(|(_, prepared)| prepared);
        let mut left = tx.take_all(now, left.collect()).await?.into_iter();
        tx.commit().await?;
        let taken =
            (0..batch.len()).map_while(|n| if again.contains(&n) { Some(Taken::Again) } else { left.next() });
        Ok((taken.collect(), unsettled))
    }

    /// Begins to consume anew. `restarted`: the broker started anew since the last one began. One that died may give out again
    /// what was acknowledged, and does not say that it is again: what is remembered is taken for the same then.
    pub async fn begin_intake_session(&self, epoch: i64, restarted: bool) -> Result<IntakeSession, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        if restarted {
            let until = tx.now_us().await? + SETTLED_US;
            tx.execute(
                "UPDATE unsettled SET recovered = $1, until_us = CASE WHEN until_us > $2 THEN until_us ELSE $2 END",
                args![true, until],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(IntakeSession { epoch })
    }

    /// The acknowledgements of these messages are known to have arrived.
    pub async fn settle(&self, unsettled: &[i64]) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        tx.by_index().await?;
        let now = tx.now_us().await?;
        tx.settled(unsettled, now + SETTLED_US).await?;
        tx.execute("DELETE FROM unsettled WHERE until_us < $1", args![now]).await?;
        tx.commit().await
    }
}

impl Tx<'_> {
    /// What becomes of each of these, none of which was taken before.
    async fn take_all(&mut self, now: i64, batch: Vec<&Prepared>) -> Result<Vec<Taken>, DbError> {
        let jobs = || batch.iter().filter_map(|prepared| prepared.job());
        let identities = jobs().filter(|job| !job.force).map(|job| Some(job.identity.clone())).collect();
        let wanted = jobs().filter_map(|job| Some(Some(job.uuid?.to_string()))).collect();
        let same = self.same_jobs(identities).await?;
        let mut plan = Plan::new(same, self.used_uuids(wanted).await?)?;
        let became: Vec<Option<Became>> =
            batch.iter().map(|prepared| prepared.job().map(|job| plan.take(job))).collect();
        for prepared in &batch {
            if let Err(rejection) = &prepared.what {
                self.reject(now, &prepared.queue, rejection).await?;
            }
        }
        self.write(now, &mut plan).await?;
        let named = |at: usize| {
            let spot = &plan.spots[at];
            let job = spot.id.ok_or_else(|| DbError::Value("no id returned".to_owned()))?;
            Ok((job, spot.uuid))
        };
        let taken = batch.iter().zip(became).map(|(prepared, became)| match became {
            Some(Became::New(at)) if prepared.what.is_ok() => {
                named(at).map(|(job, uuid)| Taken::New { job, uuid })
            }
            Some(Became::Merged(at)) if prepared.what.is_ok() => {
                let lane = plan.spots[at].waits_in().map(str::to_owned);
                named(at).map(|(job, uuid)| Taken::Merged { job, uuid, lane })
            }
            _ => Ok(Taken::Rejected),
        });
        taken.collect()
    }
}
