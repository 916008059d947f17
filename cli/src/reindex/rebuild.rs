//! One container: listed in pages, read by many, written in order. What is written is remembered with it, so that a rebuild
//! that is stopped anywhere goes on there.

use std::sync::Arc;

use anyhow::Result;
use futures::{StreamExt as _, stream};
use proofhouse_core::{
    db::Database,
    index::{self, FoundRun, ReadError, StoredResult},
    layout::Container,
    store::{ListQuery, Store, StoreError},
    telemetry::chain,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    patience::patiently,
    progress::Progress,
    summary::{Summary, Unreadable},
};

/// Runs in one transaction: few enough that nobody waits for it.
const CHUNK: usize = 500;
/// Chunks that are read while one is written.
const AHEAD: usize = 3;

/// What a rebuild works with.
pub(super) struct Rebuild {
    pub(super) database: Database,
    pub(super) store: Arc<dyn Store>,
    /// How many results may be read at once.
    pub(super) permits: Arc<Semaphore>,
    pub(super) progress: Progress,
    pub(super) stop: CancellationToken,
}

/// Runs that lie one behind the other.
struct Chunk {
    runs: Vec<FoundRun>,
    /// The last object that was looked at.
    marker: String,
}

/// What is known of them.
struct Batch {
    chunk: Chunk,
    known: u64,
    results: Vec<StoredResult>,
    damaged: Vec<(FoundRun, String)>,
}

impl Rebuild {
    /// Indexes what a container holds behind the last stop. True once it is done, false where it was told to stop.
    pub(super) async fn container(
        self: &Arc<Self>,
        container: &Container,
        summary: &mut Summary,
    ) -> Result<bool> {
        // Anywhere: what was not committed is done again.
        let work = self.stop.run_until_cancelled(self.whole(container, summary));
        Ok(work.await.transpose()?.is_some())
    }

    async fn whole(self: &Arc<Self>, container: &Container, summary: &mut Summary) -> Result<()> {
        let before = patiently(&self.progress, || self.database.reindexed(container)).await?;
        if before.as_ref().is_some_and(|before| before.finished) {
            return Ok(());
        }
        let marker = before.map(|before| before.marker).unwrap_or_default();
        let (to, mut chunks) = mpsc::channel(1);
        let listing = AbortOnDropHandle::new(tokio::spawn(self.clone().list(container.clone(), marker, to)));
        let chunks = stream::poll_fn(move |context| chunks.poll_recv(context));
        let reads = chunks.map(|chunk| AbortOnDropHandle::new(tokio::spawn(self.clone().read(chunk))));
        let mut batches = reads.buffered(AHEAD);
        while let Some(batch) = batches.next().await {
            self.write(container, batch??, summary).await?;
        }
        match listing.await? {
            Err(error @ StoreError::Away { .. }) => return Err(error.into()),
            Err(error) => unreadable(summary, container, &error),
            Ok(()) => {}
        }
        patiently(&self.progress, || self.database.reindex_finished(container)).await?;
        Ok(())
    }

    /// Sends on what lies behind `marker`, in order.
    async fn list(
        self: Arc<Self>,
        container: Container,
        marker: String,
        to: mpsc::Sender<Chunk>,
    ) -> Result<(), StoreError> {
        let mut query = ListQuery { marker, ..ListQuery::default() };
        let mut runs = Vec::new();
        loop {
            let page = patiently(&self.progress, || self.store.list(&container, &query)).await?;
            let Some(last) = page.last() else { break };
            last.name().clone_into(&mut query.marker);
            for entry in &page {
                runs.extend(FoundRun::of_result(&container, entry.name()));
                if runs.len() == CHUNK {
                    let chunk = Chunk { runs: std::mem::take(&mut runs), marker: entry.name().to_owned() };
                    if to.send(chunk).await.is_err() {
                        return Ok(()); // stopped
                    }
                }
            }
        }
        if !runs.is_empty() {
            // Where nobody takes it, it was stopped.
            let _ = to.send(Chunk { runs, marker: query.marker }).await;
        }
        Ok(())
    }

    /// Reads those that the index does not have.
    async fn read(self: Arc<Self>, chunk: Chunk) -> Result<Batch> {
        let unknown = patiently(&self.progress, || self.database.unknown_runs(&chunk.runs)).await?;
        let known = (chunk.runs.len() - unknown.len()) as u64;
        let mut reads = JoinSet::new();
        for n in unknown {
            let (this, run) = (self.clone(), chunk.runs[n].clone());
            // It is never closed.
            let permit = self.permits.clone().acquire_owned().await?;
            reads.spawn(async move {
                let result = patiently(&this.progress, || index::read(this.store.as_ref(), &run)).await;
                drop(permit);
                (run, result)
            });
        }
        let mut batch = Batch { chunk, known, results: Vec::new(), damaged: Vec::new() };
        while let Some(read) = reads.join_next().await {
            match read? {
                (_, Ok(result)) => batch.results.push(result),
                (_, Err(ReadError::Store(error @ StoreError::Away { .. }))) => return Err(error.into()),
                (run, Err(error)) => batch.damaged.push((run, chain(&error))),
            }
        }
        batch.damaged.sort();
        Ok(batch)
    }

    async fn write(&self, container: &Container, batch: Batch, summary: &mut Summary) -> Result<()> {
        let Batch { chunk, known, results, damaged } = batch;
        let progress = Some((container, chunk.marker.as_str()));
        let new = patiently(&self.progress, || self.database.index(&chunk.runs, &results, progress)).await?;
        summary.runs += chunk.runs.len() as u64;
        summary.indexed += new;
        // Some may have come by other ways since it was asked.
        summary.known += known + results.len() as u64 - new;
        for (run, reason) in damaged {
            summary.damaged(&run, reason);
        }
        self.progress.advanced(summary, chunk.runs.last());
        Ok(())
    }
}

fn unreadable(summary: &mut Summary, container: &Container, error: &StoreError) {
    summary.unreadable += 1;
    if !container.is_private() {
        let (name, reason) = (container.to_string(), chain(error));
        summary.unreadable_containers.push(Unreadable { name, reason });
    }
}
