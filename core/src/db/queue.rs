//! The job table as the scheduler sees it: lanes, who stands first in them, and what operators hold back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::FromRow;

use super::{Candidate, Database, DbError, JobRow, connection::args, jobs::job_columns};
use crate::queue::{ANSWERS, ASKED, Cap, Controls, Lane, Pause, PoolRules};

/// A lane in which jobs wait.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LaneCount {
    /// The lane, as text; none or [`ASKED`] where the leader has not sorted them yet.
    pub lane: Option<String>,
    /// How many wait, pauses before a next attempt among them.
    pub waiting: i64,
}

/// What a pool's workers are wanted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// Jobs that wait and that it may run. What several pools may run counts for each of them.
    pub waiting: i64,
    /// Jobs that run or are being published.
    pub leased: i64,
}

impl Demand {
    /// What waits and what is leased, by pool; pools of which nothing is wanted are left out.
    pub fn by_pool(
        rules: &PoolRules,
        counts: &[LaneCount],
        leased: Vec<(String, i64)>,
    ) -> BTreeMap<String, Self> {
        let mut pools: BTreeMap<String, Self> = BTreeMap::new();
        for count in counts {
            let Some(Ok(lane)) = count.lane.as_deref().map(str::parse::<Lane>) else { continue };
            // An autoscaler sees one pool alone: for it the job is there to be run, whoever else might take it.
            for pool in rules.pools_of(&lane) {
                pools.entry(pool.to_string()).or_default().waiting += count.waiting;
            }
        }
        for (pool, leased) in leased {
            pools.entry(pool).or_default().leased = leased;
        }
        pools
    }
}

impl Database {
    /// What is wanted of each pool: see [`Demand::by_pool`].
    pub async fn demand(&self, rules: &PoolRules) -> Result<BTreeMap<String, Demand>, DbError> {
        Ok(Demand::by_pool(rules, &self.lane_counts().await?, self.leased_by_pool().await?))
    }

    /// All lanes in which jobs wait. It reads every waiting job's index entry: not for each decision.
    pub async fn lane_counts(&self) -> Result<Vec<LaneCount>, DbError> {
        self.all("SELECT lane, count(*) AS waiting FROM jobs WHERE state = 'waiting' GROUP BY lane", vec![])
            .await
    }

