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
    /// Containers that are done.
    pub(super) containers: u64,
    /// Containers that were to be done.
    pub(super) asked: u64,
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
        let mut text = match (self.finished, self.asked) {
            (true, 0) => {
                return "the store holds no container with results: there is nothing to index\n".to_owned();
            }
            (true, 1) => format!("{} runs in one container", self.runs),
            (true, n) => format!("{} runs in {n} containers", self.runs),
            (false, n) => {
                format!("stopped; {} of {n} containers are done, {} runs", self.containers, self.runs)
            }
        };
        let Self { indexed, known, damaged, .. } = self;
        // Writing to a String cannot fail.
        let _ = writeln!(text, ": {indexed} indexed, {known} known already, {damaged} damaged");
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
        let mut summary = Summary {
            finished: true,
            containers: 2,
            asked: 2,
            runs: 4,
            indexed: 1,
            known: 1,
            ..Summary::default()
        };
        assert_eq!(summary.status(), Status::Done);
        summary.damaged(&run("autopkgtest-noble"), "it has no exitcode".to_owned());
        summary.damaged(&run("private-autopkgtest-hush"), "hush".to_owned());
        assert_eq!(summary.status(), Status::Failed);
        insta::assert_snapshot!(summary.text());
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary).unwrap());
    }

    #[test]
    fn how_much_was_done() {
        let first = |finished: bool, asked: u64| {
            let summary = Summary { finished, asked, runs: 4, indexed: 4, ..Summary::default() };
            summary.text().lines().next().unwrap().to_owned()
        };
        assert_eq!(first(true, 1), "4 runs in one container: 4 indexed, 0 known already, 0 damaged");
        assert!(first(true, 3).starts_with("4 runs in 3 containers: "));
        assert!(first(false, 3).starts_with("stopped; 0 of 3 containers are done, 4 runs: "));
        assert!(first(true, 0).starts_with("the store holds no container with results"));
    }
}
