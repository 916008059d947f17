//! The statements of intake: one for a whole batch. Lists go to PostgreSQL as arrays and to SQLite as JSON; rows whose texts
//! are the senders' go to SQLite one by one, which costs no round trip there, for its JSON ends a text at a NUL.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{
    NewRejection, Prepared,
    plan::{Plan, Same},
};
use crate::db::{
    DbError,
    connection::{Tx, args},
};

macro_rules! insert_jobs {
    () => {
        "INSERT INTO jobs (kind, state, attempts, not_before_us, uuid, identity, context, release, arch, package, pool, body,
            run_hash, private, requesters, answer_code, answer_log, lane, trigger, received_us, changed_us) "
    };
}
// The pool that it runs in is written when it is granted: till then it is called as the arch.
const INSERT_JOBS: &str = concat!(
    insert_jobs!(),
    "SELECT 'autopkgtest', 'waiting', 0, 0, uuid, identity, context, release, arch, package, arch, body, run_hash, private,
        requesters, answer_code, answer_log, lane, trigger, $14, $14
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
        $10::text[], $11::bigint[], $12::text[], $13::text[], $15::text[]) WITH ORDINALITY AS n (uuid, identity, context, release,
        arch, package, body, run_hash, private, requesters, answer_code, answer_log, lane, trigger, n)
     ORDER BY n RETURNING id, uuid"
);
const INSERT_JOB: &str = concat!(
    insert_jobs!(),
    "VALUES ('autopkgtest', 'waiting', 0, 0, $1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $15, $14, $14)
     RETURNING id, uuid"
);

