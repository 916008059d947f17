//! `proofhouse completions`.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, print, status::Status};

pub(crate) fn main(shell: Shell) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "proofhouse", &mut script);
    print::bytes(&script)?;
    Ok(Status::Done)
}
