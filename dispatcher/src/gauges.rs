//! What the leader shows of the whole: how much waits, runs and is to be announced.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proofhouse_core::{db::DbError, names::RequestQueue};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{Context, chain};

const PERIOD: Duration = Duration::from_secs(5);

/// Measures until `over`; then a process that leads no more shows no depth of queues.
pub(crate) async fn run(context: Arc<Context>, over: CancellationToken) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while over.run_until_cancelled(tick.tick()).await.is_some() {
        let Some(measured) = over.run_until_cancelled(measure(&context)).await else { break };
        if let Err(error) = measured {
            tracing::debug!(error = %chain(&error), "the queues cannot be measured");
        }
    }
    let metrics = &context.settings.metrics.dispatcher;
    metrics.queue_size.reset();
    metrics.demand.reset();
    metrics.jobs.reset();
}

async fn measure(context: &Context) -> Result<(), DbError> {
    let metrics = &context.settings.metrics.dispatcher;
    let counts = context.database.queue_counts().await?;
    let mut demand: BTreeMap<&str, i64> = BTreeMap::new();
    for queue in context.settings.intake.served.iter().flat_map(RequestQueue::of) {
        let (release, arch) = (queue.pair.release.as_str(), queue.pair.arch.as_str());
        let found = counts
            .iter()
            .find(|c| c.context == queue.context.as_str() && c.release == release && c.arch == arch);
        metrics
            .queue_size
            .with_label_values(&[queue.context.as_str(), release, arch])
            .set(found.map_or(0, |c| c.waiting));
    }
    for pair in &context.settings.intake.served {
        demand.entry(pair.arch.as_str()).or_default();
    }
    for count in &counts {
        *demand.entry(&count.arch).or_default() += count.waiting + count.running;
    }
    for (pool, wanted) in demand {
        metrics.demand.with_label_values(&[pool]).set(wanted);
    }
    for (state, number) in context.database.state_counts().await? {
        metrics.jobs.with_label_values(&[state.as_str()]).set(number);
    }
    metrics.outbox_length.set(context.database.outbox_length().await?.0);
    Ok(())
}
