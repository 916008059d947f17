//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use proofhouse_core::{
    config::{Options, Role},
    names::{Arch, Context, Release},
    run_id::RunId,
};
use uuid::Uuid;

use crate::{
    alert::AlertCommand,
    parked::ParkedCommand,
    queue,
    reindex::ReindexArgs,
    request::RequestArgs,
    servers::{OfRules, Part, Servers},
    token::TokenCommand,
    workers::WorkersCommand,
};

const EXAMPLES: &str = "\
Begin with one of these:
  proofhouse demo     one real test on a fresh testbed, and its page
  proofhouse doctor   what is missing on this machine, and how to get it
  proofhouse up --releases bookworm --arches amd64
                      everything in one process, with everything embedded
  proofhouse request bookworm amd64 hello --wait

Every option of a role is also a variable PROOFHOUSE_… and a key of the file that --config names.
Exit status: 0 done, 1 what was asked for failed, 2 wrong usage or configuration, 3 a server is away.";

/// Tests packages of Linux distributions: takes requests in, runs each on a fresh testbed, keeps the evidence, shows it.
#[derive(Debug, Parser)]
#[command(name = "proofhouse", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All roles in one process, with everything embedded where nothing else is configured
    #[command(after_help = UP_EXAMPLES)]
    Up(Options),
    /// The role that takes requests in, schedules and publishes
    #[command(after_help = DISPATCHER_EXAMPLES)]
    Dispatcher(Options),
    /// The role that runs tests
    #[command(after_help = WORKER_EXAMPLES)]
    Worker(Options),
    /// The role that shows everything and takes requests by HTTP
    #[command(after_help = WEB_EXAMPLES)]
    Web(Options),
    /// Ask for tests
    #[command(after_help = crate::request::EXAMPLES)]
    Request(Box<RequestArgs>),
    /// What waits and what runs
    #[command(subcommand)]
    Queue(QueueCommand),
    /// One run: where it stands, its log
    #[command(subcommand)]
    Run(RunCommand),
    /// Tests that infrastructure kept from running until their attempts were spent
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Requests that could not be taken, with the reasons (alone: rejected ls)
    Rejected(RejectedArgs),
    /// Rebuild the index of results from the store
    #[command(after_help = crate::reindex::EXAMPLES)]
    Reindex(ReindexArgs),
    /// Who runs tests, and who is to stop
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// What every page of the site says at its top
    #[command(subcommand)]
    Alert(AlertCommand),
    /// API tokens of the site
    #[command(subcommand)]
    Token(TokenCommand),
    /// The job table
    #[command(subcommand)]
    Database(DatabaseCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The rules by which logs tell a failure of the infrastructure from a package's
    #[command(subcommand)]
    Rules(RulesCommand),
    /// What is missing on this machine, and how to get it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// One real test on a fresh testbed with everything embedded; goes on serving until Ctrl-C
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  proofhouse completions bash >/etc/bash_completion.d/proofhouse")]
    Completions {
        /// For which shell
        shell: Shell,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  proofhouse up --releases bookworm --arches amd64
  proofhouse up --config up.toml --bus amqp://worker@broker.example.org
Then, in another terminal:
  proofhouse request bookworm amd64 hello --wait
It stops with Ctrl-C: what runs is finished; a second Ctrl-C stops at once, and what ran is run again by the next \
start.";
const DISPATCHER_EXAMPLES: &str = "\
Example:
  proofhouse dispatcher --releases noble,plucky --arches amd64,arm64 \\
      --database postgres://proofhouse@db.example.org/proofhouse \\
      --bus amqp://dispatcher@broker.example.org \\
      --store swift+https://keystone.example.org:5000/v3
Several may run: one leads, another takes over when it is gone.";
const WORKER_EXAMPLES: &str = "\
Example:
  proofhouse worker --arches amd64 --provider unshare --slots 4 \\
      --bus amqp://worker@broker.example.org \\
      --store swift+https://keystone.example.org:5000/v3
SIGTERM finishes what runs and takes nothing new; a second one stops at once.";
const WEB_EXAMPLES: &str = "\
Example:
  proofhouse web --releases noble --arches amd64 --listen 0.0.0.0:8080 \\
      --database postgres://proofhouse@db.example.org/proofhouse \\
      --bus amqp://web@broker.example.org \\
      --store swift+https://keystone.example.org:5000/v3
Run as many as you like behind a proxy.";
const DOCTOR_EXAMPLES: &str = "\
Examples:
  proofhouse doctor
  proofhouse doctor --config worker.toml --json
Exit status 1: nothing could start here as configured, or no test run.";
const DEMO_EXAMPLES: &str = "\
Examples:
  proofhouse demo
  proofhouse demo --package gzip --once
The release and the architecture are this machine's. The first run builds the testbed, which takes a minute.";

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List what waits and what runs, oldest first
    #[command(after_help = "Example:\n  proofhouse queue ls --release noble --arch amd64 --json")]
    Ls(QueueArgs),
    #[command(flatten)]
    Operate(Box<crate::operate::OperateCommand>),
    /// Show a job: where it stands, why it waits, and when it may start
    #[command(after_help = "Example:\n  proofhouse queue show 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --json")]
    Show(queue::show::ShowArgs),
    /// List what gates still wait for, by trigger, oldest first
    #[command(after_help = "Example:\n  proofhouse queue gates --older-than 2d")]
    Gates(queue::gates::GatesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// Only this release
    #[arg(long)]
    pub(crate) release: Option<Release>,
    /// Only this architecture
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// Only this context: ubuntu, huge, ppa or upstream
    #[arg(long)]
    pub(crate) context: Option<Context>,
    /// Print a JSON list
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Show where a run stands, its attempts and its result
    #[command(after_help = "Examples:\n  proofhouse run show 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e\n  \
        proofhouse run show 20261121_053634_abcde@ --json")]
    Show(ShowArgs),
    /// Print a run's log; of a failed attempt with --attempt
    #[command(after_help = "Example:\n  proofhouse run log 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e | less")]
    Log(LogArgs),
}

/// A run by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunName {
    Uuid(Uuid),
    RunId(RunId),
}

impl std::str::FromStr for RunName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = || Uuid::try_parse(text).map(Self::Uuid);
        let run_id = |_| text.parse().map(Self::RunId);
        uuid()
            .or_else(run_id)
            .map_err(|_| "a run is named by its uuid or its run id (YYYYMMDD_HHMMSS_xxxxx@)")
    }
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The run's uuid or run id
    #[arg(value_name = "UUID|RUN_ID")]
    pub(crate) run: RunName,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The run's uuid or run id
    #[arg(value_name = "UUID|RUN_ID")]
    pub(crate) run: RunName,
    /// The log of this failed attempt, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) attempt: Option<i64>,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

