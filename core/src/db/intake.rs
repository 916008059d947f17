//! Intake: requests become jobs, or join one that is there, in one transaction per batch.

use uuid::Uuid;

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
        let job = match &self.what {
            Ok(job) => Some(job),
            Err(rejection) => rejection.answer.as_ref(),
        };
        job.and_then(|job| job.lane.as_deref())
    }

    /// True where it would become a job: that is what the database may refuse, and it is rejected then.
    pub fn may_be_refused(&self) -> bool {
        match &self.what {
            Ok(_) => true,
            Err(rejection) => rejection.answer.is_some(),
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
    pub(super) number: i64,
    pub(super) epoch: i64,
}

/// The outcome of a batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) taken: Vec<Taken>,
    pub(crate) unsettled: Vec<i64>,
}

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
        let session = session.map_or(0, |session| session.number);
        if !tx.is_sqlite() {
            // Two ways in at once must see each other's jobs, or a request would run twice.
            tx.execute("SELECT pg_advisory_xact_lock(7263541)", vec![]).await?;
        }
        let now = tx.now_us().await?;
        let mut outcome = Batch::default();
        for prepared in batch {
            let taken = tx.take_one(session, now, prepared, &mut outcome.unsettled).await?;
            outcome.taken.push(taken);
        }
        tx.commit().await?;
        Ok((outcome.taken, outcome.unsettled))
    }

    /// Begins to consume anew: what an earlier session committed but perhaps did not acknowledge is still known, what the
    /// one before it left is forgotten.
    pub async fn begin_intake_session(&self, epoch: i64) -> Result<IntakeSession, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let row: Option<(i64,)> =
            tx.optional("SELECT coalesce(max(session), 0) FROM unsettled", vec![]).await?;
        let last = row.map_or(0, |(n,)| n);
        tx.execute("DELETE FROM unsettled WHERE session < $1", args![last]).await?;
        tx.commit().await?;
        Ok(IntakeSession { number: last + 1, epoch })
    }

    /// Forgets messages whose acknowledgement is known to have arrived.
    pub async fn settle(&self, unsettled: &[i64]) -> Result<(), DbError> {
        // The numbers of one batch were given in one transaction, but other transactions' may lie between them.
        let mut tx = self.begin().await?;
        for id in unsettled {
            tx.execute("DELETE FROM unsettled WHERE id = $1", args![*id]).await?;
        }
        tx.commit().await
    }
}

