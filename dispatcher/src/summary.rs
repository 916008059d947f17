//! Summaries of the past, as far as the leader makes them: results as they come, and every minute how much waits and runs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proofhouse_core::db::{Count, DbError, HOUR_US, HourKey, hour_of};
use tokio_util::sync::CancellationToken;

use crate::{Context, chain};

/// How often new results are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often what waits and runs is counted.
const SAMPLE: Duration = Duration::from_secs(60);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// How many results are summed up at once: so few that the leadership's row is never locked for long.
const BATCH: i64 = 1000;

/// Sums up until `over`.
pub(crate) async fn run(context: Arc<Context>, epoch: i64, over: CancellationToken) {
    let mut sampled: Option<Instant> = None;
    let work = async {
        loop {
            let round = async {
                sum_up(&context, epoch).await?;
                if sampled.is_none_or(|at| at.elapsed() >= SAMPLE) {
                    sample(&context, epoch).await?;
                    sampled = Some(Instant::now());
                }
                Ok::<(), DbError>(())
            };
            let pause = match round.await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "summaries wait; trying again");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    over.run_until_cancelled(work).await;
}

/// Everything that is stored by now.
async fn sum_up(context: &Context, epoch: i64) -> Result<(), DbError> {
    let database = &context.database;
    loop {
        let given = database.next_edition(epoch, BATCH).await?;
        let summed = database.sum_up(epoch, BATCH).await?;
        if given == 0 && summed == 0 {
            return Ok(());
        }
    }
}

/// How much waits and runs, and how many slots are in use.
async fn sample(context: &Context, epoch: i64) -> Result<(), DbError> {
    let database = &context.database;
    let now = database.now_us().await?;
    let mut counts: BTreeMap<HourKey, Count> = BTreeMap::new();
    let mut add = |what, release: &str, arch: &str, name: &str, value| {
        let (release, arch, name) = (release.to_owned(), arch.to_owned(), name.to_owned());
        counts.insert(HourKey { what, hour: hour_of(now), release, arch, name }, Count::of(value));
    };
    // What is not there was not counted: the average is over these.
    add("samples", "", "", "", 0);
    for queue in database.queue_counts().await? {
        add("waiting", &queue.release, &queue.arch, &queue.context, queue.waiting);
        add("running", &queue.release, &queue.arch, &queue.context, queue.running);
    }
    let mut slots: BTreeMap<String, i64> = BTreeMap::new();
    for worker in database.workers().await?.iter().filter(|worker| !worker.is_away(now)) {
        // Slots that serve several pools are shared by them.
        for pool in worker.pools.split_whitespace() {
            *slots.entry(pool.to_owned()).or_default() += worker.slots;
        }
    }
    for (pool, slots) in &slots {
        add("slots", "", "", pool, *slots);
    }
    for (pool, busy) in database.leased_by_pool().await? {
        add("busy", "", "", &pool, busy);
    }
    database.count_hours(epoch, &counts).await?;
    // The hour before too: an attempt may have ended at its very end.
    database.count_faults(epoch, hour_of(now) - HOUR_US).await
}