const WHOLE_BODIES: &str = "Print a JSON list, with whole bodies";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, mut_arg("json", |arg| arg.help(WHOLE_BODIES)))]
pub(crate) struct RejectedArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RejectedCommand>,
    #[command(flatten)]
    pub(crate) ls: ListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedCommand {
    /// List them, oldest first
    #[command(mut_arg("json", |arg| arg.help(WHOLE_BODIES)))]
    Ls(ListArgs),
    /// Show one with its whole body
    Show(RejectedShowArgs),
}

/// A value that says something.
pub(crate) fn text(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() { Err("it says nothing") } else { Ok(text.to_owned()) }
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print a JSON list
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Debug, Args)]
pub(crate) struct RejectedShowArgs {
    /// Its number in the list
    pub(crate) id: i64,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Bring the schema to the version that this program needs
    #[command(
        after_help = "Roles of the version before go on running on the new schema: migrate first, then restart them."
    )]
    Migrate(Servers),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a file, and the variables of the environment, without starting anything
    #[command(after_help = "Example:\n  proofhouse config check worker.toml --role worker")]
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The TOML file; else the one that PROOFHOUSE_CONFIG names
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Check also that nothing is missing for this role: up, dispatcher, worker or web
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<Role>,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn role(text: &str) -> Result<Role, String> {
    [Role::Up, Role::Dispatcher, Role::Worker, Role::Web]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "up, dispatcher, worker and web are roles".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules in the order in which they are asked
    Ls(RulesLsArgs),
    /// Show which rules match a log, and what comes of it
    #[command(
        after_help = "Examples:\n  proofhouse rules test log.gz --package hello --exit-code 4 --rules rules.toml\n  \
        proofhouse rules test log.gz --config worker.toml"
    )]
    Test(RulesTestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RulesLsArgs {
    /// Print a JSON list
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: Part<OfRules>,
}

#[derive(Debug, Args)]
pub(crate) struct RulesTestArgs {
    /// The log, as text or packed by gzip
    #[arg(value_name = "LOGFILE")]
    pub(crate) log: PathBuf,
    /// The source package that was tested: some rules are not about some packages
    #[arg(long, value_name = "PACKAGE", default_value = "any")]
    pub(crate) package: proofhouse_core::names::Package,
    /// The exit code that autopkgtest ended with, or minus the number of the signal that killed it; without it, what 4 and
    /// 16 come to
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = exit_code)]
    pub(crate) exit_code: Option<i32>,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: Part<OfRules>,
}

