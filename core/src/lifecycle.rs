//! The life of a process: tracked tasks and the two-stage stop.
//!
//! The first signal (SIGTERM, SIGINT) drains: nothing new is taken, what runs is finished. The second stops hard.
//! A task that ends with an error or a panic stops the process hard and makes it end with an error.

use std::{
    any::Any,
    error::Error,
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks may take to end after the hard stop before the process leaves without them.
const HARD_STOP: Duration = Duration::from_secs(10);

/// What a task may end with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a process ended by itself.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Died {
    /// A task ended with an error.
    #[error("task {name} died")]
    Error {
        /// The task.
        name: &'static str,
        /// The cause.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A task panicked; its place is in the log.
    #[error("task {name} died of a panic")]
    Panic {
        /// The task.
        name: &'static str,
    },
    /// Tasks did not end after the hard stop.
    #[error("tasks still ran {} seconds after the hard stop", HARD_STOP.as_secs())]
    Hung,
}

/// The stop of one process, and its tasks. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    drain: CancellationToken,
    hard: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
    services: TaskTracker,
    died: OnceLock<Died>,
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled by the first stage: take nothing new, finish what runs, end.
    pub fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }

    /// Cancelled by the second stage: end at once.
    pub fn hard(&self) -> &CancellationToken {
        &self.0.hard
    }

    /// The next stage.
    pub fn next_stage(&self) {
        if self.0.drain.is_cancelled() {
            self.0.hard.cancel();
        } else {
            self.0.drain.cancel();
        }
    }

    /// Stages follow signals from here on.
    ///
    /// # Errors
    /// Signals cannot be listened for.
    pub fn on_signals(&self) -> io::Result<()> {
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = self.clone();
        self.spawn_service("signals", async move {
            listener.follow(term, int).await;
            Ok::<(), BoxError>(())
        });
        Ok(())
    }

    async fn follow(&self, mut term: Signal, mut int: Signal) {
        loop {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            self.next_stage();
            if self.0.hard.is_cancelled() {
                tracing::warn!("{name} again: stopping hard");
            } else {
                tracing::info!("{name}: finishing what runs, taking nothing new; once more stops hard");
            }
        }
    }

    /// Spawns a part of the process's work: it must end by itself after [`Shutdown::drain`]. The process ends when all have.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.0.tasks.spawn(self.clone().watched(name, task));
    }

    /// Spawns what serves the other tasks to the very end, such as the admin server: it is dropped once they have ended.
    pub fn spawn_service<F, E>(&self, name: &'static str, service: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let ended = self.0.ended.clone();
        let service = async move { ended.run_until_cancelled(service).await.unwrap_or(Ok(())) };
        self.0.services.spawn(self.clone().watched(name, service));
    }

    async fn watched<F, E>(self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let died = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(e)) => Died::Error { name, source: e.into().into() },
            Err::<_, Box<dyn Any + Send>>(_) => Died::Panic { name },
        };
        // Only the first is the cause; what falls over it is not.
        if self.0.died.set(died).is_ok() {
            self.0.drain.cancel();
            self.0.hard.cancel();
        }
    }

    /// Returns when all tasks have ended, or a while after the hard stop. Call it once, when all tasks are spawned.
    ///
    /// # Errors
    /// A task died by itself, or did not end.
    pub async fn finished(self) -> Result<(), Died> {
        self.finished_within(HARD_STOP).await
    }

    async fn finished_within(self, limit: Duration) -> Result<(), Died> {
        let Inner { tasks, services, hard, ended, .. } = &*self.0;
        tasks.close();
        services.close();
        let late = async {
            hard.cancelled().await;
            tokio::time::sleep(limit).await;
        };
        let hung = tokio::select! {
            biased;
            () = tasks.wait() => false,
            () = late => true,
        };
        ended.cancel();
        if !hung {
            services.wait().await;
        }
        match self.0.died.get() {
            Some(died) => Err(died.clone()),
            None if hung => Err(Died::Hung),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> BoxError {
        text.into()
    }

    #[tokio::test]
    async fn the_first_stage_drains_and_the_second_stops_hard() {
        let shutdown = Shutdown::new();
        let (drain, hard) = (shutdown.drain().clone(), shutdown.hard().clone());
        shutdown.spawn("patient", async move {
            drain.cancelled().await;
            hard.cancelled().await;
            Ok::<(), BoxError>(())
        });
        let ending = tokio::spawn(shutdown.clone().finished());
        shutdown.next_stage();
        assert!(shutdown.drain().is_cancelled() && !shutdown.hard().is_cancelled());
        assert!(!ending.is_finished());
        shutdown.next_stage();
        ending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn services_live_until_the_tasks_have_ended() {
        let shutdown = Shutdown::new();
        let (alive, dead) = tokio::sync::oneshot::channel::<()>();
        shutdown.spawn_service("admin", async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok::<(), BoxError>(())
        });
        let drain = shutdown.drain().clone();
        shutdown.spawn("work", async move {
            drain.cancelled().await;
            Ok::<(), BoxError>(())
        });
        shutdown.next_stage();
        shutdown.finished().await.unwrap();
        assert!(dead.await.is_err(), "the service is gone");
    }

    #[tokio::test]
    async fn a_task_that_dies_ends_the_process_with_its_error() {
        for (panics, text) in [(false, "task outbox died"), (true, "task outbox died of a panic")] {
            let shutdown = Shutdown::new();
            let hard = shutdown.hard().clone();
            shutdown.spawn("other", async move {
                hard.cancelled().await;
                Err::<(), _>(error("cut off by the stop"))
            });
            shutdown.spawn("outbox", async move {
                assert!(!panics, "a fault for this test");
                Err::<(), _>(error("the database is gone"))
            });
            let died = shutdown.finished().await.unwrap_err();
            assert_eq!(died.to_string(), text);
            assert_eq!(died.source().is_some(), !panics);
        }
    }

    #[tokio::test]
    async fn a_task_that_hangs_is_left_behind() {
        let shutdown = Shutdown::new();
        shutdown.spawn("deaf", std::future::pending::<Result<(), BoxError>>());
        shutdown.next_stage();
        shutdown.next_stage();
        assert!(matches!(shutdown.finished_within(Duration::ZERO).await, Err(Died::Hung)));
    }

    #[tokio::test]
    async fn signals_are_stages() {
        use nix::{
            sys::signal::{Signal, kill},
            unistd::Pid,
        };
        let shutdown = Shutdown::new();
        shutdown.on_signals().unwrap();
        let hard = shutdown.hard().clone();
        shutdown.spawn("work", async move {
            hard.cancelled().await;
            Ok::<(), BoxError>(())
        });
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        shutdown.drain().cancelled().await;
        assert!(!shutdown.hard().is_cancelled());
        kill(Pid::this(), Signal::SIGINT).unwrap();
        shutdown.finished().await.unwrap();
    }
}
