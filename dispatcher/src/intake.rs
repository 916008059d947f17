//! From the clients' queues into the job table: commit, then acknowledge, in batches.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use proofhouse_core::{
    bus::{Barrier, BusError, Consumer, Delivery, Link, Source},
    db::{DbError, IntakeSession, Prepared, Taken},
    faults::{self, Planted, Step},
    intake::Incoming,
    names::RequestQueue,
    protocol::BOOT_EXCHANGE,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{Context, Error, arrivals::Arrivals, chain, leader::sort};

/// The most that is committed at once.
const BATCH: usize = 1000;
/// The most bytes that are committed at once, but for one message that is longer.
const BATCH_BYTES: usize = 8 << 20;
/// The most that is delivered and not acknowledged: a batch is acknowledged while one is committed, and the next prepared.
const PREFETCH: u16 = 4000;

/// What came together.
struct Batch {
    deliveries: Vec<Delivery>,
    prepared: Vec<Prepared>,
}

/// What is in the table, and by which numbers it is known there until the broker has heard it.
struct Committed {
    deliveries: Vec<Delivery>,
    unsettled: Vec<i64>,
}

/// Takes requests in until `over`. `arrivals` hears where new jobs stand.
pub(crate) async fn run(
    context: Arc<Context>,
    epoch: i64,
    arrivals: Arc<Arrivals>,
    over: CancellationToken,
) -> Result<(), Error> {
    let served = &context.settings.intake.served;
    let queues = served.iter().flat_map(RequestQueue::of).map(|queue| queue.to_string()).collect();
    let source = Source::Ranked { queues, rank: epoch };
    let mut consumer = context.bus.consume(source, PREFETCH).await.map_err(Error::Declare)?;
    let barrier = consumer.barrier();
    // One batch is prepared while one is committed and one is acknowledged; none overtakes another.
    let (prepared, to_commit) = mpsc::channel(1);
    let (committed, to_acknowledge) = mpsc::channel(1);
    tokio::try_join!(
        prepare_all(&context, &mut consumer, prepared, &over),
        commit_all(&context, epoch, &*barrier, to_commit, committed, &arrivals, &over),
        acknowledge_all(&context, &*barrier, to_acknowledge),
    )
    .map(drop)
}

async fn prepare_all(
    context: &Context,
    consumer: &mut Consumer,
    out: mpsc::Sender<Batch>,
    over: &CancellationToken,
) -> Result<(), Error> {
    loop {
        // As late as it can be, so that it is as large as it can be.
        let Some(Ok(place)) = over.run_until_cancelled(out.reserve()).await else { return Ok(()) };
        let Some(first) = over.run_until_cancelled(consumer.next()).await else { return Ok(()) };
        let first = first.ok_or(Error::BusClosed)?;
        if first.settle.is_stale() {
            continue;
        }
        let deliveries = gather(consumer, first);
        faults::reached(Step::Received);
        let prepared = deliveries.iter().map(|delivery| prepare(context, delivery)).collect();
        place.send(Batch { deliveries, prepared });
    }
}

/// What is there already, but for what came by a link that is gone: it comes again, and two copies would look like two requests.
fn gather(consumer: &mut Consumer, first: Delivery) -> Vec<Delivery> {
    let mut bytes = first.body.len();
    let mut batch = vec![first];
    while batch.len() < BATCH
        && bytes < BATCH_BYTES
        && let Some(next) = consumer.try_next()
    {
        if next.settle.is_stale() {
            continue;
        }
        bytes += next.body.len();
        batch.push(next);
    }
    batch
}

fn prepare(context: &Context, delivery: &Delivery) -> Prepared {
    let incoming = Incoming {
        queue: delivery.queue.clone(),
        body: delivery.body.clone(),
        redelivered: delivery.redelivered,
    };
    let settings = &context.settings;
    settings.intake.prepare(&incoming, |queue, request| Some(sort::lane_text(settings, queue, request)))
}

