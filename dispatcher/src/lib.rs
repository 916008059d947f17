//! The dispatcher: takes requests in, decides late what runs next, gives leases, decides what counts as a result, publishes.
//!
//! Several may run; one leads (the row in [`proofhouse_core::db`]). Only the leader consumes, schedules and publishes.

mod answer;
mod arrivals;
mod estimates;
mod foreign;
mod gauges;
mod intake;
mod leader;
mod outbox;
mod outgoing;
pub mod published;
pub mod schedule;
mod summary;
pub mod untrusted;

use std::{sync::Arc, time::Duration};

pub(crate) use proofhouse_core::telemetry::chain;
use proofhouse_core::{
    bus::{Bus, BusError, Declaration},
    db::{Database, DbError, LEADERSHIP_SECONDS},
    faults::{self, Planted},
    intake::Intake,
    lists::Lists,
    names::{Pair, RequestQueue},
    protocol::{
        ASKS, COMPLETE_EXCHANGE, COMPLETIONS, LEADER_EXCHANGE, RENEWALS, STATUS_EXCHANGE, pool_queue,
    },
    queue::PoolRules,
    store::Store,
    telemetry::metrics::Metrics,
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{estimates::Estimates, schedule::Rules};

/// How long the job table may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a dispatcher needs.
pub struct Settings {
    /// Who this is, for the leadership row: host and process.
    pub holder: String,
    /// No other dispatcher can be alive on this job table: a leadership that has not ended was left by one that was killed.
    pub sole: bool,
    /// The pairs that are served, and how requests become jobs.
    pub intake: Intake,
    /// Pairs that are configured but switched off: their requests are answered with exit code 99.
    pub switched_off: std::collections::BTreeSet<Pair>,
    /// The rules of the life of a job.
    pub rules: Rules,
    /// After so long a parked job is answered with exit code 16, but for baselines; none: never.
    pub parked_answer: Option<Duration>,
    /// Which pools may run what.
    pub pools: Arc<PoolRules>,
    /// The lists, as they are now.
    pub lists: watch::Receiver<Arc<Lists>>,
    /// The published database.
    pub published: published::Settings,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What every part of a dispatcher works with.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) database: Database,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Arc<dyn Store>,
    /// What was said of when jobs start.
    pub(crate) estimates: Estimates,
}

/// Why a dispatcher ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker refuses what must exist.
    #[error("the queues and exchanges could not be declared")]
    Declare(#[source] BusError),
    /// The job table fails in a way that trying again does not mend.
    #[error("the job table cannot be used")]
    Database(#[source] DbError),
    /// The bus was closed.
    #[error("the bus is closed")]
    BusClosed,
}

/// Everything that must exist at the broker: the clients' queues of every pair, ours, and the exchanges.
pub fn topology(pairs: &std::collections::BTreeSet<Pair>, rules: &PoolRules) -> Vec<Declaration> {
    let mut all: Vec<Declaration> =
        pairs.iter().flat_map(RequestQueue::of).map(Declaration::Request).collect();
    all.extend(rules.pools(pairs).iter().map(|pool| Declaration::Queue(pool_queue(pool))));
    all.extend([ASKS, RENEWALS].map(|name| Declaration::Queue(name.to_owned())));
    let fanout = |name: &str, durable| Declaration::Fanout { name: name.to_owned(), durable };
    all.extend([
        fanout(STATUS_EXCHANGE, false),
        fanout(COMPLETE_EXCHANGE, true),
        fanout(LEADER_EXCHANGE, true),
        Declaration::Bound { queue: COMPLETIONS.to_owned(), exchange: COMPLETE_EXCHANGE.to_owned() },
    ]);
    all
}

/// Runs until `stop` is cancelled. `ready` is called once everything is declared.
pub async fn run(
    settings: Settings,
    database: Database,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    ready: impl FnOnce() + Send,
) -> Result<(), Error> {
    let context = Arc::new(Context { settings, database, bus, store, estimates: Estimates::default() });
    let declarations = topology(&context.settings.intake.served, &context.settings.pools);
    tokio::select! {
        declared = context.bus.declare(&declarations) => declared.map_err(Error::Declare)?,
        () = stop.cancelled() => return Ok(()),
    }
    ready();
    let mut pause = tokio::time::interval(Duration::from_secs(1));
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        tokio::select! {
            _ = pause.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        let asked = context.database.take_leadership(&context.settings.holder, context.settings.sole);
        // A database that does not answer at all is away too: the next try takes another connection.
        let asked = tokio::time::timeout(PATIENCE, asked);
        let taken = tokio::select! {
            taken = asked => taken.unwrap_or_else(|_| Err(context.database.silent())),
            () = stop.cancelled() => return Ok(()),
        };
        match taken {
            Ok(Some(epoch)) => {
                away = false;
                lead(&context, epoch, &stop).await?;
            }
            Ok(None) => away = false,
            Err(error) if error.may_retry() => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(error = %chain(&error), "the job table is away; trying again");
                }
            }
            Err(error) => return Err(Error::Database(error)),
        }
    }
}

