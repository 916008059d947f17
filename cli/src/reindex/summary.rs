//! What came of it.

use std::fmt::Write as _;

use proofhouse_core::index::FoundRun;
use serde::Serialize;

use crate::{print, status::Status};

/// More names than these nobody reads; all are counted.
const MOST_NAMES: usize = 1000;
/// How many of them the text shows.
const MOST_LINES: usize = 20;

/// What was found and done. Private runs and containers are counts alone.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Everything that was asked for was looked at.
    pub(super) finished: bool,
    pub(super) containers: u64,
    /// Runs that were found.
    pub(super) runs: u64,
    /// Of these: added to the index.
    pub(super) indexed: u64,
    /// Of these: in the index already.
    pub(super) known: u64,
    /// Of these: not to be read.
    pub(super) damaged: u64,
    /// The names of those that are public, and why.
    pub(super) damaged_runs: Vec<Unreadable>,
    /// Containers that could not be listed.
    pub(super) unreadable: u64,
    /// The names of those that are public, and why.
    pub(super) unreadable_containers: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
pub(super) struct Unreadable {
    pub(super) name: String,
    pub(super) reason: String,
}

impl Summary {
    pub(super) fn damaged(&mut self, run: &FoundRun, reason: String) {
        self.damaged += 1;
        if let Some(name) = run.shown().filter(|_| self.damaged_runs.len() < MOST_NAMES) {
            self.damaged_runs.push(Unreadable { name, reason });
        }
    }

    pub(super) fn status(&self) -> Status {
        if self.finished && self.damaged == 0 && self.unreadable == 0 { Status::Done } else { Status::Failed }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} runs in {} containers: {} indexed, {} known already, {} damaged\n",
            self.runs, self.containers, self.indexed, self.known, self.damaged
        );
        list(&mut text, "damaged, and not in the index", self.damaged, &self.damaged_runs);
        list(&mut text, "containers that could not be listed", self.unreadable, &self.unreadable_containers);
        text
    }
}

fn list(text: &mut String, heading: &str, count: u64, named: &[Unreadable]) {
    if count == 0 {
        return;
    }
    let shown = &named[..named.len().min(MOST_LINES)];
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{heading}:");
    for Unreadable { name, reason } in shown {
        let _ = writeln!(text, "  {}: {}", print::one_line(name, 300), print::one_line(reason, 200));
    }
    let more = count - shown.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "  and {more} more, private ones among them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(container: &str) -> FoundRun {
        FoundRun::of_folder(&container.parse().unwrap(), "noble/amd64/g/green/20261121_053634_abcde@")
            .unwrap()
    }

    #[test]
    fn private_ones_are_counted_and_not_named() {
        let mut summary =
            Summary { finished: true, containers: 2, runs: 4, indexed: 1, known: 1, ..Summary::default() };
        assert_eq!(summary.status(), Status::Done);
        summary.damaged(&run("autopkgtest-noble"), "it has no exitcode".to_owned());
        summary.damaged(&run("private-autopkgtest-hush"), "hush".to_owned());
        assert_eq!(summary.status(), Status::Failed);
        insta::assert_snapshot!(summary.text());
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary).unwrap());
    }
}