async fn commit_all(
    context: &Context,
    epoch: i64,
    barrier: &dyn Barrier,
    mut batches: mpsc::Receiver<Batch>,
    out: mpsc::Sender<Committed>,
    arrivals: &Arrivals,
    over: &CancellationToken,
) -> Result<(), Error> {
    let mut session = Session { epoch, link: context.bus.link(), known: None, unmarked: false };
    while let Some(Some(batch)) = over.run_until_cancelled(batches.recv()).await {
        let Some(number) = session.present(context, over).await? else { break };
        if faults::is_planted(Planted::AcknowledgesFirst) {
            let _ = barrier.ack(&batch.deliveries).await;
            faults::reached(Step::Acknowledged);
        }
        let Some(unsettled) = commit(context, number, &batch.prepared, arrivals, over).await? else { break };
        faults::reached(Step::Committed);
        if out.send(Committed { deliveries: batch.deliveries, unsettled }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The consuming by one link. Whatever is not settled comes again by a new one, where an earlier session's commits are still
/// known.
struct Session {
    epoch: i64,
    link: watch::Receiver<Link>,
    known: Option<(u64, IntakeSession)>,
    /// This user may not leave a mark with the broker: nobody can tell whether that started anew.
    unmarked: bool,
}

impl Session {
    async fn present(
        &mut self,
        context: &Context,
        over: &CancellationToken,
    ) -> Result<Option<IntakeSession>, Error> {
        let generation = self.link.borrow().generation;
        if let Some((known, session)) = self.known
            && known == generation
        {
            return Ok(Some(session));
        }
        let restarted = !self.unmarked && has_restarted(context, over).await;
        let begin = |_| context.database.begin_intake_session(self.epoch, restarted);
        let session = until_done(over, begin).await?;
        if restarted && session.is_some() {
            // Not before it is committed.
            self.unmarked = leave_mark(context, over).await;
        }
        self.known = session.map(|session| (generation, session));
        Ok(session)
    }
}

/// Whether the broker started anew since somebody left a mark with it.
async fn has_restarted(context: &Context, over: &CancellationToken) -> bool {
    let restarted = over.run_until_cancelled(context.bus.has_restarted()).await;
    restarted.unwrap_or(Ok(false)).unwrap_or_else(|error| {
        tracing::warn!(error = %error, "it is not known whether the broker started anew: what it forgot may be run again");
        false
    })
}

/// True where that is not allowed.
async fn leave_mark(context: &Context, over: &CancellationToken) -> bool {
    match over.run_until_cancelled(context.bus.greet()).await {
        Some(Err(error @ BusError::Refused { .. })) => {
            tracing::warn!(error = %error, "this user may not make the exchange {BOOT_EXCHANGE}, which tells whether the broker started anew: requests that it gives out again may be run again");
            true
        }
        Some(Err(error)) => {
            // The next link asks again.
            tracing::warn!(error = %error, "the broker does not take the mark of its start");
            false
        }
        _ => {
            tracing::info!("the broker started anew: requests that it gives out again are recognised");
            false
        }
    }
}

async fn commit(
    context: &Context,
    session: IntakeSession,
    prepared: &[Prepared],
    arrivals: &Arrivals,
    over: &CancellationToken,
) -> Result<Option<Vec<i64>>, Error> {
    let _timer = context.settings.metrics.dispatcher.intake_batch_seconds.start_timer();
    // A commit whose answer was lost may have happened: what it took is not taken again.
    let again = LazyLock::new(|| {
        prepared.iter().cloned().map(|p| Prepared { redelivered: true, ..p }).collect::<Vec<_>>()
    });
    let take = |tries| {
        let batch = if tries == 0 { prepared } else { &*again };
        context.settings.intake.take(&context.database, Some(session), batch)
    };
    let Some((taken, unsettled)) = until_done(over, take).await? else { return Ok(None) };
    for (prepared, taken) in prepared.iter().zip(&taken) {
        count(context, prepared, taken);
        report(prepared, taken);
    }
    sum_up(&taken);
    let joined = taken.iter().filter_map(|taken| match taken {
        Taken::Merged { lane, .. } => lane.as_deref(),
        _ => None,
    });
    arrivals.add(prepared.iter().filter_map(Prepared::lane), joined);
    Ok(Some(unsettled))
}

fn count(context: &Context, prepared: &Prepared, taken: &Taken) {
    let metrics = &context.settings.metrics.dispatcher;
    match (&prepared.what, taken) {
        (Ok(job), Taken::New { .. }) => {
            metrics.requests_taken.with_label_values(&[job.context.as_str()]).inc();
        }
        (Ok(job), Taken::Merged { .. }) => {
            metrics.requests_merged.with_label_values(&[job.context.as_str()]).inc();
        }
        (Err(rejection), Taken::Rejected) => {
            metrics.requests_rejected.with_label_values(&[rejection.kind]).inc();
        }
        _ => {}
    }
}

/// One line for each batch. What is in it may be nobody's business.
fn sum_up(taken: &[Taken]) {
    let count = |which: fn(&Taken) -> bool| taken.iter().filter(|taken| which(taken)).count();
    let new = count(|taken| matches!(taken, Taken::New { .. }));
    let joined = count(|taken| matches!(taken, Taken::Merged { .. }));
    tracing::info!(
        batch.new = new,
        batch.joined = joined,
        "requests taken: {new} new, {joined} joined others"
    );
}

/// One line for each message. Nothing is said of a private one, nor of what could not be read.
fn report(prepared: &Prepared, taken: &Taken) {
    match (&prepared.what, taken) {
        (Ok(job), Taken::New { uuid, job: id }) if !job.private => {
            tracing::debug!(job.id = id, job.uuid = %uuid, queue = prepared.queue, "request taken: job {id}, {}", job.package);
        }
        (Ok(job), Taken::Merged { uuid, job: id, .. }) if !job.private => {
            tracing::debug!(job.id = id, job.uuid = %uuid, queue = prepared.queue, "request joins job {id}, {}", job.package);
        }
        (Err(rejection), Taken::Rejected) => {
            tracing::warn!(
                queue = prepared.queue,
                reason = rejection.kind,
                "request rejected ({})",
                rejection.kind
            );
        }
        (_, Taken::Again) => {
            tracing::info!(queue = prepared.queue, "request was taken before; acknowledged again");
        }
        _ => tracing::debug!(queue = prepared.queue, "private request taken"),
    }
}

/// Acknowledges, and forgets each batch once the broker is known to have heard it.
async fn acknowledge_all(
    context: &Context,
    barrier: &dyn Barrier,
    mut batches: mpsc::Receiver<Committed>,
) -> Result<(), Error> {
    while let Some(Committed { deliveries, unsettled }) = batches.recv().await {
        let acknowledged = barrier.ack(&deliveries).await;
        faults::reached(Step::Acknowledged);
        if let Err(error) = acknowledged {
            tracing::warn!(error = %error, "acknowledgements are lost; those messages will come again and have no effect");
        } else if let Err(error) = barrier.settled().await {
            tracing::warn!(error = %error, "it is not known whether the last acknowledgements arrived");
        } else if let Err(error) = context.database.settle(&unsettled).await {
            tracing::warn!(error = %chain(&error), "acknowledged messages could not be forgotten");
        }
    }
    Ok(())
}

/// Repeats until the database answers; none when leadership is over meanwhile. `work` hears how often it was tried.
async fn until_done<T, F>(over: &CancellationToken, work: impl Fn(u32) -> F) -> Result<Option<T>, Error>
where
    F: Future<Output = Result<T, DbError>>,
{
    let mut pause = Duration::from_millis(200);
    let mut tries = 0;
    loop {
        // A database that does not answer must not hold up the end of a leadership either.
        match over.run_until_cancelled(work(tries)).await {
            Some(Ok(value)) => return Ok(Some(value)),
            Some(Err(error)) if error.may_retry() => {
                tracing::warn!(error = %chain(&error), "requests cannot be committed; trying again");
            }
            Some(Err(error)) => return Err(Error::Database(error)),
            None => return Ok(None),
        }
        tries += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(15)),
            () = over.cancelled() => return Ok(None),
        }
    }
}
