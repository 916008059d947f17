//! `proofhouse parked`: tests that infrastructure kept from running until their attempts were spent. For operators.

mod ls;
mod retry;
mod show;

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, Subcommand};
use globset::{GlobBuilder, GlobMatcher};
use proofhouse_core::{
    db::{Database, ParkedRow},
    names::{Arch, Release},
};
use uuid::Uuid;

use crate::{servers::Servers, status::Status};

/// How many rows are read at once.
const PAGE: i64 = 1000;

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List them, oldest first, then the reasons with the command that retries each
    #[command(
        after_help = "Examples:\n  proofhouse parked ls\n  proofhouse parked ls --reason testbed --arch arm64 --json"
    )]
    Ls(LsArgs),
    /// Show one with its attempts, and where their logs are
    #[command(
        after_help = "Examples:\n  proofhouse parked show 17\n  proofhouse parked show 17 --log | less\n  \
        proofhouse parked show 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --log 1"
    )]
    Show(ShowArgs),
    /// Have them run again, with as many attempts as a new test
    #[command(after_help = RETRY_EXAMPLES, override_usage = RETRY_USAGE)]
    Retry(RetryArgs),
}

/// Shorter than what is made of the group.
const RETRY_USAGE: &str = "\
proofhouse parked retry [OPTIONS] <JOB|UUID>...
       proofhouse parked retry [OPTIONS] <FILTERS|--all>";

const RETRY_EXAMPLES: &str = "\
Examples:
  proofhouse parked retry --reason testbed
  proofhouse parked retry --package 'linux*' --release noble --dry-run
  proofhouse parked retry 17 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e
It may run while everything serves, and more than once. A test of which an equal one waits or runs already is run all \
the same. Exit status 1: one that was named could not be retried.";

/// Which of them, for `ls` and `retry` alike.
#[derive(Debug, Default, Args)]
struct Filter {
    /// Only those of this reason: a fault's name, or the name of the rule of the log that decided
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only packages of this name; a glob
    #[arg(long, value_name = "GLOB")]
    package: Option<PackageGlob>,
    /// Only this release
    #[arg(long)]
    release: Option<Release>,
    /// Only this architecture
    #[arg(long)]
    arch: Option<Arch>,
}

impl Filter {
    fn matches(&self, row: &ParkedRow) -> bool {
        let ParkedRow { job, .. } = row;
        self.reason.as_deref().is_none_or(|r| r == row.reason())
            && self.package.as_ref().is_none_or(|p| p.matches(&job.package))
            && self.release.as_ref().is_none_or(|r| r.as_str() == job.release)
            && self.arch.as_ref().is_none_or(|a| a.as_str() == job.arch)
    }

    /// The options that say the same but for the reason, for a shell.
    fn options(&self) -> String {
        let package = self.package.as_ref().map(|p| format!(" --package {}", quoted(p.text())));
        let release = self.release.as_ref().map(|r| format!(" --release {r}"));
        let arch = self.arch.as_ref().map(|a| format!(" --arch {a}"));
        [package, release, arch].into_iter().flatten().collect()
    }
}

/// A text as a shell reads it: in quotes where it may mean something there.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-+._".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    filter: Filter,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The job's number or the run's uuid
    #[arg(value_name = "JOB|UUID")]
    job: JobName,
    /// Print a JSON object
    #[arg(long, conflicts_with = "log")]
    json: bool,
    /// Print the log of attempt N instead, of the last attempt where no number is given
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "last")]
    log: Option<Which>,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true, args = ["jobs", "reason", "package", "release", "arch", "all"])]
pub(crate) struct RetryArgs {
    /// Numbers of jobs, or uuids of runs
    #[arg(value_name = "JOB|UUID", conflicts_with_all = ["reason", "package", "release", "arch", "all"])]
    jobs: Vec<JobName>,
    #[command(flatten)]
    filter: Filter,
    /// All that are parked
    #[arg(long, conflicts_with_all = ["reason", "package", "release", "arch"])]
    all: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

/// A job by one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobName {
    Number(i64),
    Uuid(Uuid),
}

impl FromStr for JobName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = |_| Uuid::try_parse(text).map(Self::Uuid);
        let named = text.parse().map(Self::Number).or_else(uuid);
        named.map_err(|_| "a job is named by its number or its uuid, as `parked ls` shows them")
    }
}

impl std::fmt::Display for JobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// Which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Last,
    Number(i64),
}

impl FromStr for Which {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "last" => Ok(Self::Last),
            Ok(number) if number > 0 => Ok(Self::Number(number)),
            _ => Err("attempts are counted from 1"),
        }
    }
}