impl Tx<'_> {
    /// The statements of this transaction read few rows of large tables, whatever the planner believes of tables that grow
    /// faster than it counts.
    pub(super) async fn by_index(&mut self) -> Result<(), DbError> {
        if !self.is_sqlite() {
            self.execute("SELECT set_config('enable_seqscan', 'off', true)", vec![]).await?;
        }
        Ok(())
    }

    /// Which of these were committed before, and are given out again because the broker did not hear, or forgot, that they were
    /// acknowledged; each such commit counts once, and is forgotten.
    pub(super) async fn taken_before(&mut self, batch: &[Prepared]) -> Result<HashSet<usize>, DbError> {
        let digests: Vec<_> = batch.iter().filter_map(|p| Some(Some(p.digest.clone()?))).collect();
        if digests.is_empty() {
            return Ok(HashSet::new());
        }
        let sql = if self.is_sqlite() {
            "SELECT id, digest, queue, recovered FROM unsettled
             WHERE digest IN (SELECT value FROM json_each($1)) AND (recovered OR NOT settled) ORDER BY id DESC"
        } else {
            "SELECT id, digest, queue, recovered FROM unsettled
             WHERE digest = ANY($1) AND (recovered OR NOT settled) ORDER BY id DESC"
        };
        let mut known: HashMap<(String, String), Vec<(i64, bool)>> = HashMap::new();
        for (id, digest, queue, recovered) in
            self.all::<(i64, String, String, bool)>(sql, args![digests]).await?
        {
            known.entry((digest, queue)).or_default().push((id, recovered));
        }
        let mut again = BTreeMap::new();
        for (n, prepared) in batch.iter().enumerate() {
            let Some(digest) = prepared.digest.clone() else { continue };
            let Some(commits) = known.get_mut(&(digest, prepared.queue.clone())) else { continue };
            let same = commits.iter().rposition(|(_, recovered)| *recovered || prepared.redelivered);
            if let Some(at) = same {
                again.insert(n, commits.remove(at).0);
            }
        }
        self.forget(again.values().copied()).await?;
        Ok(again.into_keys().collect())
    }

    /// Forgets messages that were remembered under these numbers.
    pub(super) async fn forget(&mut self, ids: impl Iterator<Item = i64>) -> Result<(), DbError> {
        let ids: Vec<Option<i64>> = ids.map(Some).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let sql = if self.is_sqlite() {
            "DELETE FROM unsettled WHERE id IN (SELECT value FROM json_each($1))"
        } else {
            "DELETE FROM unsettled WHERE id = ANY($1)"
        };
        self.execute(sql, args![ids]).await.map(drop)
    }

    /// It is known that these were acknowledged; they are remembered for a while.
    pub(super) async fn settled(&mut self, ids: &[i64], until_us: i64) -> Result<(), DbError> {
        let ids: Vec<Option<i64>> = ids.iter().copied().map(Some).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let sql = if self.is_sqlite() {
            "UPDATE unsettled SET settled = $2, until_us = $3 WHERE id IN (SELECT value FROM json_each($1))"
        } else {
            "UPDATE unsettled SET settled = $2, until_us = $3 WHERE id = ANY($1)"
        };
        self.execute(sql, args![ids, true, until_us]).await.map(drop)
    }

    /// Remembers the messages of a batch until then, or until it is known that they were acknowledged; returns the numbers.
    pub(super) async fn remember(
        &mut self,
        session: i64,
        batch: &[Prepared],
        until_us: i64,
    ) -> Result<Vec<i64>, DbError> {
        let (queues, digests) = batch
            .iter()
            .filter_map(|prepared| Some((Some(prepared.queue.clone()), Some(prepared.digest.clone()?))))
            .unzip::<_, _, Vec<Option<String>>, Vec<Option<String>>>();
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let sql = if self.is_sqlite() {
            "INSERT INTO unsettled (session, queue, digest, until_us)
             SELECT $1, q.value, d.value, $4 FROM json_each($2) AS q JOIN json_each($3) AS d ON d.key = q.key
             WHERE true RETURNING id"
        } else {
            "INSERT INTO unsettled (session, queue, digest, until_us)
             SELECT $1, queue, digest, $4 FROM unnest($2::text[], $3::text[]) AS n (queue, digest) RETURNING id"
        };
        let rows: Vec<(i64,)> = self.all(sql, args![session, queues, digests, until_us]).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// The jobs that requests of these identities may become, by number. They stay as they are until the commit.
    pub(super) async fn same_jobs(&mut self, identities: Vec<Option<String>>) -> Result<Vec<Same>, DbError> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let sql = if self.is_sqlite() {
            "SELECT id, uuid, identity, context, requesters, state, lane FROM jobs
             WHERE identity IN (SELECT value FROM json_each($1)) AND state IN ('waiting', 'running')
                AND answer_code IS NULL AND cancel IS NULL ORDER BY id"
        } else {
            "SELECT id, uuid, identity, context, requesters, state, lane FROM jobs
             WHERE identity = ANY($1) AND state IN ('waiting', 'running') AND answer_code IS NULL AND cancel IS NULL
             ORDER BY id FOR NO KEY UPDATE"
        };
        self.all(sql, args![identities]).await
    }

    /// Those of these uuids that a job is known by.
    pub(super) async fn used_uuids(&mut self, wanted: Vec<Option<String>>) -> Result<HashSet<Uuid>, DbError> {
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let sql = if self.is_sqlite() {
            "SELECT uuid FROM jobs WHERE uuid IN (SELECT value FROM json_each($1))
             UNION SELECT uuid FROM job_uuids WHERE uuid IN (SELECT value FROM json_each($1))"
        } else {
            "SELECT uuid FROM jobs WHERE uuid = ANY($1) UNION SELECT uuid FROM job_uuids WHERE uuid = ANY($1)"
        };
        let rows: Vec<(String,)> = self.all(sql, args![wanted]).await?;
        Ok(rows.into_iter().filter_map(|(uuid,)| uuid.parse().ok()).collect())
    }

    /// Writes what was planned; the new jobs get their numbers, in order.
    pub(super) async fn write(&mut self, now: i64, plan: &mut Plan<'_>) -> Result<(), DbError> {
        let numbers = self.insert_jobs(now, plan).await?;
        for spot in plan.spots.iter_mut().filter(|spot| spot.new.is_some()) {
            spot.id = numbers.get(&spot.uuid.to_string()).copied();
        }
        self.update_joined(plan).await?;
        self.name_jobs(plan).await
    }

    async fn insert_jobs(&mut self, now: i64, plan: &Plan<'_>) -> Result<HashMap<String, i64>, DbError> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        if self.is_sqlite() {
            for (spot, new) in plan.fresh() {
                let (code, log) = answer(new);
                let job = args![
                    spot.uuid.to_string(),
                    &new.identity,
                    &spot.context,
                    new.pair.release.as_str(),
                    new.pair.arch.as_str(),
                    new.package.as_str(),
                    &new.body,
                    &new.run_hash,
                    new.private,
                    &spot.requesters,
                    code,
                    log,
                    spot.lane.clone(),
                    now,
                    &new.trigger,
                ];
                rows.extend(self.optional::<(i64, String)>(INSERT_JOB, job).await?);
            }
        } else if plan.fresh().next().is_some() {
            let fresh: Vec<_> = plan.fresh().collect();
            macro_rules! column {
                ($spot:ident, $new:ident => $text:expr) => {
                    fresh.iter().map(|($spot, $new)| Some($text.to_owned())).collect::<Vec<Option<String>>>()
                };
            }
            let jobs = args![
                column!(spot, _new => spot.uuid.to_string()),
                column!(_spot, new => new.identity),
                column!(spot, _new => spot.context),
                column!(_spot, new => new.pair.release.as_str()),
                column!(_spot, new => new.pair.arch.as_str()),
                column!(_spot, new => new.package.as_str()),
                column!(_spot, new => new.body),
                column!(_spot, new => new.run_hash),
                fresh.iter().map(|(_, new)| new.private).collect::<Vec<bool>>(),
                column!(spot, _new => spot.requesters),
                fresh.iter().map(|(_, new)| answer(new).0).collect::<Vec<Option<i64>>>(),
                fresh.iter().map(|(_, new)| answer(new).1).collect::<Vec<Option<String>>>(),
                fresh.iter().map(|(spot, _)| spot.lane.clone()).collect::<Vec<Option<String>>>(),
                now,
                column!(_spot, new => new.trigger),
            ];
            rows = self.all(INSERT_JOBS, jobs).await?;
        }
        Ok(rows.into_iter().map(|(id, uuid)| (uuid, id)).collect())
    }

    async fn update_joined(&mut self, plan: &Plan<'_>) -> Result<(), DbError> {
        if self.is_sqlite() {
            for spot in plan.joined() {
                self.execute(
                    "UPDATE jobs SET context = $2, requesters = $3, lane = $4 WHERE id = $1",
                    args![spot.id, &spot.context, &spot.requesters, spot.lane.clone()],
                )
                .await?;
            }
            return Ok(());
        }
        let ids: Vec<Option<i64>> = plan.joined().map(|spot| spot.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let contexts: Vec<Option<String>> = plan.joined().map(|spot| Some(spot.context.clone())).collect();
        let requesters: Vec<Option<String>> =
            plan.joined().map(|spot| Some(spot.requesters.clone())).collect();
        let lanes: Vec<Option<String>> = plan.joined().map(|spot| spot.lane.clone()).collect();
        self.execute(
            "UPDATE jobs SET context = n.context, requesters = n.requesters, lane = n.lane
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS n (id, context, requesters, lane)
             WHERE jobs.id = n.id",
            args![ids, contexts, requesters, lanes],
        )
        .await
        .map(drop)
    }

    async fn name_jobs(&mut self, plan: &Plan<'_>) -> Result<(), DbError> {
        if plan.aliases.is_empty() {
            return Ok(());
        }
        let uuids: Vec<Option<String>> =
            plan.aliases.iter().map(|(uuid, _)| Some(uuid.to_string())).collect();
        let jobs: Vec<Option<i64>> = plan.aliases.iter().map(|(_, at)| plan.spots[*at].id).collect();
        let sql = if self.is_sqlite() {
            "INSERT INTO job_uuids (uuid, job_id)
             SELECT u.value, j.value FROM json_each($1) AS u JOIN json_each($2) AS j ON j.key = u.key"
        } else {
            "INSERT INTO job_uuids (uuid, job_id) SELECT * FROM unnest($1::text[], $2::bigint[])"
        };
        self.execute(sql, args![uuids, jobs]).await.map(drop)
    }

    pub(super) async fn reject(
        &mut self,
        now: i64,
        queue: &str,
        rejection: &NewRejection,
    ) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO rejected (queue, body, kind, reason, received_us) VALUES ($1, $2, $3, $4, $5)",
            args![queue, rejection.body.as_slice(), rejection.kind, &rejection.reason, now],
        )
        .await
        .map(drop)
    }
}

/// Exit code and log of a job that is answered without a run.
fn answer(new: &super::NewJob) -> (Option<i64>, Option<String>) {
    new.answer.clone().map_or((None, None), |(code, log)| (Some(i64::from(code)), Some(log)))
}
