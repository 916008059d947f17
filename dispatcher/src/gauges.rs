//! What the leader shows of the whole: how much waits, runs and is to be announced. What it finds waiting it hands on, so
//! that nothing is forgotten that came by any other way.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proofhouse_core::{
    db::{DbError, Demand, JobState, LaneCount},
    names::{Context as QueueContext, Pair, RequestQueue},
    queue::Lane,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{Context, chain};

/// How often it looks, and how seldom where a look takes long.
const PERIOD: Duration = Duration::from_secs(5);
const LOOKS_APART: u32 = 20;
/// Looks that are asked for come no closer than this.
const AT_MOST: Duration = Duration::from_millis(500);

/// Measures until `over`; then a process that leads no more shows no depth of queues.
pub(crate) async fn run(
    context: Arc<Context>,
    lanes: mpsc::Sender<Vec<String>>,
    asked: Arc<Notify>,
    over: CancellationToken,
) {
    loop {
        let began = Instant::now();
        let Some(measured) = over.run_until_cancelled(measure(&context, &lanes)).await else { break };
        if let Err(error) = measured {
            tracing::debug!(error = %chain(&error), "the queues cannot be measured");
        }
        let pause = PERIOD.max(began.elapsed() * LOOKS_APART);
        let waited = async {
            tokio::time::sleep(AT_MOST).await;
            let _ = tokio::time::timeout(pause, asked.notified()).await;
        };
        if over.run_until_cancelled(waited).await.is_none() {
            break;
        }
    }
    let metrics = &context.settings.metrics.dispatcher;
    metrics.queue_size.reset();
    metrics.demand.reset();
    metrics.jobs.reset();
}

/// What waits, by queue.
#[derive(Default)]
struct Waiting {
    queues: BTreeMap<(QueueContext, Pair), i64>,
    all: i64,
}

impl Waiting {
    fn of(counts: &[LaneCount]) -> Self {
        let mut waiting = Self::default();
        for count in counts {
            waiting.all += count.waiting;
            let Some(Ok(lane)) = count.lane.as_deref().map(str::parse::<Lane>) else { continue };
            *waiting.queues.entry((lane.context, lane.pair)).or_default() += count.waiting;
        }
        waiting
    }
}

async fn measure(context: &Context, lanes: &mpsc::Sender<Vec<String>>) -> Result<(), DbError> {
    let metrics = &context.settings.metrics.dispatcher;
    let counts = context.database.lane_counts().await?;
    // First of all: no job may wait for a figure. A full channel means that the leader has yet to look at what was found.
    let _ = lanes.try_send(counts.iter().filter_map(|count| count.lane.clone()).collect());
    let waiting = Waiting::of(&counts);
    context.estimates.survey(&context.database, &context.settings.pools, &counts).await?;
    let demand = Demand::by_pool(&context.settings.pools, &counts, context.database.leased_by_pool().await?);
    for queue in context.settings.intake.served.iter().flat_map(RequestQueue::of) {
        let Pair { release, arch } = &queue.pair;
        let labels = [queue.context.as_str(), release.as_str(), arch.as_str()];
        let found = waiting.queues.get(&(queue.context, queue.pair.clone()));
        metrics.queue_size.with_label_values(&labels).set(found.copied().unwrap_or(0));
    }
    for pool in context.settings.pools.pools(&context.settings.intake.served) {
        let wanted = demand.get(pool.as_str()).map_or(0, |pool| pool.waiting + pool.leased);
        metrics.demand.with_label_values(&[pool.as_str()]).set(wanted);
    }
    for (state, number) in context.database.state_counts().await? {
        metrics.jobs.with_label_values(&[state.as_str()]).set(number);
    }
    metrics.outbox_length.set(context.database.outbox_length().await?.0);
    // Last of all: whoever waits for it sees a dispatcher that has looked at everything.
    metrics.jobs.with_label_values(&[JobState::Waiting.as_str()]).set(waiting.all);
    Ok(())
}
