//! Jobs: what is to do, as the scheduler, the pages and the command line read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Database, DbError, LaneCount,
    connection::args,
    summary::{json, over, rows},
};
use crate::{
    names::{BadName, Context, Package, Pair},
    protocol::AttemptId,
    queue::{ANSWERS, ASKED, Lane},
    request::{BadRequest, Request},
    run_id::RunHash,
};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// For a free slot, or for the end of a pause.
    Waiting,
    /// A worker holds a lease.
    Running,
    /// A worker uploads log and artifacts.
    Publishing,
    /// The result is recorded; `result.tar` is on its way to the store.
    Storing,
    /// The result is in the store.
    Done,
    /// An infrastructure failure after the last attempt: an operator decides.
    Parked,
    /// Somebody called it off.
    Cancelled,
    /// Nobody waits for it any more.
    Obsolete,
}

impl JobState {
    const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Running,
        Self::Publishing,
        Self::Storing,
        Self::Done,
        Self::Parked,
        Self::Cancelled,
        Self::Obsolete,
    ];

    /// The word in the database, in JSON and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Publishing => "publishing",
            Self::Storing => "storing",
            Self::Done => "done",
            Self::Parked => "parked",
            Self::Cancelled => "cancelled",
            Self::Obsolete => "obsolete",
        }
    }

    /// True once nothing more will happen by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Parked | Self::Cancelled | Self::Obsolete)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| BadName::new("job state", text, "a state of jobs"))
    }
}

/// A job as the table has it.
#[derive(Debug, Clone, FromRow)]
pub struct JobRow {
    /// Its number.
    pub id: i64,
    /// What it is called outside.
    pub uuid: String,
    /// `ubuntu`, `huge`, `ppa`, `upstream`.
    pub context: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// The pool that its offers go to.
    pub pool: String,
    /// The request's body, credentials sealed.
    pub body: String,
    /// Five hex digits for its run id.
    pub run_hash: String,
    /// Only named people may see it.
    pub private: bool,
    /// Who asked, one a line.
    pub requesters: String,
    /// Where it stands; see [`JobRow::state`].
    pub state: String,
    /// Why it is parked, cancelled or obsolete, or waits again.
    pub reason: Option<String>,
    /// How many attempts were granted.
    pub attempts: i64,
    /// How many of them do not count any more: they were made before an operator had it retried.
    pub tried_before: i64,
    /// Microseconds since 1970: not offered before.
    pub not_before_us: i64,
    /// Microseconds since 1970.
    pub received_us: i64,
    /// Microseconds since 1970: last change of state.
    pub changed_us: i64,
    /// Set where it is answered without a run.
    pub answer_code: Option<i64>,
    /// The log of that answer.
    pub answer_log: Option<String>,
    /// Where it stands while it waits: see [`crate::queue`].
    pub lane: Option<String>,
    /// The first trigger, empty where there is none.
    pub trigger: String,
    /// Why an operator wants it to end, while it runs.
    pub cancel: Option<String>,
    /// No gate is told of it while it is parked: it is a baseline, or the store refused its answer.
    pub unanswerable: bool,
}

macro_rules! job_columns {
    () => {
        "id, uuid, context, release, arch, package, pool, body, run_hash, private, requesters, state, reason, \
         attempts, tried_before, not_before_us, received_us, changed_us, answer_code, answer_log, unanswerable, \
         lane, trigger, cancel"
    };
}
pub(crate) use job_columns;

/// The number of the job that has the uuid `$1`, its own or an alias.
macro_rules! id_by_uuid {
    () => {
        "coalesce((SELECT id FROM jobs WHERE uuid = $1), (SELECT job_id FROM job_uuids WHERE uuid = $1))"
    };
}
pub(super) use id_by_uuid;

impl JobRow {
    /// Where it stands.
    pub fn state(&self) -> JobState {
        // The column is written from this type alone.
        self.state.parse().unwrap_or(JobState::Parked)
    }

    /// The request, credentials sealed.
    pub fn request(&self) -> Result<Request, BadRequest> {
        Request::parse(self.body.as_bytes())
    }

    /// Release and arch.
    pub fn pair(&self) -> Result<Pair, DbError> {
        format!("{}/{}", self.release, self.arch).parse().map_err(|e: BadName| DbError::Value(e.to_string()))
    }

