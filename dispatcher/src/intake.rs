//! From the clients' queues into the job table: commit, then acknowledge, in batches.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use proofhouse_core::{
    bus::{Consumer, Delivery, Source},
    db::{DbError, IntakeSession, Prepared, Taken},
    intake::Incoming,
    names::RequestQueue,
};
use tokio_util::sync::CancellationToken;

use crate::{Context, Error, arrivals::Arrivals, chain, leader::sort};

/// The most that is committed at once.
const BATCH: usize = 200;
/// The most that is delivered and not acknowledged.
const PREFETCH: u16 = 1000;

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
    let link = context.bus.link();
    let mut session = None;
    loop {
        let first = tokio::select! {
            next = consumer.next() => next.ok_or(Error::BusClosed)?,
            () = over.cancelled() => return Ok(()),
        };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(next) = consumer.try_next()
        {
            batch.push(next);
        }
        // Whatever is not settled comes again by a new link, where an earlier session's commits are still known.
        let generation = link.borrow().generation;
        let number = match session {
            Some((known, number)) if known == generation => number,
            _ => match until_done(&over, |_| context.database.begin_intake_session(epoch)).await? {
                Some(number) => number,
                None => return Ok(()),
            },
        };
        session = Some((generation, number));
        let Some(unsettled) = commit(&context, number, &batch, &arrivals, &over).await? else {
            return Ok(());
        };
        acknowledge(&context, &consumer, batch, &unsettled).await;
    }
}

async fn commit(
    context: &Context,
    session: IntakeSession,
    batch: &[Delivery],
    arrivals: &Arrivals,
    over: &CancellationToken,
) -> Result<Option<Vec<i64>>, Error> {
    let _timer = context.settings.metrics.dispatcher.intake_batch_seconds.start_timer();
    let prepared: Vec<Prepared> = batch.iter().map(|delivery| prepare(context, delivery)).collect();
    // A commit whose answer was lost may have happened: what it took is not taken again.
    let again = LazyLock::new(|| {
        prepared.iter().cloned().map(|p| Prepared { redelivered: true, ..p }).collect::<Vec<_>>()
    });
    let take = |tries| {
        let batch = if tries == 0 { &prepared } else { &*again };
        context.settings.intake.take(&context.database, Some(session), batch)
    };
    let Some((taken, unsettled)) = until_done(over, take).await? else { return Ok(None) };
    for (prepared, taken) in prepared.iter().zip(&taken) {
        count(context, prepared, taken);
        report(prepared, taken);
    }
    arrivals.add(prepared.iter().filter_map(Prepared::lane));
    Ok(Some(unsettled))
}

fn prepare(context: &Context, delivery: &Delivery) -> Prepared {
    let incoming = Incoming {
        queue: delivery.queue.clone(),
        body: delivery.body.clone(),
        redelivered: delivery.redelivered,
    };
    context
        .settings
        .intake
        .prepare(&incoming, |queue, request| Some(sort::lane_text(&context.settings, queue, request)))
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

/// One line for each message. Nothing is said of a private one, nor of what could not be read.
fn report(prepared: &Prepared, taken: &Taken) {
    match (&prepared.what, taken) {
        (Ok(job), Taken::New { uuid, job: id }) if !job.private => {
            tracing::info!(job.id = id, job.uuid = %uuid, queue = prepared.queue, "request taken: job {id}, {}", job.package);
        }
        (Ok(job), Taken::Merged { uuid, job: id }) if !job.private => {
            tracing::info!(job.id = id, job.uuid = %uuid, queue = prepared.queue, "request joins job {id}, {}", job.package);
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
        _ => tracing::info!(queue = prepared.queue, "private request taken"),
    }
}

/// Acknowledges, and forgets the batch once the broker is known to have heard it.
async fn acknowledge(context: &Context, consumer: &Consumer, batch: Vec<Delivery>, unsettled: &[i64]) {
    for delivery in batch {
        if let Err(error) = delivery.settle.ack().await {
            tracing::warn!(error = %error, "an acknowledgement is lost; the message will come again and have no effect");
            return;
        }
    }
    if let Err(error) = consumer.settled().await {
        tracing::warn!(error = %error, "it is not known whether the last acknowledgements arrived");
    } else if let Err(error) = context.database.settle(unsettled).await {
        tracing::warn!(error = %chain(&error), "acknowledged messages could not be forgotten");
    }
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