impl Tx<'_> {
    async fn take_one(
        &mut self,
        session: i64,
        now: i64,
        prepared: &Prepared,
        unsettled: &mut Vec<i64>,
    ) -> Result<Taken, DbError> {
        if let Some(digest) = &prepared.digest {
            // What this batch remembers was not given out before: an equal message beside it is another one.
            let before = unsettled.first().copied().unwrap_or(i64::MAX);
            let again = prepared.redelivered && self.was_taken(&prepared.queue, digest, before).await?;
            // This acknowledgement can be lost like the first one.
            unsettled.push(self.remember(session, &prepared.queue, digest).await?);
            if again {
                return Ok(Taken::Again);
            }
        }
        match &prepared.what {
            Ok(job) => self.take_job(now, job).await,
            Err(rejection) => {
                self.execute(
                    "INSERT INTO rejected (queue, body, kind, reason, received_us) VALUES ($1, $2, $3, $4, $5)",
                    args![&prepared.queue, rejection.body.as_slice(), rejection.kind, &rejection.reason, now],
                )
                .await?;
                if let Some(answer) = &rejection.answer {
                    self.take_job(now, answer).await?;
                }
                Ok(Taken::Rejected)
            }
        }
    }

    /// Whether such a message was committed before and perhaps not acknowledged; each of them counts once.
    async fn was_taken(&mut self, queue: &str, digest: &str, before: i64) -> Result<bool, DbError> {
        let deleted = self
            .execute(
                "DELETE FROM unsettled WHERE id =
                    (SELECT min(id) FROM unsettled WHERE digest = $1 AND queue = $2 AND id < $3)",
                args![digest, queue, before],
            )
            .await?;
        Ok(deleted > 0)
    }

    async fn remember(&mut self, session: i64, queue: &str, digest: &str) -> Result<i64, DbError> {
        let row: Option<(i64,)> = self
            .optional(
                "INSERT INTO unsettled (session, queue, digest) VALUES ($1, $2, $3) RETURNING id",
                args![session, queue, digest],
            )
            .await?;
        row.map(|(id,)| id).ok_or_else(|| DbError::Value("no id returned".to_owned()))
    }

    async fn take_job(&mut self, now: i64, new: &NewJob) -> Result<Taken, DbError> {
        if !new.force
            && let Some(same) = self.same_job(new).await?
            && let Some(joined) = self.join_job(new, same).await?
        {
            return Ok(joined);
        }
        let uuid = self.free_uuid(new.uuid).await?;
        let (code, log) =
            new.answer.clone().map_or((None, None), |(code, log)| (Some(i64::from(code)), Some(log)));
        let row: Option<(i64,)> = self
            .optional(
                "INSERT INTO jobs (kind, uuid, identity, context, release, arch, package, pool, body, run_hash, private,
                    requesters, state, attempts, not_before_us, received_us, changed_us, answer_code, answer_log, lane, trigger)
                 VALUES ('autopkgtest', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', 0, 0, $12, $12, $13, $14, $15, $16)
                 RETURNING id",
                args![
                    uuid.to_string(),
                    &new.identity,
                    new.context.as_str(),
                    new.pair.release.as_str(),
                    new.pair.arch.as_str(),
                    new.package.as_str(),
                    // The pool that it runs in is written when it is granted.
                    new.pair.arch.as_str(),
                    &new.body,
                    &new.run_hash,
                    new.private,
                    new.requester.clone().unwrap_or_default(),
                    now,
                    code,
                    log,
                    new.lane.clone(),
                    &new.trigger,
                ],
            )
            .await?;
        let (job,) = row.ok_or_else(|| DbError::Value("no id returned".to_owned()))?;
        self.name_job(uuid, job).await?;
        Ok(Taken::New { job, uuid })
    }

    /// The job that a request becomes: one that waits, or one that runs and would see the same inputs.
    async fn same_job(&mut self, new: &NewJob) -> Result<Option<(i64, String, String, String)>, DbError> {
        self.optional(
            "SELECT id, uuid, context, requesters FROM jobs
             WHERE identity = $1 AND (state = 'waiting' OR (state = 'running' AND NOT $2)) AND answer_code IS NULL
                AND cancel IS NULL
             ORDER BY state DESC, id LIMIT 1",
            args![&new.identity, new.volatile],
        )
        .await
    }

    /// None where the job's result began to be published meanwhile.
    async fn join_job(
        &mut self,
        new: &NewJob,
        same: (i64, String, String, String),
    ) -> Result<Option<Taken>, DbError> {
        let (job, uuid, context, requesters) = same;
        let own: Uuid = uuid.parse().map_err(|_| DbError::Value(format!("uuid of job {job}")))?;
        // Plain is more urgent than huge; ppa and upstream are never the same job as these.
        let context = if context == Context::Huge.as_str() { new.context.as_str() } else { &context };
        let requesters = match &new.requester {
            Some(name) if !requesters.lines().any(|r| r == name) => {
                format!("{requesters}\n{name}").trim().to_owned()
            }
            _ => requesters,
        };
        let joined = self
            .execute(
                "UPDATE jobs SET context = $1, requesters = $2
                 WHERE id = $3 AND (state = 'waiting' OR (state = 'running' AND NOT $4))",
                args![context, requesters, job, new.volatile],
            )
            .await?;
        if joined == 0 {
            return Ok(None);
        }
        if let Some(alias) = new.uuid {
            self.name_job(alias, job).await?;
        }
        Ok(Some(Taken::Merged { job, uuid: own }))
    }

    async fn name_job(&mut self, uuid: Uuid, job: i64) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO job_uuids (uuid, job_id) VALUES ($1, $2) ON CONFLICT (uuid) DO NOTHING",
            args![uuid.to_string(), job],
        )
        .await
        .map(|_| ())
    }

    /// The sender's uuid, or a new one where it gave none or one that is taken.
    async fn free_uuid(&mut self, wanted: Option<Uuid>) -> Result<Uuid, DbError> {
        let Some(wanted) = wanted else { return Ok(Uuid::new_v4()) };
        let taken: Option<(i64,)> =
            self.optional("SELECT job_id FROM job_uuids WHERE uuid = $1", args![wanted.to_string()]).await?;
        Ok(if taken.is_some() { Uuid::new_v4() } else { wanted })
    }
}