/// A package's name, or a glob of names.
#[derive(Debug, Clone)]
pub(crate) struct PackageGlob(GlobMatcher);

impl FromStr for PackageGlob {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("no package has an empty name".to_owned());
        }
        let glob = GlobBuilder::new(text).build().map_err(|e| format!("no glob: {}", e.kind()))?;
        Ok(Self(glob.compile_matcher()))
    }
}

impl PackageGlob {
    pub(crate) fn matches(&self, package: &str) -> bool {
        self.0.is_match(package)
    }

    /// As it was typed.
    pub(crate) fn text(&self) -> &str {
        self.0.glob().glob()
    }
}

/// The parked jobs that `wanted` lets pass, oldest first.
async fn select(database: &Database, wanted: impl Fn(&ParkedRow) -> bool) -> Result<Vec<ParkedRow>> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = database.parked(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.job.id;
        found.extend(page.into_iter().filter(&wanted));
    }
}

/// A job by its name, wherever it stands.
async fn find(database: &Database, name: JobName) -> Result<Option<ParkedRow>> {
    let number = match name {
        JobName::Number(number) => Some(number),
        JobName::Uuid(uuid) => database.job_by_uuid(uuid).await?.map(|job| job.id),
    };
    match number {
        Some(number) => Ok(database.with_last_attempt(number).await?),
        None => Ok(None),
    }
}

/// Does it.
pub(crate) async fn main(command: ParkedCommand) -> Result<Status> {
    match command {
        ParkedCommand::Ls(args) => ls::main(args).await,
        ParkedCommand::Show(args) => show::main(args).await,
        ParkedCommand::Retry(args) => retry::main(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue;

    /// A parked job.
    pub(super) fn parked(id: i64, fault: Option<&str>, rule: Option<&str>) -> ParkedRow {
        let job = proofhouse_core::db::JobRow { id, state: "parked".to_owned(), ..queue::tests::job() };
        ParkedRow { job, last_fault: fault.map(str::to_owned), last_rule: rule.map(str::to_owned) }
    }

    #[test]
    fn the_reason_is_the_rule_that_decided_else_the_fault() {
        for (fault, rule, reason) in [
            (Some("testbed"), None, "testbed"),
            (Some("testbed"), Some("archive-unreachable"), "testbed"),
            (Some("log-rule"), Some("archive-unreachable"), "archive-unreachable"),
            (Some("broke-testbed"), Some("kernel-panic"), "kernel-panic"),
            (Some("from-the-future"), Some("x"), "from-the-future"),
            (None, None, "not-answered"),
        ] {
            assert_eq!(parked(1, fault, rule).reason(), reason);
        }
        let mut unreadable = parked(1, Some("worker"), None);
        unreadable.job.body = "green {\"triggers\": {}}".to_owned();
        assert_eq!(unreadable.reason(), "unreadable");
    }

    #[test]
    fn the_options_of_a_filter_say_the_same() {
        let filter = Filter {
            reason: Some("testbed".to_owned()),
            package: Some("linux*".parse().unwrap()),
            release: Some("noble".parse().unwrap()),
            arch: Some("arm64".parse().unwrap()),
        };
        assert_eq!(filter.options(), " --package 'linux*' --release noble --arch arm64");
        assert_eq!(Filter::default().options(), "");
        assert_eq!((quoted("g++-12"), quoted("it's")), ("g++-12".to_owned(), r"'it'\''s'".to_owned()));
        let row = parked(1, Some("testbed"), None);
        assert!(!filter.matches(&row) && Filter::default().matches(&row));
        let release = Some(row.job.release.parse().unwrap());
        assert!(Filter { release, ..Filter::default() }.matches(&row));
        let arch = Some("riscv64".parse().unwrap());
        assert!(!Filter { arch, ..Filter::default() }.matches(&row));
    }

    #[test]
    fn globs_are_of_whole_names() {
        let matches = |glob: &str, name: &str| glob.parse::<PackageGlob>().unwrap().matches(name);
        assert!(matches("linux*", "linux-meta") && matches("g++-12", "g++-12") && matches("*", "x"));
        assert!(!matches("linux", "linux-meta") && "[".parse::<PackageGlob>().is_err());
        assert!("".parse::<PackageGlob>().is_err());
    }

    #[test]
    fn names_are_numbers_and_uuids() {
        assert_eq!("17".parse(), Ok(JobName::Number(17)));
        assert!(matches!("3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e".parse(), Ok(JobName::Uuid(_))));
        assert!("x".parse::<JobName>().is_err() && "0".parse::<Which>().is_err());
    }
}
