//! Results of other systems on the same store: their completion messages say where to look, and the store says the rest.
//!
//! Facts: contract "Results", heading "Completion message". Anyone may send there, so nothing of a message is believed but
//! the place.

use std::sync::Arc;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use proofhouse_core::{
    backoff,
    bus::{Delivery, Source},
    db::DbError,
    index::{self, FoundRun, ReadError, StoredResult},
    layout::Container,
    protocol::COMPLETIONS,
};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Context, Error, chain};

/// The most that is worked on at once.
const AT_ONCE: u16 = 32;
/// Further looks at a run that is not in the store: its listing may lag behind. Seven seconds.
const LOOKS: usize = 3;
/// So often a store that is there is asked for a run that it does not give out. About a minute and a half.
const TRIES: usize = 8;

/// Where a run lies. What else a message says is in the store too.
#[derive(Deserialize)]
struct Completion {
    container: Container,
    swift_dir: String,
}

/// Why a message is dropped.
#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error(transparent)]
    Run(#[from] ReadError),
    #[error("the job table refuses it")]
    Database(#[from] DbError),
}

/// Indexes what others complete, until `over`.
pub(crate) async fn run(context: Arc<Context>, over: CancellationToken) -> Result<(), Error> {
    let source = Source::Queues(vec![COMPLETIONS.to_owned()]);
    let Some(consumer) = over.run_until_cancelled(context.bus.consume(source, AT_ONCE)).await else {
        return Ok(());
    };
    let mut consumer = consumer.map_err(Error::Declare)?;
    let mut at_work = JoinSet::new();
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                at_work.spawn(work_off(context.clone(), delivery.ok_or(Error::BusClosed)?));
            }
            Some(_) = at_work.join_next() => {}
            // What is not acknowledged comes again.
            () = over.cancelled() => return Ok(()),
        }
    }
}

/// Acknowledges a message once it is dealt with: its run is in the index, or it is worth nothing.
async fn work_off(context: Arc<Context>, delivery: Delivery) {
    match place(&delivery.body) {
        Some(run) => {
            if let Err(reason) = take(&context, &run).await {
                let shown = shown(&run);
                // What is said of a damaged file may quote it.
                let reason = if run.shown().is_some() { chain(&reason) } else { "(private)".to_owned() };
                tracing::warn!(error = %reason, "the completion of {shown} by another system is dropped");
            }
        }
        // Not a word of it: it may be about a private run.
        None => {
            tracing::warn!(
                message.bytes = delivery.body.len(),
                "a completion message that names no run is dropped"
            );
        }
    }
    if let Err(error) = delivery.settle.ack().await {
        tracing::debug!(error = %error, "a completion message will come again, and have no effect");
    }
}

async fn take(context: &Context, run: &FoundRun) -> Result<(), Dropped> {
    let seen = std::slice::from_ref(run);
    // Most are our own: their results were there before the message.
    if patiently(|| context.database.unknown_runs(seen)).await?.is_empty() {
        return Ok(());
    }
    let result = read(context, run).await?;
    let new = patiently(|| context.database.index(seen, std::slice::from_ref(&result), None)).await?;
    if new == 1 {
        tracing::info!("{}, which another system completed, is indexed", shown(run));
    }
    Ok(())
}

fn shown(run: &FoundRun) -> String {
    run.shown().unwrap_or_else(|| "a private run".to_owned())
}

/// The run that a message names.
pub(crate) fn place(body: &[u8]) -> Option<FoundRun> {
    let Completion { container, swift_dir } = serde_json::from_slice(body).ok()?;
    FoundRun::of_folder(&container, &swift_dir).filter(|run| index::holds_results(&run.series.container))
}

/// Waits for a store that is away, and a little for a run that is not there yet.
async fn read(context: &Context, run: &FoundRun) -> Result<StoredResult, ReadError> {
    let looks = ExponentialBuilder::new().with_factor(2.0).with_max_times(LOOKS);
    let store = context.store.as_ref();
    let here = || given(|| index::read(store, run), || async { store.check().await.is_ok() });
    here.retry(looks).when(ReadError::is_missing).await
}

/// Waits for a store that is away. One that is there, and still does not give out what is `read`, is asked a few times.
async fn given<T, F, G>(read: impl Fn() -> F, is_there: impl Fn() -> G) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
    G: Future<Output = bool>,
{
    let mut tries = 0;
    let mut pauses = backoff::growing().build();
    loop {
        let error = match read().await {
            Err(error @ ReadError::Store(_)) if !error.is_missing() => error,
            done => return done,
        };
        // What it refuses it is there to refuse.
        tries += usize::from(!error.may_retry() || is_there().await);
        match pauses.next() {
            Some(pause) if tries < TRIES => tokio::time::sleep(pause).await,
            _ => return Err(error),
        }
    }
}

/// Repeats until the database is there.
async fn patiently<T, F>(work: impl Fn() -> F) -> Result<T, DbError>
where
    F: Future<Output = Result<T, DbError>>,
{
    work.retry(backoff::growing()).when(DbError::may_retry).await
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use proofhouse_core::store::StoreError;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_is_waited_for_and_a_run_that_it_refuses_is_not() {
        let away = || StoreError::Away { address: "a".to_owned(), reason: "500".to_owned() };
        let refused = || StoreError::Forbidden { address: "a".to_owned(), reason: "403".to_owned() };
        for error in [&away as &dyn Fn() -> StoreError, &refused] {
            let asked = AtomicUsize::new(0);
            let read = || async {
                asked.fetch_add(1, Relaxed);
                Err::<(), _>(ReadError::Store(error()))
            };
            assert!(given(read, || ready(true)).await.is_err());
            assert_eq!(asked.into_inner(), TRIES);
        }
        let asked = AtomicUsize::new(0);
        let read = || async {
            match asked.fetch_add(1, Relaxed) {
                0..100 => Err(ReadError::Store(away())),
                _ => Ok(()),
            }
        };
        assert!(given(read, || ready(false)).await.is_ok(), "it came back");
        let damaged = || ready(Err::<(), _>(ReadError::Damaged("no exit code".to_owned())));
        assert!(matches!(given(damaged, || ready(true)).await, Err(ReadError::Damaged(_))));
    }

    #[test]
    fn only_the_place_is_read() {
        // As generation B sends it: strings with line feeds from files, no uuid.
        let message = r#"{"architecture": "amd64", "container": "autopkgtest-noble", "duration": "123\n", "exitcode": 4,
            "package": "green", "testpkg_version": "green 2", "release": "noble", "requester": "joe\n", "triggers": null,
            "swift_dir": "noble/amd64/g/green/20261121_053634_abcde@", "env": ""}"#;
        let run = place(message.as_bytes()).unwrap();
        assert_eq!(run.shown().unwrap(), "autopkgtest-noble/noble/amd64/g/green/20261121_053634_abcde@");
        for (from, to) in [
            ("autopkgtest-noble", "proofhouse-attempts"),
            ("autopkgtest-noble", "../autopkgtest-noble"),
            ("noble/amd64/g", "noble/amd64/x"),
            ("noble/amd64/g", "../amd64/g"),
            ("_abcde@", "_abcde@/result.tar"),
            ("\"noble/amd64/g/green/20261121_053634_abcde@\"", "[]"),
        ] {
            assert!(place(message.replace(from, to).as_bytes()).is_none(), "{to}");
        }
        for bad in [&b"\xff"[..], b"", b"{", b"[]", b"{}"] {
            assert!(place(bad).is_none());
        }
    }
}
