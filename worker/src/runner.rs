//! The worker's side of the guard: starts a program under it, hears how it ended, asks it to end.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    guard::{Order, Report, Stop, json_line},
    guards::Guards,
    processes,
};

/// A program that runs under a guard. Dropping it closes the guard's line, which ends the program.
pub(crate) struct Runner {
    to_guard: OwnedWriteHalf,
    from_guard: Lines<BufReader<OwnedReadHalf>>,
    /// Its processes carry this mark.
    mark: PathBuf,
}

impl Runner {
    /// Starts `order` under a guard; its processes are marked with the work folder `mark`.
    pub(crate) async fn start(guards: &Guards, mut order: Order, mark: &Path) -> io::Result<Self> {
        order.env.push((processes::MARK.to_owned(), mark.into()));
        let (from_guard, mut to_guard) = guards.start().await?.into_split();
        to_guard.write_all(&json_line(&order)?).await?;
        Ok(Self { to_guard, from_guard: BufReader::new(from_guard).lines(), mark: mark.to_owned() })
    }

    /// Waits until the program and all its descendants are gone. It can be dropped half-way and called again.
    pub(crate) async fn wait(&mut self) -> Report {
        while let Ok(Some(line)) = self.from_guard.next_line().await {
            if let Ok(report) = serde_json::from_str(&line) {
                return report;
            }
        }
        // Somebody killed the guard: what it guarded must not live on.
        processes::kill_marked(&self.mark);
        Report::Signalled(Signal::SIGKILL as i32)
    }

    /// Asks the program to end, giving it `grace` to clean its testbed up. A second, shorter grace counts.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let stop = Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) };
        if let Ok(line) = json_line(&stop) {
            // A guard that is gone has ended everything already.
            let _ = self.to_guard.write_all(&line).await;
        }
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
