//! What the process that holds a worker tells it and hears of it.

use proofhouse_core::protocol::WorkerId;
use tokio_util::sync::CancellationToken;

/// How a worker is stopped.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Takes nothing new, finishes what runs, publication included.
    pub drain: CancellationToken,
    /// Kills what runs and gives it back.
    pub hard: CancellationToken,
}

impl Stop {
    /// Returns once either is asked for.
    pub(crate) async fn asked(&self) {
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = self.hard.cancelled() => {}
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.drain.is_cancelled() || self.hard.is_cancelled()
    }
}

/// What a worker does now, for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Who it is, once it serves.
    pub id: Option<WorkerId>,
    /// Slots in use.
    pub busy: usize,
    /// All slots.
    pub slots: usize,
    /// Why it takes no work, where it cannot.
    pub able: Result<(), String>,
}

impl Default for WorkerState {
    fn default() -> Self {
        Self { id: None, busy: 0, slots: 0, able: Ok(()) }
    }
}
