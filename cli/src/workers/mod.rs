//! `proofhouse workers`: who runs tests, and who is to stop.

mod change;
mod list;
mod wait;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use globset::{Glob, GlobMatcher};
use proofhouse_core::db::{Database, HeldRow, WorkerRow};

use crate::{args::ListArgs, connect, servers::Servers, status::Status};

#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// List the workers, and what they hold
    #[command(after_help = "Example:\n  proofhouse workers ls --json")]
    Ls(ListArgs),
    /// Take nothing new, and stay: until `resume`, over restarts too
    #[command(
        after_help = "Examples:\n  proofhouse workers drain w1 w2 --wait\n  proofhouse workers drain 'arm64-*'"
    )]
    Drain(WaitArgs),
    /// Take offers again
    Resume(NameArgs),
    /// Take nothing new, and end once nothing runs; started again, it works again
    #[command(after_help = "Example:\n  proofhouse workers retire w1 --wait\n\
        The process ends with status 0. Of `proofhouse up` that is all of it.")]
    Retire(WaitArgs),
    /// Take workers that are gone out of the list
    #[command(after_help = "A worker that is away for 30 days vanishes by itself, unless it is drained.")]
    Forget(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Their names; `*` and `?` stand for what they do in a shell
    #[arg(required = true, value_name = "NAME", id = "workers")]
    names: Vec<Pattern>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    workers: NameArgs,
    /// Wait until nothing runs there any more
    #[arg(long)]
    wait: bool,
}

/// A name, or a pattern of names.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl std::str::FromStr for Pattern {
    type Err = globset::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned(), matcher: Glob::new(text)?.compile_matcher() })
    }
}

pub(crate) async fn main(command: WorkersCommand) -> Result<Status> {
    match command {
        WorkersCommand::Ls(args) => list::ls(args).await,
        WorkersCommand::Drain(args) => change::drain(args).await,
        WorkersCommand::Resume(args) => change::resume(args).await,
        WorkersCommand::Retire(args) => change::retire(args).await,
        WorkersCommand::Forget(args) => change::forget(args).await,
    }
}

/// All workers at one moment.
struct View {
    workers: Vec<WorkerRow>,
    held: Vec<HeldRow>,
    now_us: i64,
}

impl View {
    async fn of(database: &Database) -> Result<Self> {
        let now_us = database.now_us().await?;
        Ok(Self { workers: database.workers().await?, held: database.held().await?, now_us })
    }

    /// What a worker holds.
    fn held_by<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a HeldRow> {
        self.held.iter().filter(move |held| held.worker == name)
    }

    fn is_away(&self, worker: &WorkerRow) -> bool {
        worker.is_away(self.now_us)
    }

    fn find(&self, name: &str) -> Option<&WorkerRow> {
        self.workers.iter().find(|worker| worker.name == name)
    }

    /// Where a worker stands.
    fn state(&self, worker: &WorkerRow) -> &'static str {
        let runs = self.held_by(&worker.name).next().is_some();
        match worker.wanted.as_str() {
            _ if self.is_away(worker) => "away",
            "retire" => "retiring",
            _ if worker.draining && !runs => "drained",
            "work" if !worker.draining && worker.unable.is_some() => "unable",
            "work" if !worker.draining => "working",
            _ => "draining",
        }
    }

    /// The workers that are meant; it is an error where a pattern means none.
    fn named(&self, patterns: &[Pattern]) -> Result<Vec<&WorkerRow>> {
        let strangers: Vec<&str> = patterns
            .iter()
            .filter(|pattern| !self.workers.iter().any(|w| pattern.matcher.is_match(&w.name)))
            .map(|pattern| pattern.text.as_str())
            .collect();
        if !strangers.is_empty() {
            bail!("no worker is called {}; see `proofhouse workers ls`", strangers.join(", "));
        }
        Ok(self.workers.iter().filter(|w| patterns.iter().any(|p| p.matcher.is_match(&w.name))).collect())
    }
}

async fn open(servers: &Servers) -> Result<Database> {
    connect::existing_database(&servers.config()?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_239_394_000_000;

    fn worker(name: &str) -> WorkerRow {
        WorkerRow {
            name: name.to_owned(),
            incarnation: "3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".to_owned(),
            host: "h1".to_owned(),
            pools: "amd64 i386".to_owned(),
            slots: 4,
            draining: false,
            unable: None,
            version: "0.1.0".to_owned(),
            seen_us: NOW,
            wanted: "work".to_owned(),
        }
    }

    fn held(worker: &str) -> HeldRow {
        HeldRow {
            worker: worker.to_owned(),
            job_id: 7,
            attempt: 1,
            package: "hello".to_owned(),
            release: "noble".to_owned(),
            arch: "amd64".to_owned(),
            granted_us: NOW - 90_000_000,
        }
    }

    /// One worker in each state, named after it.
    pub(super) fn view() -> View {
        let obeys = |name: &str, wanted: &str| WorkerRow {
            wanted: wanted.to_owned(),
            draining: true,
            ..worker(name)
        };
        let workers = vec![
            WorkerRow { seen_us: NOW - 120_000_001, ..worker("away") },
            WorkerRow { incarnation: String::new(), slots: 0, ..worker("away-left") },
            obeys("drained", "drain"),
            WorkerRow { wanted: "drain".to_owned(), ..worker("draining") },
            obeys("draining-2", "drain"),
            obeys("retiring", "retire"),
            WorkerRow { unable: Some("the disk is full".to_owned()), ..worker("unable") },
            worker("working"),
        ];
        View { workers, held: ["draining-2", "working", "working"].map(held).into(), now_us: NOW }
    }

    #[test]
    fn where_each_stands() {
        let view = view();
        for worker in &view.workers {
            assert!(worker.name.starts_with(view.state(worker)), "{} {}", worker.name, view.state(worker));
        }
    }

    #[test]
    fn names_and_patterns() {
        let view = view();
        let named = |patterns: &[&str]| {
            let patterns: Vec<Pattern> = patterns.iter().map(|p| p.parse().unwrap()).collect();
            let found = view.named(&patterns);
            found.map(|all| all.iter().map(|w| w.name.clone()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(named(&["drain*", "drained"]).unwrap(), "drained draining draining-2");
        assert_eq!(named(&["unable"]).unwrap(), "unable");
        let error = named(&["unable", "x*", "nobody"]).unwrap_err().to_string();
        assert!(error.contains("x*, nobody"), "{error}");
    }
}