/// Linux has signals up to 64.
fn exit_code(text: &str) -> Result<i32, &'static str> {
    let code = text.parse().ok().filter(|code| (-64..=255).contains(code));
    code.ok_or("exit codes are 0 to 255, and -1 to -64 for the signals that kill")
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The source package to test
    #[arg(long, value_name = "PACKAGE", default_value = "hello")]
    pub(crate) package: proofhouse_core::names::Package,
    /// End with the outcome's status instead of going on serving
    #[arg(long, env = "DEMO_ONCE", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// clap wraps prose where the terminal ends: it stands in one line, and examples are short enough to be left alone.
    #[test]
    fn helps_are_wrapped_once() {
        fn look(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                let fits = if line.starts_with("  ") {
                    line.len() <= 80
                } else {
                    line.is_empty() || line.ends_with(['.', ':'])
                };
                assert!(fits, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    fn parses(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn what_the_contract_names() {
        for line in [
            "proofhouse up --config x.toml --listen 127.0.0.1:1 --admin 127.0.0.1:2 --data d --releases a --arches b",
            "proofhouse worker --provider null --slots 3 --autopkgtest ./a --lease-seconds 2",
            "proofhouse dispatcher --retry-attempts 1 --retry-pause-seconds 0",
            "proofhouse web --database postgres://h/d --bus amqp://h --store file:///d",
            "proofhouse request noble amd64 hello --trigger a/1 --trigger b/2 --ppa x/y --env AB=1 --wait --data d",
            "proofhouse request --file list --json",
            "proofhouse request noble amd64 --file - --bus amqp://h",
            "proofhouse request noble amd64 x --swiftuser s --readable-by a --readable-by b --all-proposed --force",
            "proofhouse queue ls --release noble --arch amd64 --context huge --json",
            "proofhouse run show 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --json",
            "proofhouse run log 20261121_053634_abcde@ --attempt 2",
            "proofhouse parked ls --reason testbed --package linux* --release noble --arch amd64 --json",
            "proofhouse parked show 17 --log",
            "proofhouse parked show 17 --log 2",
            "proofhouse parked show 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --json --data d",
            "proofhouse parked retry 17 3f0e6d3c-6d1c-4c0e-9e5f-0c8a4b1f2d3e --json",
            "proofhouse parked retry --reason testbed --package gl* --dry-run",
            "proofhouse parked retry --all",
            "proofhouse parked retry --release noble",
            "proofhouse parked retry --reason testbed --release noble --arch arm64",
            "proofhouse rejected",
            "proofhouse rejected --json --data d",
            "proofhouse rejected ls --json",
            "proofhouse rejected show 3",
            "proofhouse reindex",
            "proofhouse reindex --release noble --release plucky --again --jobs 4 --json --data d",
            "proofhouse reindex --container autopkgtest-noble --container private-autopkgtest-noble-o-p",
            "proofhouse token add britney --person release-team --days 30 --scope request,force",
            "proofhouse alert add Rain --level error --from 2h --until 3d --json --data d",
            "proofhouse alert ls --json",
            "proofhouse alert rm 1 2 --json",
            "proofhouse token ls --json",
            "proofhouse token revoke 1",
            "proofhouse database migrate --database postgres://h/d",
            "proofhouse config check x.toml --role web --json",
            "proofhouse rules ls --rules r.toml --json",
            "proofhouse rules ls --config w.toml",
            "proofhouse rules test log --config w.toml --exit-code 0",
            "proofhouse rules test log --exit-code 255",
            "proofhouse rules test log.gz --package apt --exit-code -15 --json",
            "proofhouse doctor --json --provider lxd",
            "proofhouse completions zsh",
            "proofhouse workers ls --json",
            "proofhouse workers drain w1 arm-* --wait --data d",
            "proofhouse workers resume w1",
            "proofhouse workers retire w1 --wait",
            "proofhouse workers forget w1 --json",
            "proofhouse workers drain w1 --wait --json",
            "proofhouse demo --package gzip --once --data d",
        ] {
            assert!(parses(line), "{line}: {}", Cli::try_parse_from(line.split(' ')).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense() {
        for line in [
            "proofhouse",
            "proofhouse request",
            "proofhouse request noble amd64",
            "proofhouse request noble amd64 hello --file x",
            "proofhouse request no-ble amd64 hello",
            "proofhouse request noble amd64 he_llo",
            "proofhouse request noble amd64 hello --trigger x",
            "proofhouse request noble amd64 hello --context foo",
            "proofhouse run show x",
            "proofhouse run log 20261121_053634_abcde@ --attempt 0",
            "proofhouse alert",
            "proofhouse alert rm",
            "proofhouse alert add Rain --until never",
            "proofhouse reindex --jobs 0",
            "proofhouse reindex --container a/b",
            "proofhouse reindex --container autopkgtest-noble --release noble",
            "proofhouse token add x --person p --scope everything",
            "proofhouse config check --role operator",
            "proofhouse rules test log --exit-code 256",
            "proofhouse rules test log --exit-code -65",
            "proofhouse rules test log --exit-code x",
            "proofhouse workers drain",
            "proofhouse workers drain [",
            "proofhouse up --no-such-option",
            "proofhouse parked retry",
            "proofhouse parked retry 17 --all",
            "proofhouse parked retry 17 --arch arm64",
            "proofhouse parked retry --all --release noble",
            "proofhouse parked retry --all --reason testbed",
            "proofhouse parked show x",
            "proofhouse parked show 17 --log 0",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