    /// The context.
    pub fn context(&self) -> Result<Context, DbError> {
        self.context.parse().map_err(|e: BadName| DbError::Value(e.to_string()))
    }

    /// The run id's digits.
    pub fn run_hash(&self) -> RunHash {
        RunHash::from_stored(&self.run_hash)
    }
}

/// A job that waits, as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Candidate {
    /// Its number.
    pub id: i64,
    /// How many attempts it had.
    pub attempts: i64,
    /// How many of them do not count any more.
    pub tried_before: i64,
    /// Where it stands.
    pub lane: String,
    /// The package.
    pub package: String,
    /// The first trigger, empty where there is none.
    pub trigger: String,
    /// Who asked, one a line.
    pub requesters: String,
    /// Hosts on which it failed: the next attempt is to be elsewhere.
    #[sqlx(skip)]
    pub failed_on: BTreeSet<String>,
}

impl Candidate {
    /// The attempt that would come next.
    pub fn next(&self) -> AttemptId {
        AttemptId { job: self.id, attempt: i32::try_from(self.attempts + 1).unwrap_or(i32::MAX) }
    }
}

/// How many jobs of a queue are in a state.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct QueueCount {
    /// The context.
    pub context: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// Those that wait.
    pub waiting: i64,
    /// Those that run or are being published.
    pub running: i64,
}

impl QueueCount {
    /// None where nothing in the lane is sorted.
    fn of_lane(count: LaneCount) -> Option<Self> {
        let lane: Lane = count.lane?.parse().ok()?;
        let (context, Pair { release, arch }) = (lane.context.to_string(), lane.pair);
        Some(Self {
            context,
            release: release.to_string(),
            arch: arch.to_string(),
            waiting: count.waiting,
            running: 0,
        })
    }
}

/// A job that is asked for by its number.
#[derive(Serialize)]
struct Numbered {
    id: i64,
}

/// What a new request would be the same as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateKind {
    /// A job that waits.
    Queued,
    /// A job that runs.
    Running,
}

