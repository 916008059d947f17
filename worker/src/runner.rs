//! The worker's side of the guard: starts a program under it, hears how it ended, asks it to end.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    guard::{Order, Report, Stop},
    processes,
};

/// A program that runs under a guard. Dropping it closes the guard's pipe, which ends the program.
pub(crate) struct Runner {
    guard: Child,
    pipe: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its processes carry this mark.
    mark: PathBuf,
}

impl Runner {
    /// Starts `order` under a guard; its processes are marked with the work folder `mark`.
    pub(crate) async fn start(guard: &[OsString], mut order: Order, mark: &Path) -> io::Result<Self> {
        let (program, args) =
            guard.split_first().ok_or_else(|| io::Error::other("no guard is configured"))?;
        order.env.push((processes::MARK.to_owned(), mark.into()));
        let mut guard = without_secrets(Command::new(program))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let missing = || io::Error::other("the guard has no pipe");
        let mut pipe = guard.stdin.take().ok_or_else(missing)?;
        let lines = BufReader::new(guard.stdout.take().ok_or_else(missing)?).lines();
        pipe.write_all(&json_line(&order)?).await?;
        Ok(Self { guard, pipe, lines, mark: mark.to_owned() })
    }

    /// Waits until the program and all its descendants are gone. It can be dropped half-way and called again.
    pub(crate) async fn wait(&mut self) -> Report {
        while let Ok(Some(line)) = self.lines.next_line().await {
            if let Ok(report) = serde_json::from_str(&line) {
                return report;
            }
        }
        // Somebody killed the guard: what it guarded must not live on.
        let _ = self.guard.wait().await;
        processes::kill_marked(&self.mark);
        Report::Signalled(Signal::SIGKILL as i32)
    }

    /// Asks the program to end, giving it `grace` to clean its testbed up. A second, shorter grace counts.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let stop = Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) };
        if let Ok(line) = json_line(&stop) {
            // A guard that is gone has ended everything already.
            let _ = self.pipe.write_all(&line).await;
        }
    }
}

/// What this process knows is not for the tests that it runs: on this machine itself they see the runner's environment.
fn without_secrets(mut command: Command) -> Command {
    const NAMES: [&str; 4] =
        ["PROOFHOUSE_SEAL_KEY", "PROOFHOUSE_BUS", "PROOFHOUSE_DATABASE", "PROOFHOUSE_STORE"];
    let is_secret = |name: &str| NAMES.contains(&name) || name.starts_with("OS_") || name.starts_with("AWS_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_secret) {
            command.env_remove(name);
        }
    }
    command
}

fn json_line<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
