//! `--wait`: shows what still runs, until nothing does.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use proofhouse_core::{
    db::{Database, HeldRow},
    protocol::Wanted,
};

use super::{View, change::tests};
use crate::print;

const PERIOD: Duration = Duration::from_millis(500);
/// Tests that a line names.
const NAMED: usize = 5;

/// Returns when the workers are drained, or their processes have ended.
pub(super) async fn until_quiet(database: &Database, names: &[String], wanted: Wanted) -> Result<()> {
    let mut progress = Progress::begin();
    loop {
        let view = View::of(database).await?;
        let mut busy = Vec::new();
        for name in names {
            if !is_quiet(&view, name, wanted)? {
                busy.push(name.as_str());
            }
        }
        if busy.is_empty() {
            progress.end();
            return Ok(());
        }
        progress.show(&view, &busy);
        tokio::time::sleep(PERIOD).await;
    }
}

/// An error where somebody called it off.
fn is_quiet(view: &View, name: &str, wanted: Wanted) -> Result<bool> {
    let runs = view.held_by(name).next().is_some();
    let Some(worker) = view.find(name) else { return Ok(!runs) };
    match worker.wanted.as_str() {
        // What it held when it vanished runs out.
        _ if view.is_away(worker) => Ok(!runs),
        "work" if wanted == Wanted::Drain => bail!("{name} was told to work again"),
        "retire" => Ok(false),
        // Retired, and started again.
        _ if wanted == Wanted::Retire => Ok(true),
        _ => Ok(worker.draining && !runs),
    }
}

struct Progress {
    bar: Option<ProgressBar>,
    most: usize,
    said: String,
}

impl Progress {
    fn begin() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} ended  {wide_msg}");
            // The template is ours; without it the bar looks as the library has it.
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, most: 0, said: String::new() }
    }

    fn show(&mut self, view: &View, busy: &[&str]) {
        let held: Vec<&HeldRow> = busy.iter().flat_map(|name| view.held_by(name)).collect();
        let now = line(&held, busy);
        self.most = self.most.max(held.len());
        if let Some(bar) = &self.bar {
            bar.set_length(self.most as u64);
            bar.set_position((self.most - held.len()) as u64);
            bar.set_message(now);
        } else if now != self.said {
            eprintln!("{now}");
            self.said = now;
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What runs and where; for operators, who may know it.
fn line(held: &[&HeldRow], busy: &[&str]) -> String {
    if held.is_empty() {
        return format!("waiting for {}", busy.join(", "));
    }
    let one = |held: &&HeldRow| {
        format!("{} {}/{} on {}", print::one_line(&held.package, 60), held.release, held.arch, held.worker)
    };
    let named: Vec<String> = held.iter().take(NAMED).map(one).collect();
    let more = if held.len() > NAMED { ", …" } else { "" };
    format!("{}: {}{more}", tests(held.len()), named.join(", "))
}

#[cfg(test)]
mod test {
    use super::{super::tests::view, *};

    #[test]
    fn quiet_or_not() {
        let mut view = view();
        let drains = |view: &View, name: &str| is_quiet(view, name, Wanted::Drain).ok();
        assert_eq!(drains(&view, "drained"), Some(true));
        assert_eq!(drains(&view, "draining"), Some(false), "it has not heard of it yet");
        assert_eq!(drains(&view, "draining-2"), Some(false));
        assert_eq!(drains(&view, "away"), Some(true));
        assert_eq!(drains(&view, "working"), None);
        let retires = |view: &View, name: &str| is_quiet(view, name, Wanted::Retire).ok();
        assert_eq!(retires(&view, "retiring"), Some(false));
        assert_eq!(retires(&view, "gone"), Some(true));
        assert_eq!(retires(&view, "working"), Some(true), "it was started again");
        view.workers.retain(|worker| worker.name != "draining-2");
        assert_eq!(retires(&view, "draining-2"), Some(false), "its lease has yet to run out");
    }

    #[test]
    fn what_runs() {
        let view = view();
        let held: Vec<&HeldRow> = view.held.iter().collect();
        assert_eq!(line(&held[..1], &["draining-2"]), "1 test runs: hello noble/amd64 on draining-2");
        assert_eq!(line(&[], &["a", "b"]), "waiting for a, b");
        let many: Vec<&HeldRow> = held.iter().cycle().take(6).copied().collect();
        assert!(line(&many, &[]).ends_with(", …"));
    }
}