impl Database {
    /// Jobs that wait and have a greater number, for the lists to look at, at most `limit`.
    pub async fn waiting_after(&self, id: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state = 'waiting' AND id > $1 ORDER BY id LIMIT $2"
            ),
            args![id, limit],
        )
        .await
    }

    /// A job by its number.
    pub async fn job(&self, id: i64) -> Result<Option<JobRow>, DbError> {
        self.optional(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1"), args![id]).await
    }

    /// Jobs by their numbers, in no order.
    pub async fn jobs(&self, ids: &[i64]) -> Result<Vec<JobRow>, DbError> {
        let ids: Vec<Numbered> = ids.iter().map(|id| Numbered { id: *id }).collect();
        let sql = over!(self, "SELECT jobs.* FROM jobs WHERE id IN (SELECT n.id", (id BIGINT), ")");
        self.all(sql, args![json(&ids)?]).await
    }

    /// A job by one of its uuids.
    pub async fn job_by_uuid(&self, uuid: Uuid) -> Result<Option<JobRow>, DbError> {
        self.optional(
            concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = ", id_by_uuid!()),
            args![uuid.to_string()],
        )
        .await
    }

    /// Those of these uuids by which a job is known.
    pub async fn known_uuids(&self, uuids: &[String]) -> Result<BTreeSet<String>, DbError> {
        #[derive(Serialize)]
        struct Named<'a> {
            uuid: &'a str,
        }
        let uuids: Vec<Named<'_>> = uuids.iter().map(|uuid| Named { uuid }).collect();
        let sql = over!(
            self,
            "SELECT n.uuid",
            (uuid TEXT),
            "WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.uuid = n.uuid)
                OR EXISTS (SELECT 1 FROM job_uuids u WHERE u.uuid = n.uuid)"
        );
        let known: Vec<(String,)> = self.all(sql, args![json(&uuids)?]).await?;
        Ok(known.into_iter().map(|(uuid,)| uuid).collect())
    }

    /// What waits, oldest first, from behind `after`, at most `limit`.
    pub async fn queued(&self, after: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        self.waiting_after(after, limit).await
    }

    /// What runs or is being published, oldest first, at most `limit`.
    pub async fn running(&self, limit: i64) -> Result<Vec<JobRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state IN ('running', 'publishing', 'storing') ORDER BY id LIMIT $1"
            ),
            args![limit],
        )
        .await
    }

    /// What is queued, runs or is parked of a package, without private runs; release and arch narrow it down.
    pub async fn open_jobs_of(
        &self,
        package: &Package,
        pair: Option<&Pair>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<JobRow>, DbError> {
        let (release, arch) = (pair.map(|p| p.release.as_str()), pair.map(|p| p.arch.as_str()));
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE package = $1 AND ($2 IS NULL OR release = $2) AND ($3 IS NULL OR arch = $3)
                   AND NOT private AND state IN ('waiting', 'running', 'publishing', 'storing', 'parked')
                   AND id > $4 ORDER BY id LIMIT $5"
            ),
            args![package.as_str(), release, arch, after, limit],
        )
        .await
    }

    /// How much waits and runs, per queue that has any. It counts the lanes, whose cost grows with what waits.
    pub async fn queue_counts(&self) -> Result<Vec<QueueCount>, DbError> {
        let others: Vec<QueueCount> = self
            .all(
                "SELECT context, release, arch, count(*) AS waiting, CAST(0 AS BIGINT) AS running FROM jobs
                 WHERE state = 'waiting' AND (lane IN ($1, $2) OR lane IS NULL) GROUP BY context, release, arch
                 UNION ALL
                 SELECT context, release, arch, CAST(0 AS BIGINT), count(*) FROM jobs
                 WHERE state IN ('running', 'publishing', 'storing') GROUP BY context, release, arch",
                args![ANSWERS, ASKED],
            )
            .await?;
        let mut sums: BTreeMap<(String, String, String), QueueCount> = BTreeMap::new();
        let in_lanes = self.lane_counts().await?.into_iter().filter_map(QueueCount::of_lane);
        for count in in_lanes.chain(others) {
            let key = (count.context.clone(), count.release.clone(), count.arch.clone());
            let sum =
                sums.entry(key).or_insert_with(|| QueueCount { waiting: 0, running: 0, ..count.clone() });
            sum.waiting += count.waiting;
            sum.running += count.running;
        }
        Ok(sums.into_values().collect())
    }

    /// How many unfinished jobs that do not wait are in each state; states without any are there too.
    pub async fn state_counts(&self) -> Result<Vec<(JobState, i64)>, DbError> {
        let open = [JobState::Running, JobState::Publishing, JobState::Storing, JobState::Parked];
        let found: Vec<(String, i64)> = self
            .all(
                "SELECT state, count(*) FROM jobs
                 WHERE state IN ('running', 'publishing', 'storing', 'parked') GROUP BY state",
                vec![],
            )
            .await?;
        let count = |state: JobState| found.iter().find(|(s, _)| s == state.as_str()).map_or(0, |(_, n)| *n);
        Ok(open.map(|state| (state, count(state))).to_vec())
    }

    /// How many jobs run or are being published in each pool.
    pub async fn leased_by_pool(&self) -> Result<Vec<(String, i64)>, DbError> {
        self.all(
            "SELECT pool, count(*) FROM jobs WHERE state IN ('running', 'publishing') GROUP BY pool",
            vec![],
        )
        .await
    }

    /// The job that a request with this identity would become.
    pub async fn duplicate(&self, identity: &str) -> Result<Option<(DuplicateKind, JobRow)>, DbError> {
        let row: Option<JobRow> = self
            .optional(
                concat!(
                    "SELECT ",
                    job_columns!(),
                    " FROM jobs WHERE identity = $1 AND state IN ('waiting', 'running') AND cancel IS NULL
                        AND answer_code IS NULL ORDER BY state DESC, id LIMIT 1"
                ),
                args![identity],
            )
            .await?;
        Ok(row.map(|job| match job.state() {
            JobState::Waiting => (DuplicateKind::Queued, job),
            _ => (DuplicateKind::Running, job),
        }))
    }

    /// Ends a waiting job without a result.
    pub async fn end_waiting(
        &self,
        epoch: i64,
        job: i64,
        state: JobState,
        reason: &str,
    ) -> Result<bool, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let now = tx.now_us().await?;
        let ended = tx
            .execute(
                "UPDATE jobs SET state = $1, reason = $2, changed_us = $3 WHERE id = $4 AND state = 'waiting'",
                args![state.as_str(), reason, now, job],
            )
            .await?;
        tx.commit().await?;
        Ok(ended == 1)
    }
}
