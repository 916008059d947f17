//! The outbox: `result.tar`, then `testcomplete`; and the sweeping of what given-up publications left.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proofhouse_core::{
    bus::{BusError, Message, Target},
    db::{DbError, OutboxKind, OutboxRow},
    faults::{self, Step},
    layout::{Container, file},
    names::BadName,
    protocol::COMPLETE_EXCHANGE,
    store::{Access, Body, ContentHeaders, StoreError, delete_prefix},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{Context, chain};

/// How many entries are worked on at once.
const AT_ONCE: usize = 16;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many failures the pause is the longest.
const LONGEST_AFTER: i64 = 6;
/// So often a store that refuses is asked before a result is given up, over some minutes: perhaps an operator is at work
/// on its access rules.
const REFUSALS: i64 = 10;

#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error("the entry cannot be read")]
    Name(#[from] BadName),
    #[error("the store did not take it")]
    Store(#[from] StoreError),
    #[error("the job table did not take it")]
    Database(#[from] DbError),
    #[error("the completion message was not sent")]
    Bus(#[from] BusError),
}

impl OutboxError {
    /// False where the store, or the entry itself, will say the same the next time.
    fn may_retry(&self) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Store(error) => error.may_retry(),
            Self::Database(_) | Self::Bus(_) => true,
        }
    }
}

/// Works the outbox off until `over`. `stored` hears of each job whose result is in the store.
pub(crate) async fn run(
    context: Arc<Context>,
    wake: Arc<Notify>,
    stored: mpsc::Sender<i64>,
    over: CancellationToken,
) {
    let mut at_work = JoinSet::new();
    let mut ids = BTreeSet::new();
    let mut away = false;
    loop {
        match context.database.outbox_due(4 * i64::try_from(AT_ONCE).unwrap_or(i64::MAX)).await {
            Ok(due) => {
                away = false;
                for entry in due {
                    if at_work.len() < AT_ONCE && ids.insert(entry.id) {
                        at_work.spawn(work_off(context.clone(), entry, stored.clone()));
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(error = %chain(&error), "the outbox cannot be read; trying again");
                }
            }
        }
        tokio::select! {
            Some(done) = at_work.join_next() => {
                match done {
                    Ok(id) => { ids.remove(&id); }
                    // Whose it was is not known. Every entry can be done twice, but none may be left for ever.
                    Err(_) => ids.clear(),
                }
            }
            () = wake.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = over.cancelled() => return,
        }
    }
}

async fn work_off(context: Arc<Context>, entry: OutboxRow, stored: mpsc::Sender<i64>) -> i64 {
    let outcome = match entry.kind() {
        OutboxKind::Publish => publish(&context, &entry, &stored).await,
        OutboxKind::Sweep => sweep(&context, &entry).await,
    };
    let done = match outcome {
        Ok(()) => context.database.outbox_done(&entry).await.map(drop),
        Err(error) if !error.may_retry() && entry.tries >= REFUSALS => {
            give_up(&context, &entry, &chain(&error)).await
        }
        Err(error) => {
            let doublings = u32::try_from(entry.tries.min(LONGEST_AFTER)).unwrap_or(0);
            let pause = Duration::from_secs(1 << doublings).min(LONGEST_PAUSE);
            let text = chain(&error);
            tracing::warn!(job.id = entry.job_id, error = %text, "publication of job {} failed; trying again in {} s", entry.job_id, pause.as_secs());
            let pause_us = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
            // An outage is no refusal, however long: only the pauses grow with it.
            let most = if error.may_retry() { LONGEST_AFTER } else { i64::MAX };
            let tries = (entry.tries + 1).min(most);
            context.database.outbox_failed(&entry, tries, &text, pause_us).await
        }
    };
    if let Err(error) = done {
        tracing::warn!(error = %chain(&error), "an entry of the outbox will be done once more");
    }
    entry.id
}

/// What is refused for good must not keep its series closed for ever.
async fn give_up(context: &Context, entry: &OutboxRow, error: &str) -> Result<(), DbError> {
    let (job, database) = (entry.job_id, &context.database);
    match entry.kind() {
        OutboxKind::Publish if database.outbox_refused(entry, error).await? => {
            let then =
                if entry.is_answer() { ", and not answered until an operator has it retried" } else { "" };
            tracing::error!(
                job.id = job,
                error,
                "the store refuses the result of job {job}: it is parked{then}"
            );
            Ok(())
        }
        // It is in the store: what is left is to say so.
        OutboxKind::Publish => {
            let pause_us = i64::try_from(LONGEST_PAUSE.as_micros()).unwrap_or(i64::MAX);
            database.outbox_failed(entry, entry.tries + 1, error, pause_us).await
        }
        OutboxKind::Sweep => {
            tracing::warn!(
                job.id = job,
                error,
                "what job {job} left in the store cannot be deleted: it stays"
            );
            database.outbox_done(entry).await.map(drop)
        }
    }
}

async fn publish(
    context: &Context,
    entry: &OutboxRow,
    stored: &mpsc::Sender<i64>,
) -> Result<(), OutboxError> {
    let container: Container = entry.container.parse()?;
    let access = match &entry.reader {
        Some(reader) => Access::Reader(reader.parse()?),
        None => Access::Public,
    };
    context.store.ensure_container(&container, &access).await?;
    // result.tar last: it is the commit mark.
    let readers = readers(context, entry).await?;
    let files =
        [(file::LOG, &entry.log_gz), (file::READABLE_BY, &readers), (file::RESULT, &entry.result_tar)];
    for (name, content) in files {
        if let Some(bytes) = content {
            let object = format!("{}/{name}", entry.folder);
            let body = Body::Bytes(bytes.clone().into());
            context.store.put(&container, &object, &body, &ContentHeaders::of(name)).await?;
        }
    }
    faults::reached(Step::ResultWritten);
    if !context.database.result_stored(entry).await? {
        let job = entry.job_id;
        tracing::warn!(
            job.id = job,
            "the result of job {job} was taken over by another leader: nothing is announced"
        );
        return Ok(());
    }
    // The receiver is gone only when leadership is over; the next leader reads the table.
    let _ = stored.send(entry.job_id).await;
    if let Some(message) = &entry.message {
        let target = Target::Fanout(COMPLETE_EXCHANGE.to_owned());
        context.bus.publish(&target, Message::persistent(message.clone())).await?;
        faults::reached(Step::Announced);
    }
    Ok(())
}

/// Who may read a private result, where no worker has said it in the store.
async fn readers(context: &Context, entry: &OutboxRow) -> Result<Option<Vec<u8>>, OutboxError> {
    if entry.log_gz.is_none() || entry.reader.is_none() {
        return Ok(None);
    }
    let job = context.database.job(entry.job_id).await?;
    let named = job.and_then(|job| job.request().ok()).map(|request| request.readable_by).unwrap_or_default();
    let lines = named.iter().fold(String::new(), |lines, name| lines + name.as_ref() + "\n");
    Ok((!lines.is_empty()).then(|| lines.into_bytes()))
}

async fn sweep(context: &Context, entry: &OutboxRow) -> Result<(), OutboxError> {
    let container: Container = entry.container.parse()?;
    Ok(delete_prefix(context.store.as_ref(), &container, &format!("{}/", entry.folder)).await?)
}