    /// The next of each of these lanes, behind the number given with it, that may be offered now; at most `limit` of each.
    /// Lanes without any are left out.
    pub async fn windows(
        &self,
        lanes: &[(String, i64)],
        now_us: i64,
        limit: i64,
    ) -> Result<BTreeMap<String, Vec<Candidate>>, DbError> {
        let mut found: Vec<Candidate> = if self.is_sqlite() {
            let mut found = Vec::new();
            for (lane, after) in lanes {
                let some: Vec<Candidate> = self
                    .all(
                        "SELECT id, attempts, lane, package, trigger, requesters, tried_before FROM jobs
                         WHERE state = 'waiting' AND lane = $1 AND id > $2 AND not_before_us <= $3
                         ORDER BY id LIMIT $4",
                        args![lane, *after, now_us, limit],
                    )
                    .await?;
                found.extend(some);
            }
            found
        } else {
            self.all(
                "SELECT j.* FROM jsonb_array_elements($1::jsonb) AS l CROSS JOIN LATERAL (
                    SELECT id, attempts, lane, package, trigger, requesters, tried_before FROM jobs
                    WHERE state = 'waiting' AND jobs.lane = l ->> 0 AND id > (l ->> 1)::bigint AND not_before_us <= $2
                    ORDER BY id LIMIT $3) AS j",
                args![serde_json::to_string(lanes).unwrap_or_default(), now_us, limit],
            )
            .await?
        };
        self.add_hosts_it_failed_on(&mut found).await?;
        let mut windows: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for candidate in found {
            windows.entry(candidate.lane.clone()).or_default().push(candidate);
        }
        Ok(windows)
    }

    async fn add_hosts_it_failed_on(&self, found: &mut [Candidate]) -> Result<(), DbError> {
        for candidate in found.iter_mut().filter(|c| c.attempts > c.tried_before) {
            let (job, tried) = (candidate.id, candidate.tried_before);
            candidate.failed_on = self.hosts_it_failed_on(job, candidate.attempts, tried).await?;
        }
        Ok(())
    }

    /// The hosts on which a job failed since an operator last had it retried.
    pub(super) async fn hosts_it_failed_on(
        &self,
        job: i64,
        attempts: i64,
        tried_before: i64,
    ) -> Result<BTreeSet<String>, DbError> {
        if attempts <= tried_before {
            return Ok(BTreeSet::new());
        }
        // A lost lease says nothing about the host.
        let failed: Vec<(String,)> = self
            .all(
                "SELECT host FROM attempts WHERE job_id = $1 AND attempt > $2 AND fault <> 'lease-lost'",
                args![job, tried_before],
            )
            .await?;
        Ok(failed.into_iter().map(|(host,)| host).collect())
    }

    /// Waiting jobs that the leader has not sorted, oldest first, at most `limit`.
    pub async fn unsorted(&self, limit: i64) -> Result<Vec<JobRow>, DbError> {
        let mut found: Vec<JobRow> = self
            .all(
                concat!(
                    "SELECT ",
                    job_columns!(),
                    " FROM jobs WHERE state = 'waiting' AND lane = $1 ORDER BY id LIMIT $2"
                ),
                args![ASKED, limit],
            )
            .await?;
        if found.is_empty() {
            found = self
                .all(
                    concat!(
                        "SELECT ",
                        job_columns!(),
                        " FROM jobs WHERE state = 'waiting' AND lane IS NULL ORDER BY id LIMIT $1"
                    ),
                    args![limit],
                )
                .await?;
        }
        Ok(found)
    }

    /// Waiting jobs that are answered without a run, with a greater number than `after`, oldest first, at most `limit`.
    pub async fn to_answer(&self, after: i64, limit: i64) -> Result<Vec<JobRow>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                job_columns!(),
                " FROM jobs WHERE state = 'waiting' AND lane = $1 AND id > $2 ORDER BY id LIMIT $3"
            ),
            args![ANSWERS, after, limit],
        )
        .await
    }

    /// Number and lane of the newest waiting jobs with a greater number than `after`, newest first, at most `limit`.
    pub async fn newest_waiting(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Option<String>)>, DbError> {
        self.all(
            "SELECT id, lane FROM jobs WHERE state = 'waiting' AND id > $1 ORDER BY id DESC LIMIT $2",
            args![after, limit],
        )
        .await
    }

    /// Puts waiting jobs into lanes: each by its number, with the lane that it stood in and the one that it is to stand in.
    /// Those that stand elsewhere by now, or wait no more, are left alone.
    pub async fn sort_jobs(
        &self,
        epoch: i64,
        lanes: &[(i64, Option<String>, String)],
    ) -> Result<(), DbError> {
        if lanes.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin_leading(epoch).await?;
        let all = serde_json::to_string(lanes).unwrap_or_default();
        let statement = if tx.is_sqlite() {
            "UPDATE jobs SET lane = v.lane
             FROM (SELECT value ->> 0 AS id, value ->> 1 AS was, value ->> 2 AS lane FROM json_each($1)) AS v
             WHERE jobs.id = v.id AND jobs.state = 'waiting' AND jobs.lane IS v.was"
        } else {
            "UPDATE jobs SET lane = v.lane
             FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS was, value ->> 2 AS lane
                   FROM jsonb_array_elements($1::jsonb) AS value) AS v
             WHERE jobs.id = v.id AND jobs.state = 'waiting' AND jobs.lane IS NOT DISTINCT FROM v.was"
        };
        tx.execute(statement, args![all]).await?;
        tx.commit().await
    }

    /// Has some jobs of a lane sorted anew: another version put them where this one cannot read.
    pub async fn unsort_lane(&self, epoch: i64, lane: &str) -> Result<(), DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let some = "UPDATE jobs SET lane = NULL WHERE id IN
            (SELECT id FROM jobs WHERE state = 'waiting' AND lane = $1 ORDER BY id LIMIT 1000)";
        tx.execute(some, args![lane]).await?;
        tx.commit().await
    }

    /// What operators hold back.
    pub async fn controls(&self) -> Result<Controls, DbError> {
        let pauses: Vec<Pause> = self
            .all(
                "SELECT id, release, arch, context, person, reason, since_us FROM pauses ORDER BY id",
                vec![],
            )
            .await?;
        let mut caps: Vec<Cap> =
            self.all("SELECT kind, name, most, person, since_us FROM caps", vec![]).await?;
        // Not by the database's collation.
        caps.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
        Ok(Controls { pauses, caps })
    }

    /// Running jobs that an operator wants to end, with the reason.
    pub async fn to_cancel(&self) -> Result<Vec<(i64, String)>, DbError> {
        self.all(
            "SELECT id, cancel FROM jobs WHERE cancel IS NOT NULL AND state = 'running' ORDER BY id",
            vec![],
        )
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_pools_may_run_is_wanted_of_each() {
        let rules = PoolRules::parse("[fast]\narches = ['amd64']\nlabels = ['!private']").unwrap();
        let count = |lane: &str, waiting| LaneCount { lane: Some(lane.to_owned()), waiting };
        let counts = [
            count("0 gates ubuntu noble/amd64 - green/2", 5),
            count("0 gates ubuntu noble/amd64 private green/2", 2),
            count("?", 9),
        ];
        let demand = Demand::by_pool(&rules, &counts, vec![("fast".to_owned(), 3)]);
        assert_eq!(demand["fast"], Demand { waiting: 5, leased: 3 });
        assert_eq!((demand["amd64"], demand.len()), (Demand { waiting: 7, leased: 0 }, 2));
    }
}
