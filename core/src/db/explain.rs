//! What explains waiting jobs: one look at the table for all of them, and a little more for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;

use super::{
    Database, DbError, JobRow, WorkerRow,
    connection::args,
    summary::{json, over, rows},
};
use crate::{
    names::Pool,
    queue::{Class, Durations, Lane, PoolRules, Reason, Running, Serving, Situation, Subject, Waits},
};

/// So many of the attempts that ended last tell how long one takes.
const REMEMBERED: i64 = 5000;
/// What came within so long tells what will come.
const ARRIVALS_SECONDS: f64 = 3600.0;
const ARRIVALS_US: i64 = 3_600_000_000;

/// The part of a lane from one job (or its begin) to another.
#[derive(Serialize)]
struct Stretch<'a> {
    n: usize,
    lane: &'a str,
    since: i64,
    id: i64,
    now_us: i64,
}

impl Database {
    /// What all waiting jobs share. It counts the lanes, whose cost grows with what waits: not for each page.
    pub async fn situation(&self, rules: &Arc<PoolRules>) -> Result<Situation, DbError> {
        let counts = self.lane_counts().await?;
        let lanes =
            counts.into_iter().filter_map(|count| Some((parsed(count.lane.as_deref())?, count.waiting)));
        let lanes: Vec<(Lane, i64)> = lanes.collect();
        let mut situation = Situation::new(self.now_us().await?, rules.clone(), self.controls().await?);
        situation.leader = self.has_leader().await?;
        situation.durations = self.durations().await?;
        for (pool, lane, package, trigger, requesters, private) in self.in_use().await? {
            let Ok(pool) = pool.parse() else { continue };
            let requester = first_line(&requesters);
            let running = Running { package: &package, trigger: &trigger, requester, private };
            situation.in_use.add(&pool, parsed(lane.as_deref()).as_ref(), &running);
        }
        situation.serving = self.serving(situation.now_us).await?;
        situation.set_lanes(lanes);
        situation.set_arrivals(self.people_lately(situation.now_us).await?, ARRIVALS_SECONDS);
        Ok(situation)
    }

    /// Explains a job that waits.
    pub async fn explain(&self, situation: &Situation, job: &JobRow) -> Result<Waits, DbError> {
        let subject = Subject {
            failed_on: self.hosts_it_failed_on(job.id, job.attempts, job.tried_before).await?,
            ..subject(job, self.before(job, situation.now_us).await?)
        };
        let waits = situation.explain(&subject);
        // Where a slot of its pools is free and it waits all the same: for another host? That reads a day of attempts.
        if let Reason::Slot { pools } = &waits.reason
            && has_free_slot(&situation.serving, pools)
        {
            let mut situation = situation.clone();
            self.set_aside(&mut situation).await?;
            return Ok(situation.explain(&subject));
        }
        Ok(waits)
    }

    /// Explains jobs that wait. Hosts on which they failed are left out.
    pub async fn explain_each(&self, situation: &Situation, jobs: &[&JobRow]) -> Result<Vec<Waits>, DbError> {
        let before = self.before_each(jobs, situation.now_us).await?;
        let subjects: Vec<Subject> =
            jobs.iter().zip(before).map(|(job, before)| subject(job, before)).collect();
        Ok(situation.explain_all(&subjects))
    }