/// Leads until leadership is lost or the process is told to stop.
async fn lead(context: &Arc<Context>, epoch: i64, stop: &CancellationToken) -> Result<(), Error> {
    tracing::info!(leader.epoch = epoch, "leading (epoch {epoch})");
    context.settings.metrics.dispatcher.leader.set(1);
    let over = stop.child_token();
    let keeper = tokio::spawn(keep_leadership(context.clone(), epoch, over.clone()));
    let outcome = ending(&over, Box::pin(leader::run(context, epoch, over.clone()))).await;
    // The keeper only waits and renews; it ends at once.
    let _ = keeper.await;
    let dropping = context.database.drop_leadership(&context.settings.holder, epoch);
    let lasts = Duration::from_secs(LEADERSHIP_SECONDS.unsigned_abs());
    if stop.is_cancelled()
        && let Err(error) =
            tokio::time::timeout(lasts, dropping).await.unwrap_or_else(|_| Err(context.database.silent()))
    {
        tracing::warn!(error = %chain(&error), "leadership could not be laid down; it ends by itself");
    }
    context.settings.metrics.dispatcher.leader.set(0);
    context.settings.metrics.dispatcher.hosts_aside.set(0);
    tracing::info!(leader.epoch = epoch, "no longer leading (epoch {epoch})");
    match outcome {
        Err(Error::Database(DbError::LeadershipLost(_))) => Ok(()),
        outcome => outcome,
    }
}

/// Does `part`; `over` is given when it ends, in whatever way: nothing may go on without it.
fn ending<F: Future>(over: &CancellationToken, part: F) -> impl Future<Output = F::Output> + use<F> {
    let guard = over.clone().drop_guard();
    async move {
        let outcome = part.await;
        drop(guard);
        outcome
    }
}

/// Renews leadership; ends it when another holds it, or when it could not be renewed until its end.
async fn keep_leadership(context: Arc<Context>, epoch: i64, over: CancellationToken) {
    if faults::is_planted(Planted::NoFencing) {
        return over.cancelled().await;
    }
    let lasts = Duration::from_secs(LEADERSHIP_SECONDS.unsigned_abs());
    let mut renewed = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(lasts / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = over.cancelled() => return,
        }
        let asked = tokio::time::Instant::now();
        let renewal = context.database.renew_leadership(&context.settings.holder, epoch);
        match tokio::time::timeout_at(renewed + lasts, renewal).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) => {
                tracing::warn!(leader.epoch = epoch, "another dispatcher leads");
                return over.cancel();
            }
            Ok(Err(error)) if renewed + lasts > tokio::time::Instant::now() => {
                tracing::warn!(error = %chain(&error), "leadership could not be renewed; trying again");
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(leader.epoch = epoch, "leadership could not be renewed in time");
                return over.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_that_panics_leaves_nothing_running() {
        let over = CancellationToken::new();
        let beside = tokio::spawn(over.clone().cancelled_owned());
        let leading = tokio::spawn(ending(&over, async { panic!("a fault in the leader") }));
        assert!(leading.await.is_err_and(|error| error.is_panic()));
        beside.await.unwrap();
        // Before it was looked at for the first time, too.
        let over = CancellationToken::new();
        drop(ending(&over, async {}));
        assert!(over.is_cancelled());
    }
}
