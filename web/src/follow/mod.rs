//! Logs while they grow (design, "The log while it runs"). Each that somebody looks at is asked for once, and kept once, for all
//! who look; nobody looks, nothing is sent.

mod buffer;
mod keep;
mod listen;
mod viewer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proofhouse_core::{
    protocol::AttemptId,
    watch::{Piece, READERS},
};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::buffer::Buffer;
pub(crate) use self::{
    buffer::Phase,
    listen::listen,
    viewer::{events, over},
};
use crate::{app::App, failure::Failure, private::PublicJob};

/// More logs at once nobody looks at: each takes a mebibyte at most.
const MOST_LOGS: usize = 200;
/// More people at once are told to come back: each holds a connection.
const MOST_VIEWERS: usize = 2000;

/// Whoever asked for a log so lately may be about to look at it.
const FRESH: Duration = Duration::from_secs(10);

/// The logs that somebody looks at.
pub(crate) struct Follows {
    /// The queue by which pieces come.
    mailbox: String,
    logs: Mutex<HashMap<AttemptId, Arc<Log>>>,
    viewers: Arc<Semaphore>,
    /// The site ends: viewers are to ask another.
    closing: CancellationToken,
}

impl Default for Follows {
    fn default() -> Self {
        Self {
            mailbox: format!("{READERS}{}.logs", Uuid::new_v4()),
            logs: Mutex::default(),
            viewers: Arc::new(Semaphore::new(MOST_VIEWERS)),
            closing: CancellationToken::new(),
        }
    }
}

/// A log that grows.
pub(crate) struct Log {
    id: AttemptId,
    /// The page of its run.
    run_path: String,
    buffer: Mutex<Buffer>,
    /// Counts what changed in the buffer.
    changed: watch::Sender<u64>,
    /// Something is missing: it must be asked for at once.
    missed: Notify,
    /// When somebody last looked.
    looked: Mutex<Instant>,
}

impl Log {
    fn new(id: AttemptId, run_path: String) -> Self {
        Self {
            id,
            run_path,
            buffer: Mutex::default(),
            changed: watch::Sender::default(),
            missed: Notify::new(),
            looked: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked(&self) -> MutexGuard<'_, Instant> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_phase(&self, phase: Phase) {
        if self.buffer().set_phase(phase) {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Waits until anything is known of it.
    pub(crate) async fn first_word(&self) {
        // The sender lives as long as the log.
        let _ = self.changed.subscribe().wait_for(|n| *n > 0).await;
    }
}

impl Follows {
    fn logs(&self) -> MutexGuard<'_, HashMap<AttemptId, Arc<Log>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while it is one of those that are kept.
    fn has(&self, log: &Arc<Log>) -> bool {
        self.logs().get(&log.id).is_some_and(|kept| Arc::ptr_eq(kept, log))
    }

    /// Takes a message in.
    pub(crate) fn hear(&self, piece: &Piece) {
        let Some(log) = self.logs().get(&piece.id).cloned() else { return };
        let heard = log.buffer().hear(piece);
        if heard.missed {
            log.missed.notify_one();
        }
        if heard.changed {
            log.changed.send_modify(|n| *n += 1);
        }
    }
}

/// The log of a run's attempt that runs now, which is followed from now on.
pub(crate) fn follow(app: &App, job: &PublicJob, run_path: &str) -> Result<Arc<Log>, Failure> {
    let attempt = i32::try_from(job.attempts).map_err(|_| Failure::internal())?;
    let id = AttemptId { job: job.id, attempt };
    let mut logs = app.follows().logs();
    if let Some(log) = logs.get(&id) {
        *log.looked() = Instant::now();
        return Ok(log.clone());
    }
    if logs.len() >= MOST_LOGS {
        // One that nobody looks at any more makes room.
        let is_unseen = |log: &&Arc<Log>| log.changed.receiver_count() == 0 && log.looked().elapsed() > FRESH;
        let unseen = logs.values().filter(is_unseen).min_by_key(|log| *log.looked());
        let id = unseen.map(|log| log.id).ok_or_else(Failure::busy)?;
        logs.remove(&id);
    }
    let log = Arc::new(Log::new(id, run_path.to_owned()));
    logs.insert(id, log.clone());
    drop(logs);
    app.tasks().spawn(keep::keep(app.clone(), log.clone()));
    Ok(log)
}

/// The log of an attempt, where it is kept. One that is over is, for a while.
pub(crate) fn kept(app: &App, job: &PublicJob, attempt: i64) -> Option<Arc<Log>> {
    let id = AttemptId { job: job.id, attempt: i32::try_from(attempt).ok()? };
    let log = app.follows().logs().get(&id).cloned()?;
    *log.looked() = Instant::now();
    Some(log)
}

#[cfg(test)]
mod tests;