    /// How many jobs of the same lane may be offered before each of these. It counts from one to the next in its lane: no
    /// part of a lane is counted twice.
    async fn before_each(&self, jobs: &[&JobRow], now_us: i64) -> Result<Vec<i64>, DbError> {
        let mut order: Vec<usize> = (0..jobs.len()).filter(|n| jobs[*n].lane.is_some()).collect();
        order.sort_by_key(|n| (&jobs[*n].lane, jobs[*n].id));
        let mut stretches: Vec<Stretch<'_>> = Vec::with_capacity(order.len());
        for n in &order {
            let (lane, id) = (jobs[*n].lane.as_deref().unwrap_or_default(), jobs[*n].id);
            let since = stretches.last().filter(|last| last.lane == lane).map_or(0, |last| last.id);
            stretches.push(Stretch { n: *n, lane, since, id, now_us });
        }
        if stretches.is_empty() {
            return Ok(vec![0; jobs.len()]);
        }
        let sql = over!(
            self,
            "SELECT n.n, (SELECT count(*) FROM jobs j WHERE j.state = 'waiting' AND j.lane = n.lane AND j.id >= n.since
                AND j.id < n.id AND j.not_before_us <= n.now_us) AS jobs",
            (n BIGINT, lane TEXT, since BIGINT, id BIGINT, now_us BIGINT),
            ""
        );
        let counted: Vec<(i64, i64)> = self.all(sql, args![json(&stretches)?]).await?;
        let counted: BTreeMap<i64, i64> = counted.into_iter().collect();
        let mut before = vec![0; jobs.len()];
        let mut sum = 0;
        for Stretch { n, since, .. } in stretches {
            let own = i64::try_from(n).ok().and_then(|n| counted.get(&n)).copied().unwrap_or(0);
            sum = if since == 0 { own } else { sum + own };
            before[n] = sum;
        }
        Ok(before)
    }

    /// How many jobs of the same lane may be offered before a job.
    async fn before(&self, job: &JobRow, now_us: i64) -> Result<i64, DbError> {
        let (before,): (i64,) = self
            .one(
                "SELECT count(*) FROM jobs WHERE state = 'waiting' AND lane = $1 AND id < $2 AND not_before_us <= $3",
                args![job.lane.clone(), job.id, now_us],
            )
            .await?;
        Ok(before)
    }

    async fn has_leader(&self) -> Result<bool, DbError> {
        let (ends_us,): (i64,) =
            self.one("SELECT CASE WHEN holder = '' THEN 0 ELSE ends_us END FROM leadership", vec![]).await?;
        Ok(ends_us > self.now_us().await?)
    }

    async fn in_use(&self) -> Result<Vec<(String, Option<String>, String, String, String, bool)>, DbError> {
        self.all(
            "SELECT pool, lane, package, trigger, requesters, private FROM jobs WHERE state IN ('running', 'publishing')",
            vec![],
        )
        .await
    }

    /// How long the last attempts took, by pool.
    async fn durations(&self) -> Result<BTreeMap<Pool, Durations>, DbError> {
        let rows: Vec<(String, f64, f64)> = self
            .all(
                "SELECT pool, CAST(avg(seconds) AS DOUBLE PRECISION), CAST(avg(seconds * seconds) AS DOUBLE PRECISION)
                 FROM (SELECT j.pool, (a.ended_us - a.granted_us) / 1000000.0 AS seconds
                       FROM (SELECT job_id, granted_us, ended_us FROM attempts
                             WHERE ended_us IS NOT NULL ORDER BY ended_us DESC LIMIT $1) AS a
                       JOIN jobs j ON j.id = a.job_id) AS lately
                 GROUP BY pool",
                args![REMEMBERED],
            )
            .await?;
        let known = |(pool, mean, squares): (String, f64, f64)| {
            let deviation = (squares - mean * mean).max(0.0).sqrt();
            Some((pool.parse().ok()?, Durations { mean, deviation }))
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// What people asked for lately.
    async fn people_lately(&self, now_us: i64) -> Result<Vec<(Lane, i64)>, DbError> {
        let rows: Vec<(Option<String>, i64)> = self
            .all(
                "SELECT lane, count(*) FROM jobs WHERE requesters <> '' AND received_us > $1 GROUP BY lane",
                args![now_us - ARRIVALS_US],
            )
            .await?;
        let lanes = rows.into_iter().filter_map(|(lane, n)| Some((parsed(lane.as_deref())?, n)));
        Ok(lanes.filter(|(lane, _)| lane.class == Class::People).collect())
    }

    /// The workers that are there.
    async fn serving(&self, now_us: i64) -> Result<Vec<Serving>, DbError> {
        let held: Vec<(String, i64)> = self
            .all(
                "SELECT worker, count(*) FROM attempts WHERE state IN ('running', 'publishing') GROUP BY worker",
                vec![],
            )
            .await?;
        let held: BTreeMap<String, i64> = held.into_iter().collect();
        let workers = self.workers().await?;
        let there = workers.iter().filter(|worker| !worker.is_away(now_us));
        Ok(there.map(|worker| serves(worker, held.get(&worker.name).copied().unwrap_or(0))).collect())
    }

    /// As the leader does: a pool's last host is never set aside.
    async fn set_aside(&self, situation: &mut Situation) -> Result<(), DbError> {
        // Where a private test failed everybody would learn by what is said of a public one.
        let records = if situation.for_everybody {
            self.public_host_records().await?
        } else {
            self.host_records().await?
        };
        let serving = &mut situation.serving;
        let score = |host: &str| records.get(host).map_or(1.0, |record| record.health.score());
        let aside: Vec<bool> = serving
            .iter()
            .map(|worker| {
                let others =
                    serving.iter().filter(|other| other.able && !other.pools.is_disjoint(&worker.pools));
                let best = others.map(|other| score(&other.host)).fold(0.0, f64::max);
                records.get(&worker.host).is_some_and(|record| record.health.is_aside())
                    && score(&worker.host) < best
            })
            .collect();
        for (worker, aside) in serving.iter_mut().zip(aside) {
            worker.aside = aside;
        }
        Ok(())
    }
}

/// What is asked about a job, with so many before it in its lane.
fn subject(job: &JobRow, before: i64) -> Subject {
    Subject {
        before,
        failed_on: BTreeSet::new(),
        not_before_us: job.not_before_us,
        lane: job.lane.clone(),
        package: job.package.clone(),
        trigger: job.trigger.clone(),
        requester: first_line(&job.requesters).to_owned(),
        private: job.private,
        answered: job.answer_code.is_some(),
    }
}

fn serves(worker: &WorkerRow, held: i64) -> Serving {
    let size = |n: i64| usize::try_from(n).unwrap_or(0);
    Serving {
        pools: worker.pools.split(' ').filter_map(|pool| pool.parse().ok()).collect(),
        host: worker.host.clone(),
        slots: size(worker.slots),
        held: size(held),
        able: !worker.draining && worker.unable.is_none() && worker.wanted == "work" && worker.slots > 0,
        aside: false,
    }
}

/// True where a worker that takes work has a free slot in one of the pools.
fn has_free_slot(serving: &[Serving], pools: &[Pool]) -> bool {
    let is_free = |worker: &Serving| worker.able && worker.slots > worker.held;
    serving.iter().any(|worker| is_free(worker) && pools.iter().any(|pool| worker.pools.contains(pool)))
}

fn parsed(lane: Option<&str>) -> Option<Lane> {
    lane?.parse().ok()
}

fn first_line(lines: &str) -> &str {
    lines.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_slots_of_other_pools_do_not_count() {
        let pool = |name: &str| name.parse::<Pool>().unwrap();
        let worker = |name: &str, held: usize, able: bool| Serving {
            pools: [pool(name)].into(),
            host: "h".to_owned(),
            slots: 2,
            held,
            able,
            aside: false,
        };
        let serving = [worker("amd64", 2, true), worker("amd64", 0, false), worker("arm64", 1, true)];
        assert!(!has_free_slot(&serving, &[pool("amd64")]));
        assert!(has_free_slot(&serving, &[pool("amd64"), pool("arm64")]));
    }
}
