//! What operators do to the queue: first or last, held back, called off, dropped. Each command works on the job table, is
//! written into the audit log, and wakes the leader where a broker is configured; without, it looks within seconds.

mod audit;
mod cancel;
mod caps;
mod drop;
mod filter;
mod known;
mod level;
mod nudge;
mod pass;
mod pauses;
mod person;
mod report;
#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use self::person::person;
use self::{
    audit::AuditArgs,
    cancel::CancelArgs,
    caps::{CapArgs, UncapArgs},
    drop::ObsoleteArgs,
    filter::Filter,
    level::{EmergencyArgs, LevelByArgs, LevelToArgs},
    pauses::{PauseArgs, ResumeArgs},
};
use crate::{args::ListArgs, servers::Servers, status::Status};

#[derive(Debug, Subcommand)]
pub(crate) enum OperateCommand {
    /// Have waiting jobs go before others
    #[command(after_help = "Examples:\n  proofhouse queue raise --trigger glibc/2.39-1 --release noble\n  \
        proofhouse queue raise --requester ann --by 5 --dry-run\n\
        Jobs that come later are not raised. A level is at most 100.")]
    Raise(LevelByArgs),
    /// Have waiting jobs go after others
    #[command(after_help = "Example:\n  proofhouse queue lower --package 'r-cran-*' --arch arm64\n\
        The level is at least -100.")]
    Lower(LevelByArgs),
    /// Set the level of waiting jobs; 0 is as they came
    #[command(after_help = "Examples:\n  proofhouse queue level 0 --all\n  \
        proofhouse queue level -20 --context huge")]
    Level(LevelToArgs),
    /// Offer nothing but these jobs, in the pools that serve them, until they are done
    #[command(after_help = "Examples:\n  proofhouse queue emergency --trigger openssl/3.0.13-0ubuntu3\n  \
        proofhouse queue emergency --end\n\
        Neither pauses nor caps hold them back.")]
    Emergency(EmergencyArgs),
    /// Offer no jobs of a release, an architecture or a context until they are resumed
    #[command(after_help = "Example:\n  proofhouse queue pause --arch arm64 --reason 'the cloud moves'\n\
        What runs goes on.")]
    Pause(PauseArgs),
    /// End pauses
    #[command(after_help = "Examples:\n  proofhouse queue resume 3\n  proofhouse queue resume --arch arm64")]
    Resume(ResumeArgs),
    /// List the pauses
    Pauses(ListArgs),
    /// Limit how many jobs of a package, a trigger, a requester or a pool run at once
    #[command(after_help = "Examples:\n  proofhouse queue cap trigger perl/5.40-1 20\n  \
        proofhouse queue cap requester '*' 50\n'*' is each that has no cap of its own.")]
    Cap(CapArgs),
    /// Take a cap back
    #[command(after_help = "Example:\n  proofhouse queue uncap trigger perl/5.40-1")]
    Uncap(UncapArgs),
    /// List the caps
    Caps(ListArgs),
    /// Call jobs off
    #[command(after_help = cancel::EXAMPLES)]
    Cancel(CancelArgs),
    /// Drop waiting jobs whose triggers the archive does not have any more
    #[command(after_help = "Example:\n  proofhouse queue drop-obsolete --release noble --dry-run\n\
        It asks the archive that the setting `archive` names. Nothing is published: no gate waits for such a job any more.")]
    DropObsolete(ObsoleteArgs),
    /// Drop waiting jobs of git sources for which a newer push is queued, runs or is done
    #[command(after_help = "Example:\n  proofhouse queue drop-superseded --context upstream\n\
        Nothing is published.")]
    DropSuperseded(SelectArgs),
    /// List what operators did
    #[command(after_help = "Examples:\n  proofhouse queue audit --since 7d\n  \
        proofhouse queue audit --person ann --json")]
    Audit(AuditArgs),
}

/// Which jobs, and how.
#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct How {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

/// Does it.
pub(crate) async fn main(command: OperateCommand) -> Result<Status> {
    match command {
        OperateCommand::Raise(args) => level::by(args, 1).await,
        OperateCommand::Lower(args) => level::by(args, -1).await,
        OperateCommand::Level(args) => level::to(args).await,
        OperateCommand::Emergency(args) => level::emergency(args).await,
        OperateCommand::Pause(args) => pauses::pause(args).await,
        OperateCommand::Resume(args) => pauses::resume(args).await,
        OperateCommand::Pauses(args) => pauses::ls(args).await,
        OperateCommand::Cap(args) => caps::cap(args).await,
        OperateCommand::Uncap(args) => caps::uncap(args).await,
        OperateCommand::Caps(args) => caps::ls(args).await,
        OperateCommand::Cancel(args) => cancel::main(args).await,
        OperateCommand::DropObsolete(args) => drop::obsolete(args).await,
        OperateCommand::DropSuperseded(args) => drop::superseded(args).await,
        OperateCommand::Audit(args) => audit::main(args).await,
    }
}
