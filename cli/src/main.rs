//! The proofhouse binary: a subcommand for each role and for each thing that an operator does.

mod alert;
mod args;
mod completions;
mod config_check;
mod connect;
mod database;
mod demo;
mod doctor;
mod follow;
mod operate;
mod outcome;
mod parked;
mod print;
mod queue;
mod reindex;
mod rejected;
mod request;
mod roles;
mod rules;
mod run;
mod servers;
mod status;
mod token;
mod workers;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::{
    args::{
        Cli, Command, ConfigCommand, DatabaseCommand, QueueCommand, RejectedCommand, RulesCommand, RunCommand,
    },
    status::Status,
};

fn main() -> ExitCode {
    // The guard of a worker's runner must be alone in its process: no thread, no runtime.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == roles::GUARD) {
        return proofhouse_worker::guard_main();
    }
    leave_no_core();
    let command = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime.context("the runtime cannot be started") {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(command));
            // A lookup of a name or a read of a terminal that still blocks is nobody's concern any more.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| status::report(&error)).into()
}

/// A crash leaves no image of the memory behind: passwords and private requests would be in it. Tests that are run here may
/// ask for cores of their own again.
fn leave_no_core() {
    use nix::sys::resource::{Resource::RLIMIT_CORE, getrlimit, setrlimit};
    // No core is so small. Zero would do for files, but the kernel gives the memory to a program that collects crashes all the
    // same: of the limits it is only for this one that it does not (fs/coredump.c).
    const NONE: u64 = 1;
    if let Ok((_, most)) = getrlimit(RLIMIT_CORE) {
        // Up to that any is allowed.
        let _ = setrlimit(RLIMIT_CORE, NONE.min(most), most);
    }
}

async fn run(command: Command) -> anyhow::Result<Status> {
    match command {
        Command::Up(options) => roles::up::main(&options).await,
        Command::Dispatcher(options) => roles::dispatcher::main(&options).await,
        Command::Worker(options) => roles::worker::main(&options).await,
        Command::Web(options) => roles::web::main(&options).await,
        Command::Request(args) => request::main(*args).await,
        Command::Queue(QueueCommand::Ls(args)) => queue::ls(args).await,
        Command::Queue(QueueCommand::Operate(command)) => operate::main(*command).await,
        Command::Queue(QueueCommand::Show(args)) => queue::show::main(args).await,
        Command::Queue(QueueCommand::Gates(args)) => queue::gates::main(args).await,
        Command::Run(RunCommand::Show(args)) => run::show::main(args).await,
        Command::Run(RunCommand::Log(args)) => run::log::main(args).await,
        Command::Rejected(args) => match args.command {
            None => rejected::ls(args.ls).await,
            Some(RejectedCommand::Ls(args)) => rejected::ls(args).await,
            Some(RejectedCommand::Show(args)) => rejected::show(args).await,
        },
        Command::Parked(command) => parked::main(command).await,
        Command::Reindex(args) => reindex::main(args).await,
        Command::Workers(command) => workers::main(command).await,
        Command::Alert(command) => alert::main(command).await,
        Command::Token(command) => token::main(command).await,
        Command::Database(DatabaseCommand::Migrate(servers)) => database::migrate(&servers).await,
        Command::Config(ConfigCommand::Check(args)) => config_check::main(&args),
        Command::Rules(RulesCommand::Ls(args)) => rules::ls(&args),
        Command::Rules(RulesCommand::Test(args)) => rules::test(&args),
        Command::Doctor(args) => doctor::main(&args).await,
        Command::Demo(args) => demo::main(&args).await,
        Command::Completions { shell } => completions::main(shell),
    }
}
